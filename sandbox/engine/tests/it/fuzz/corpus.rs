//! Pieces of JavaScript to begin with: the scripts of the other tests, which are texts in their sources, and those that
//! use what is built in.

use super::builtins::SCRIPTS;

/// Sources of the other tests.
const SOURCES: [&str; 13] = [
    include_str!("../calls.rs"),
    include_str!("../dates.rs"),
    include_str!("../errors.rs"),
    include_str!("../generators.rs"),
    include_str!("../glue.rs"),
    include_str!("../jobs.rs"),
    include_str!("../limits.rs"),
    include_str!("../modules.rs"),
    include_str!("../numbers.rs"),
    include_str!("../regex.rs"),
    include_str!("../typed_arrays.rs"),
    include_str!("../unicode.rs"),
    include_str!("../values.rs"),
];

/// Returns the texts in the tests that look like statements.
pub(super) fn pieces() -> Vec<String> {
    let texts = SOURCES.iter().flat_map(|source| texts(source));
    texts
        .filter(|text| text.contains(';') && text.contains('('))
        .chain(SCRIPTS.map(str::to_owned))
        .collect()
}

/// Returns the texts in a Rust source, with their escapes resolved.
fn texts(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut letters = source.chars();
    while let Some(letter) = letters.next() {
        match letter {
            // A quote in a comment would turn everything inside out.
            '/' if letters.as_str().starts_with('/') => {
                letters.by_ref().take_while(|c| *c != '\n').for_each(drop)
            }
            '\'' if letters.as_str().starts_with("\"'") => drop(letters.nth(1)),
            '"' => found.push(text(&mut letters)),
            _ => {}
        }
    }
    found
}

/// Reads one text up to its closing quote.
fn text(letters: &mut std::str::Chars<'_>) -> String {
    let mut text = String::new();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => break,
            '\\' => match letters.next() {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('r') => text.push('\r'),
                Some('0') => text.push('\0'),
                Some('\n') => {
                    let rest = letters.as_str();
                    *letters = rest.trim_start().chars();
                }
                Some('u') => {
                    let digits: String = letters.by_ref().skip(1).take_while(|c| *c != '}').collect();
                    let code = u32::from_str_radix(&digits, 16).ok();
                    text.extend(code.and_then(char::from_u32));
                }
                Some(other) => text.push(other),
                None => break,
            },
            other => text.push(other),
        }
    }
    text
}

#[test]
fn the_corpus_is_the_scripts_of_the_tests() {
    let pieces = pieces();
    assert!(pieces.len() > 250, "{}", pieces.len());
    assert!(
        pieces.iter().any(|piece| piece
            == "let p = Promise.resolve(); for (let i = 0; i < 50000; i++) p = p.then(() => {});")
    );
}
