//! Places in a branch's code that the text of a build error names. Pure.

use super::MANIFEST_FILE;

/// Problem that a build found in a branch's code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Name of the snippet, or `firmware.toml`; none if the text names neither.
    pub file: Option<String>,
    /// Line in the file, from 1; none if the text names none.
    pub line: Option<u32>,
    /// Column in the line, from 1; none if the text names none.
    pub column: Option<u32>,
    /// Description of the problem, without its place.
    pub message: String,
}

/// Returns the problem that a build error describes. The text begins with its place: `loop:3:5: SyntaxError: …`, or
/// `firmware.toml: line 1: …`; `names` are those of the branch's snippets.
#[must_use]
pub fn problem<'a>(reason: &str, names: impl IntoIterator<Item = &'a str>) -> Problem {
    // Names may contain a colon, so the longest one that fits is taken.
    let names = names.into_iter().chain([MANIFEST_FILE]);
    let named = names.filter(|name| {
        reason
            .strip_prefix(*name)
            .is_some_and(|rest| rest.starts_with(':'))
    });
    let Some(file) = named.max_by_key(|name| name.len()) else {
        return Problem {
            file: None,
            line: None,
            column: None,
            message: reason.to_owned(),
        };
    };
    let rest = &reason[file.len() + 1..];
    let (line, rest) = if file == MANIFEST_FILE {
        let spaced = rest.trim_start();
        spaced.strip_prefix("line ").map_or((None, rest), number)
    } else {
        number(rest)
    };
    let (column, rest) = if line.is_some() {
        number(rest)
    } else {
        (None, rest)
    };
    Problem {
        file: Some(file.to_owned()),
        line,
        column,
        message: rest.trim_start().to_owned(),
    }
}

/// Returns the number that a text begins with, and the text after the colon behind it; the whole text without a number.
fn number(text: &str) -> (Option<u32>, &str) {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    match (text[..digits].parse(), text[digits..].strip_prefix(':')) {
        (Ok(number), Some(rest)) => (Some(number), rest),
        _ => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(reason: &str) -> (Option<String>, Option<u32>, Option<u32>, String) {
        let problem = problem(reason, ["loop", "echo", "a:1"]);
        (problem.file, problem.line, problem.column, problem.message)
    }

    #[test]
    fn places_are_read_from_what_a_build_says() {
        let at =
            |file: &str, line, column, text: &str| (Some(file.to_owned()), line, column, text.to_owned());
        assert_eq!(
            found("loop:3:5: SyntaxError: unexpected token\n  more"),
            at("loop", Some(3), Some(5), "SyntaxError: unexpected token\n  more")
        );
        assert_eq!(
            found("echo:12: it did not end"),
            at("echo", Some(12), None, "it did not end")
        );
        assert_eq!(found("a:1:7:2: x"), at("a:1", Some(7), Some(2), "x"));
        assert_eq!(
            found("firmware.toml: line 2: missing field `name`"),
            at("firmware.toml", Some(2), None, "missing field `name`")
        );
        assert_eq!(
            found("firmware.toml: lang: no"),
            at("firmware.toml", None, None, "lang: no")
        );
        assert_eq!(
            found("the firmware is too large"),
            (None, None, None, "the firmware is too large".into())
        );
        assert_eq!(
            found("loop:99999999999: x"),
            at("loop", None, None, "99999999999: x")
        );
        assert_eq!(found("loop:"), at("loop", None, None, ""));
    }
}
