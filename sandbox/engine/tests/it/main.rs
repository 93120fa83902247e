//! The language as scripts find it, case by case, and what the engine does with scripts that are wrong or hostile.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod build;
mod calls;
mod dates;
mod errors;
mod fuzz;
mod generators;
mod glue;
mod host;
mod jobs;
mod limits;
mod modules;
mod names;
mod numbers;
mod regex;
mod typed_arrays;
mod unicode;
mod values;
