use std::error::Error as StdError;

use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::syntax;

use crate::Value;
use crate::budget::{Budget, Stop};
use crate::limits::{MAX_PATTERN_BYTES, PATTERN_DEPTH, PATTERN_SIZE_BYTES};
use crate::search::Search;
use crate::translate::translate;

/// A compiled regular expression of linear running time. It matches texts, and equal regular expressions.
#[derive(Debug)]
pub(super) struct Pattern {
    search: Box<Search>,
    source: String,
    /// Sorted.
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

/// The engine's reason without its drawing of the pattern.
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
