//! A regular expression of a filter: compiled within limits, matched within a budget.

use std::error::Error as StdError;

use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::syntax;

use crate::Value;
use crate::budget::{Budget, Stop};
use crate::limits::{MAX_PATTERN_BYTES, PATTERN_DEPTH, PATTERN_SIZE_BYTES};
use crate::search::Search;
use crate::translate::translate;

/// A compiled regular expression of linear running time; matches texts, and equal regular expressions.
#[derive(Debug)]
pub(super) struct Pattern {
    search: Box<Search>,
    source: String,
    /// Option letters, sorted.
    options: String,
}

impl Pattern {
    pub(super) fn new(source: &str, options: &str) -> Result<Self, String> {
        if source.len() > MAX_PATTERN_BYTES {
            return Err(format!(
                "regular expression is longer than {MAX_PATTERN_BYTES} bytes"
            ));
        }
        if let Some(letter) = options.chars().find(|letter| !"imsxu".contains(*letter)) {
            return Err(format!("unknown regular expression option {letter:?}"));
        }
        let has = |letter| options.contains(letter);
        let translated = translate(source, has('m'), has('x'))?;
        let syntax = syntax::Config::new()
            .case_insensitive(has('i'))
            .multi_line(has('m'))
            .dot_matches_new_line(has('s'))
            .ignore_whitespace(has('x'))
            .nest_limit(PATTERN_DEPTH);
        let size = thompson::Config::new()
            .nfa_size_limit(Some(PATTERN_SIZE_BYTES))
            .which_captures(WhichCaptures::None);
        let compiled = thompson::Compiler::new()
            .syntax(syntax)
            .configure(size)
            .build(&translated);
        let refused = |reason: String| format!("regular expression is not accepted: {reason}");
        let compiled = compiled.map_err(|error| refused(reason(&error)))?;
        let mut letters: Vec<char> = options.chars().collect();
        letters.sort_unstable();
        let search = Search::new(compiled).map_err(refused)?;
        Ok(Self {
            search: Box::new(search),
            source: source.to_owned(),
            options: letters.into_iter().collect(),
        })
    }

    pub(super) fn matches(&self, element: &Value, budget: &mut Budget<'_>) -> Result<bool, Stop> {
        match element {
            Value::String(text) => self.search.finds(text, budget),
            Value::Regex(source, options) => Ok(*source == self.source && *options == self.options),
            _ => Ok(false),
        }
    }
}

/// Returns the engine's reason without its drawing of the pattern.
fn reason(error: &thompson::BuildError) -> String {
    if let Some(limit) = error.size_limit() {
        return format!("it is larger than {limit} bytes when compiled");
    }
    let mut innermost: &dyn StdError = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let text = innermost.to_string();
    text.lines()
        .last()
        .unwrap_or_default()
        .trim_start_matches("error: ")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, options: &str, text: &str) -> bool {
        let pattern = Pattern::new(pattern, options).expect("accepted");
        pattern
            .matches(&Value::String(text.to_owned()), &mut Budget::unlimited())
            .expect("no end of steps")
    }

    #[test]
    fn classes_are_ascii() {
        for (pattern, text, expected) in [
            (r"^\w$", "é", false),
            (r"^\W$", "é", true),
            (r"^\d$", "٣", false),
            (r"^[\d]$", "٣", false),
            (r"^[^\w]$", "é", true),
            (r"^\s$", "\u{a0}", false),
            (r"^\s$", "\u{b}", true),
            (r"caf\b", "café", true),
            (r"^[\w-]+$", "a-b", true),
            (r"^[\w-x]+$", "a-x", true),
        ] {
            assert_eq!(matches(pattern, "", text), expected, "{pattern} on {text:?}");
        }
        assert!(matches("É", "i", "é"), "folding is Unicode");
        assert!(
            !matches(r"^\w$", "i", "\u{212a}"),
            "the Kelvin sign is not an ASCII letter"
        );
    }

    #[test]
    fn dollar_matches_before_a_final_newline() {
        for (pattern, options, text, expected) in [
            ("c$", "", "c\n", true),
            ("c$", "", "c\n\n", false),
            ("c$", "", "c\nd", false),
            ("c$", "m", "c\nd", true),
            ("(?m)c$", "", "c\nd", true),
            ("(?:(?m)x)?c$", "", "c\nd", false),
            (r"c\z", "", "c\n", false),
            (r"c\Z", "", "c\n", true),
            (r"a$|b\z", "", "b\n", false),
            (r"\$", "", "$", true),
            ("[$]", "", "$", true),
            ("^$", "", "\n", true),
        ] {
            assert_eq!(matches(pattern, options, text), expected, "{pattern} on {text:?}");
        }
    }

    #[test]
    fn literals_stay_literals() {
        for (pattern, options, text) in [
            ("{\"a\"", "", "{\"a\""),
            ("a{,5}", "", "a{,5}"),
            ("a{2}", "", "aa"),
            ("[a&&b]", "", "&"),
            ("[[]", "", "["),
            ("[]]", "", "]"),
            ("[[:alpha:]_]", "", "q"),
            ("[a b]", "x", " "),
            ("a b # c\n c", "x", "abc"),
            (r"\Qa.b\E+", "", "a.bb"),
            (r"\<p\>", "", "<p>"),
            (r"[+--]", "", ","),
            ("^[^]a]$", "", "b"),
        ] {
            assert!(matches(pattern, options, text), "{pattern} on {text:?}");
        }
    }

    #[test]
    fn unsupported_syntax_names_the_reason() {
        for (pattern, reason) in [
            ("(?=a)", "look-around"),
            (r"(a)\1", "backreferences"),
            ("a++", "possessive"),
            ("(", "unclosed group"),
            ("(a{100}){100}{10}", "compiled"),
            ("[", "unclosed character class"),
            ("\\", "incomplete escape"),
        ] {
            let error = Pattern::new(pattern, "").expect_err(pattern);
            assert!(error.contains(reason), "{pattern}: {error}");
        }
        assert!(Pattern::new(&"(".repeat(33), "").is_err());
        assert!(
            Pattern::new(&format!("{}{}", "(".repeat(40), ")".repeat(40)), "").is_err(),
            "nesting is bounded"
        );
    }
}
