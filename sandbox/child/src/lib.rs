//! Runs a program of ours as a bounded child process.
//!
//! Compiling firmware and building scripts eat memory and time that depend on what users wrote, so both
//! happen in a process of their own. The parent gives it a file to read, a file to write and a deadline
//! ([`run`]); the child first binds itself to limits ([`confine`]) and says through its exit code whose fault
//! a failure is.

mod confine;
mod descriptors;
mod landlock;
mod life;
mod probe;
mod run;
mod seccomp;

pub use confine::{Bounds, Confinement, confine, enclose};
pub use descriptors::{descriptor_limit, raise_descriptor_limit};
pub use life::{BAD_INPUT, Failure, WRONG_CHILD, main};
pub use probe::PROBE_VAR;
pub use run::{Job, Outcome, Program, RunError, run};
