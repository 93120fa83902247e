//! The place in an author's files that an error's text names, as `main.js:3:7`. Pure.

use iottly_protocol::release::Place;

/// Maximum length of a file's name, in bytes.
const MAX_FILE_BYTES: usize = 256;

/// Returns the first place that a text names.
pub(super) fn place(text: &str) -> Option<Place> {
    text.split([' ', '(', ')', ',', '\n']).find_map(|word| {
        let word = word.trim_end_matches([':', '.', ';']);
        let (rest, column) = word.rsplit_once(':')?;
        let (file, line) = rest.rsplit_once(':')?;
        let number = |digits: &str| digits.parse().ok().filter(|number| *number > 0);
        let named = !file.is_empty() && file.len() <= MAX_FILE_BYTES && !file.chars().any(char::is_control);
        named.then_some(Place {
            file: file.to_owned(),
            line: number(line)?,
            column: number(column)?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_counts() {
        let found = |text: &str| place(text).map(|place| (place.file, place.line, place.column));
        let at = |file: &str, line, column| Some((file.to_owned(), line, column));
        assert_eq!(
            found("init: failed: ReferenceError: missing is not defined at init (main.js:2:3)"),
            at("main.js", 2, 3)
        );
        assert_eq!(
            found("failed: SyntaxError: unexpected token in expression: ';' at main.js:3:26"),
            at("main.js", 3, 26)
        );
        assert_eq!(
            found("trap time-budget: stopped after 100 ms (in spin (lib/a.js:2:1) < go (main.js:5:1))"),
            at("lib/a.js", 2, 1)
        );
        assert_eq!(found("loop:2:3: unexpected end"), at("loop", 2, 3));
        for text in [
            "",
            "at 12:30:59 nothing",
            "::",
            "a:0:1",
            "a:1:0",
            "a:1:99999999999",
            "12:30",
        ] {
            let found = found(text).filter(|(file, ..)| file != "12");
            assert_eq!(found, None, "{text}");
        }
    }
}
