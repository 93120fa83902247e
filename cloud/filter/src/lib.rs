//! The history's filter language: MongoDB's match language, read into a closed set of operators and evaluated
//! here.
//!
//! Evaluation takes a [`Budget`] of steps, which the innermost loops spend, so every evaluation ends.
//!
//! Nothing in this crate does I/O or knows a tenant. The caller adds project and device as further conditions of
//! the scan: a filter that names `from` or `to` can narrow a history, never widen it. Operators that run code, need
//! an index, or need the aggregation language are refused by name.

mod bounds;
mod budget;
mod compare;
pub mod date;
mod decimal;
mod ejson;
mod error;
mod eval;
mod expr;
mod leaf;
mod limits;
mod operand;
mod parse;
mod path;
mod pattern;
mod search;
mod translate;
mod value;

pub use bounds::Range;
pub use budget::{Budget, Undecided};
pub use decimal::Decimal;
pub use error::FilterError;
pub use limits::{
    MAX_DEPTH, MAX_FILTER_BYTES, MAX_NODES, MAX_OPERANDS, MAX_PATH_PARTS, MAX_PATTERN_BYTES,
    MAX_PATTERN_MEMORY, MAX_PATTERNS,
};
pub use value::{Document, DocumentError, Value};

use expr::Expr;
use path::Root;

/// A valid filter.
#[derive(Debug)]
pub struct Filter {
    expr: Expr,
    patterns: usize,
}

impl Filter {
    /// Reads a filter from its JSON text (extended JSON, in which key order matters).
    ///
    /// ```
    /// use iottly_filter::{Budget, Document, Filter};
    ///
    /// let filter = Filter::parse(r#"{"payload.temperature": {"$gt": 30}}"#)?;
    /// let warm = Document::parse(r#"{"payload": {"temperature": 31.5}}"#)?;
    /// assert_eq!(filter.matches(&warm, &mut Budget::steps(1_000)), Ok(true));
    ///
    /// let refused = Filter::parse(r#"{"$where": "true"}"#).expect_err("code is not run");
    /// assert!(refused.to_string().contains("$where"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the text is not a filter of the language, or exceeds a limit of this crate. The error names the place.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let (expr, patterns) = parse::parse(text)?;
        Ok(Self { expr, patterns })
    }

    /// Returns the filter that every document matches.
    #[must_use]
    pub fn all() -> Self {
        Self {
            expr: Expr::And(Vec::new()),
            patterns: 0,
        }
    }

    /// Returns whether a document matches, within a budget of steps.
    ///
    /// # Errors
    /// When the budget is used up or its flag is set before the decision.
    pub fn matches(&self, document: &Document, budget: &mut Budget<'_>) -> Result<bool, Undecided> {
        self.expr
            .matches(Root::Document(document), budget)
            .map_err(|stop| budget.undecided(stop))
    }

    /// Returns the number of regular expressions in the filter; each takes up to [`MAX_PATTERN_MEMORY`] bytes.
    #[must_use]
    pub fn patterns(&self) -> usize {
        self.patterns
    }

    /// Returns the first parts of all paths, with repetitions.
    #[must_use]
    pub fn heads(&self) -> Vec<&str> {
        let mut heads = Vec::new();
        self.expr.heads(&mut heads);
        heads
    }

    /// Returns the parts behind a first one, `parent`, of all paths that lead through it, with repetitions; an empty text for
    /// a path that ends there.
    #[must_use]
    pub fn heads_below(&self, parent: &str) -> Vec<&str> {
        let mut heads = Vec::new();
        self.expr.heads_below(parent, &mut heads);
        heads
    }

    /// Moves every path that is neither one of `known` nor leads through one below the field `parent`.
    ///
    /// With this a filter of the history can name a field of a payload without the word `payload`.
    #[must_use]
    pub fn below(mut self, parent: &str, known: &[&str]) -> Self {
        self.expr.move_below(parent, known);
        self
    }

    /// Returns the range of `timestamp` outside which no document matches.
    #[must_use]
    pub fn timestamp_range(&self) -> Range {
        self.range_of("timestamp")
    }

    /// Returns the range of a date field outside which no document matches. Sound for a field that every document has as
    /// a date.
    #[must_use]
    pub fn range_of(&self, field: &str) -> Range {
        bounds::of(&self.expr, field)
    }
}
