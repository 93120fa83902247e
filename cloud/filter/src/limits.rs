//! Limits of a filter's size.

/// Longest text of a filter, in bytes.
pub const MAX_FILTER_BYTES: usize = 8 << 10;
/// Deepest nesting of a filter (objects and arrays).
pub const MAX_DEPTH: usize = 32;
/// Largest number of operators and conditions in a filter.
pub const MAX_NODES: usize = 256;
/// Largest number of operands of `$in`, `$nin`, `$all`, `$type` and `$bits…` in a filter, all lists together.
pub const MAX_OPERANDS: usize = 1000;
/// Largest number of parts of a dotted path. A numeric part can branch, so a walk is exponential in it.
pub const MAX_PATH_PARTS: usize = 16;
/// Longest regular expression, in bytes.
pub const MAX_PATTERN_BYTES: usize = 1 << 10;
/// Largest number of regular expressions in a filter.
pub const MAX_PATTERNS: usize = 8;
/// Largest compiled regular expression, in bytes. Each state of its automaton takes steps in proportion.
pub(super) const PATTERN_SIZE_BYTES: usize = 64 << 10;
/// Largest automaton of a regular expression, in bytes; when it is full, its states are discarded and built
/// again.
pub(super) const PATTERN_CACHE_BYTES: usize = 256 << 10;
/// Largest memory of a regular expression after its use, in bytes: its compiled form and its automaton.
pub const MAX_PATTERN_MEMORY: usize = 384 << 10;
/// Deepest nesting of a regular expression.
pub(super) const PATTERN_DEPTH: u32 = 32;
