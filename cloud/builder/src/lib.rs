//! Turns scripts into firmware: a folder or sections of JavaScript become a WebAssembly component of the
//! world `iottly:firmware`.
//!
//! The engine (QuickJS) lies prebuilt inside a dependency, so nothing has to be installed. A build runs the
//! script's top level and keeps a snapshot of what it left; hence it happens in a child process with limits
//! on time and memory. Builds are not reproducible byte for byte: store and sign the component, and name
//! caches after the source.

mod build;
mod child;
mod component;
mod diagnose;
mod layout;
mod section;
mod source;

pub use build::{BuildError, Deadlines, build, build_in, build_within};
pub use child::build_child;
pub use component::{component, imports};
/// How to start the builder: program and arguments that end in [`build_child`].
pub use iottly_child::Program as BuilderProgram;
pub use layout::version;
pub use source::{Source, SourceError};

/// TypeScript declarations of what a script finds without importing it, for editors.
pub const DECLARATIONS: &str = include_str!("../iottly.d.ts");
