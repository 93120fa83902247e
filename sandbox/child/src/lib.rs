//! Bounded child processes.
//!
//! Compiling firmware and building scripts use memory and time that depend on untrusted input, so each runs
//! in a process of its own. The parent gives it a file to read, a file to write and a deadline ([`run()`]).
//! The child first binds itself to limits ([`main`]), and its exit code names the party at fault if it fails.

mod confine;
mod descriptors;
mod group;
mod landlock;
mod life;
mod probe;
mod run;
mod seccomp;

pub use confine::{Bounds, Confinement, enclose};
pub use descriptors::{descriptor_limit, raise_descriptor_limit};
pub use group::separate_children;
pub use life::{BAD_INPUT, Failure, WRONG_CHILD, main};
pub use probe::PROBE_VAR;
pub use run::{Job, Outcome, Program, RunError, run};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failure here is a failed test")]
mod tests;
