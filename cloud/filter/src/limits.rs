//! What a filter may cost before it is refused.

/// Longest text of a filter, in bytes.
pub const MAX_FILTER_BYTES: usize = 8 << 10;
/// Deepest nesting of a filter (objects and arrays).
pub const MAX_DEPTH: usize = 32;
/// Most operators and conditions in a filter.
pub const MAX_NODES: usize = 256;
/// Most operands of `$in`, `$nin`, `$all`, `$type` and `$bits…` in a filter, all lists together.
pub const MAX_OPERANDS: usize = 1000;
/// Most parts of a dotted path: a numeric part can branch, so the walk is exponential in it.
pub const MAX_PATH_PARTS: usize = 16;
/// Longest regular expression, in bytes.
pub const MAX_PATTERN_BYTES: usize = 1 << 10;
/// Most regular expressions in a filter.
pub const MAX_PATTERNS: usize = 8;
/// Largest compiled regular expression, in bytes: each state of its automaton takes steps in proportion.
pub(super) const PATTERN_SIZE_BYTES: usize = 64 << 10;
/// Largest automaton of a regular expression, in bytes; when it is full, its states are forgotten and built
/// again.
pub(super) const PATTERN_CACHE_BYTES: usize = 256 << 10;
/// Most memory that a regular expression takes after it was used, in bytes: compiled, and with its automaton.
pub const MAX_PATTERN_MEMORY: usize = 384 << 10;
/// Deepest nesting of a regular expression.
pub(super) const PATTERN_DEPTH: u32 = 32;
