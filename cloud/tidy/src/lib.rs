//! Rules of the repository that the compiler does not check, as tests: which crate may use which, import
//! cycles, sizes, words, licences, links of the documentation.
//!
//! The crate depends on nothing that takes long to build, so that a violation shows within seconds:
//! `cargo test -p iottly-tidy`.
