//! Releases: what is signed about them, which devices are to run them, and which may.
//!
//! *What is good* is signed offline as a target of [`tuf`](crate::tuf) metadata with a [`Manifest`]; *which
//! device runs what now* is signed online as a [`Directive`]. A device needs both. [`admit_directive`] and
//! [`admit_release`] alone decide, for the device and for the cloud's preflight.

mod admit;
mod chunks;
mod directive;
mod engine;
mod manifest;
mod reason;
mod state;

pub use admit::{DeviceFacts, Refusal, admit_directive, admit_release};
pub use chunks::{CHUNK_BYTES, ChunkList, MAX_CHUNKS};
pub use directive::{
    Action, Audience, Directive, DirectiveError, MAX_DIRECTIVE_BYTES, ROLES_KEY, Window, directive_role,
};
pub use engine::{ENGINE_FIELD, ENGINE_KEY, EngineFact, EngineManifest, EngineNeed, EngineTarget};
pub use manifest::{
    AbiRange, Component, DataSchema, FIRMWARE_ABI, HealthRules, MANIFEST_KEY, MANIFEST_SCHEMA, Manifest,
    Release,
};
pub use reason::Reason;
pub use state::{Ending, Step, UpdateState};
