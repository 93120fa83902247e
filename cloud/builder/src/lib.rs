//! Turns the files of an author into firmware: scripts become components without code, modules in WebAssembly become
//! components.
//!
//! A script is data for the one engine that devices have, so a build is the same bytes for the same files, everywhere
//! and at once. A build also checks: a [`ScriptCheck`] runs the script's top level in a sandbox, which this crate
//! does not contain.

mod build;
mod component;
mod section;
mod source;

pub use build::{BuildError, Refusal, ScriptCheck, build, version};
pub use component::{capabilities, component};
pub use source::{Source, SourceError};

/// TypeScript declarations of the names that a script has without an import, for editors.
pub const DECLARATIONS: &str = include_str!("../iottly.d.ts");
