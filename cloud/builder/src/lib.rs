//! Turns scripts into firmware: a folder or sections of JavaScript become a WebAssembly component of the
//! world `iottly:firmware`.
//!
//! A dependency contains the engine (QuickJS), so nothing has to be installed. A build runs the script's top level
//! and keeps a snapshot of its state, in a child process with limits of time and memory. Builds are not
//! reproducible byte for byte: store and sign the component, and name caches after the source.

mod build;
mod child;
mod component;
mod diagnose;
mod layout;
mod section;
mod source;

pub use build::{BuildError, Deadlines, build, build_in, build_within};
pub use child::build_child;
pub use component::{capabilities, component, imports};
/// Program and arguments of the builder's process, which calls [`build_child`].
pub use iottly_child::Program as BuilderProgram;
pub use layout::version;
pub use source::{Source, SourceError};

/// TypeScript declarations of the names that a script has without an import, for editors.
pub const DECLARATIONS: &str = include_str!("../iottly.d.ts");
