//! Releases: what is signed about them, which devices are to run them, and which may.
//!
//! *What is good* is signed offline as a target of [`tuf`](crate::tuf) metadata with a [`Manifest`]; *which
//! device runs what now* is signed online as a [`Directive`]. A device needs both. [`admit_directive`] and
//! [`admit_release`] alone decide, for the device and for the cloud's preflight.
//!
//! Beside releases there are developer leases: a [`DeveloperOrder`] lets named devices run a script for some hours,
//! signed online by a role of its own; [`admit_order`] and [`admit_script`] decide.

mod admit;
mod chunks;
mod developer;
mod directive;
mod engine;
mod manifest;
mod reason;
mod signed;
mod state;

pub use admit::{DeviceFacts, Refusal, admit_directive, admit_release};
pub use chunks::{CHUNK_BYTES, ChunkList, MAX_CHUNKS};
pub use developer::{
    DeveloperFacts, DeveloperOrder, DeveloperReport, DeveloperState, LeaseId, MAX_LEASE_DEVICES, MAX_LEASE_S,
    MAX_ORDER_BYTES, MAX_ORDER_COUNTER, MAX_ORDER_SCRIPT_BYTES, OfferedScript, OrderAction, OrderError,
    Place, admit_order, admit_script, developer_role,
};
pub use directive::{
    Action, Audience, Directive, DirectiveError, MAX_DIRECTIVE_BYTES, Window, directive_role,
};
pub use engine::{ENGINE_FIELD, ENGINE_KEY, EngineFact, EngineManifest, EngineNeed, EngineTarget};
pub use manifest::{
    AbiRange, Component, DataSchema, FIRMWARE_ABI, HealthRules, MANIFEST_KEY, MANIFEST_SCHEMA, Manifest,
    Release,
};
pub use reason::Reason;
pub use signed::ROLES_KEY;
pub use state::{Ending, Step, UpdateState};
