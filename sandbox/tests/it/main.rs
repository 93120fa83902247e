//! Tests of the sandbox with small firmwares and the real compiler. `tests/no_memory.rs` is a program of its
//! own.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod budgets;
mod cache;
mod capabilities;
mod common;
mod confine;
mod events;
mod host;
mod hostile;
mod load;
mod pulley;
mod script;
