//! What a filter may cost before it is refused.

/// Longest text of a filter, in bytes.
pub const MAX_FILTER_BYTES: usize = 8 << 10;
/// Deepest nesting of a filter (objects and arrays).
pub const MAX_DEPTH: usize = 32;
/// Most operators and conditions in a filter.
pub const MAX_NODES: usize = 256;
/// Most operands of one `$in`, `$nin` or `$all`.
pub const MAX_OPERANDS: usize = 1000;
/// Most parts of a dotted path: a numeric part can branch, so the walk is exponential in it.
pub const MAX_PATH_PARTS: usize = 16;
/// Longest regular expression, in bytes.
pub const MAX_PATTERN_BYTES: usize = 1 << 10;
/// Most regular expressions in a filter.
pub const MAX_PATTERNS: usize = 8;
/// Largest compiled regular expression, in bytes: the cost of a match is pattern times text.
pub(super) const PATTERN_SIZE_BYTES: usize = 256 << 10;
/// Largest cache of a regular expression's automaton, in bytes.
pub(super) const PATTERN_CACHE_BYTES: usize = 1 << 20;
/// Deepest nesting of a regular expression.
pub(super) const PATTERN_DEPTH: u32 = 32;
