use regex::{Regex, RegexBuilder};

use crate::Value;
use crate::limits::{MAX_PATTERN_BYTES, PATTERN_CACHE_BYTES, PATTERN_DEPTH, PATTERN_SIZE_BYTES};
use crate::translate::translate;

/// A compiled regular expression of linear running time. It matches texts, and equal regular expressions.
#[derive(Debug)]
pub(super) struct Pattern {
    regex: Regex,
    source: String,
    /// Sorted.
    options: String,
}

impl Pattern {
    pub(super) fn new(source: &str, options: &str) -> Result<Self, String> {
        if source.len() > MAX_PATTERN_BYTES {
            return Err(format!("regular expression is longer than {MAX_PATTERN_BYTES} bytes"));
        }
        if let Some(letter) = options.chars().find(|letter| !"imsxu".contains(*letter)) {
            return Err(format!("unknown regular expression option {letter:?}"));
        }
        let has = |letter| options.contains(letter);
        let translated = translate(source, has('m'), has('x'))?;
        let regex = RegexBuilder::new(&translated)
            .case_insensitive(has('i'))
            .multi_line(has('m'))
            .dot_matches_new_line(has('s'))
            .ignore_whitespace(has('x'))
            .size_limit(PATTERN_SIZE_BYTES)
            .dfa_size_limit(PATTERN_CACHE_BYTES)
            .nest_limit(PATTERN_DEPTH)
            .build()
            .map_err(|error| format!("regular expression is not accepted: {}", reason(&error)))?;
        let mut letters: Vec<char> = options.chars().collect();
        letters.sort_unstable();
        Ok(Self { regex, source: source.to_owned(), options: letters.into_iter().collect() })
    }

    pub(super) fn matches(&self, element: &Value) -> bool {
        match element {
            Value::String(text) => self.regex.is_match(text),
            Value::Regex(source, options) => *source == self.source && *options == self.options,
            _ => false,
        }
    }
}

/// The engine's reason without its drawing of the pattern.
fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(limit) => format!("it is larger than {limit} bytes when compiled"),
        other => {
            let text = other.to_string();
            text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
        }
    }
}
