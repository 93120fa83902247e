//! Releases: what is signed about them, who is told to run them, and who may.
//!
//! *What is good* is signed offline as a target of [`tuf`](crate::tuf) metadata with a [`Manifest`]; *who
//! runs what now* is signed online as a [`Directive`]. A device needs both. [`admit_directive`] and
//! [`admit_release`] are the only places that decide, for the device and for the cloud's preflight alike.

mod admit;
mod chunks;
mod directive;
mod manifest;
mod reason;
mod state;

pub use admit::{DeviceFacts, Refusal, admit_directive, admit_release};
pub use chunks::{CHUNK_BYTES, ChunkList, MAX_CHUNKS};
pub use directive::{
    Action, Audience, Directive, DirectiveError, MAX_DIRECTIVE_BYTES, ROLES_KEY, Window, directive_role,
};
pub use manifest::{
    AbiRange, Component, DataSchema, FIRMWARE_ABI, HealthRules, MANIFEST_KEY, MANIFEST_SCHEMA, Manifest,
    Release,
};
pub use reason::Reason;
pub use state::{Ending, Step, UpdateState};
