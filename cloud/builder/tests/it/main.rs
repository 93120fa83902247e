//! Scripts and their firmware, with the real builder, engine and sandbox.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod board_scripts;
mod code;
mod common;
mod declarations;
mod examples;
mod hostile;
mod names;
mod scripts;
mod texts;
