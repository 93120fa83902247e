//! Updates of a device's firmware: fetching signed files, storing them, and the state machine from a
//! directive to a committed release or back to the former one.
//!
//! Trust is decided in `iottly_protocol::tuf` and admission in `iottly_protocol::release`; nothing here
//! decides either again. [`Machine`] is pure; [`Updater`] performs its effects on a [`Disk`] and a [`Host`].

mod disk;
mod driver;
mod engines;
mod event;
pub mod files;
mod folder;
mod host;
mod http;
mod journal;
mod keep;
mod machine;
mod memory;
mod offer;
mod pace;
mod recover;
mod regular;
mod repository;
mod slot;
mod trust;

pub use disk::{Disk, SystemDisk};
pub use driver::Updater;
pub use engines::{EngineTrial, MAX_STORED_ENGINES, PlannedEngine, StoredEngine};
pub use event::{Effect, Event, Now, Progress};
pub use folder::FolderRepository;
pub use host::{Host, Known, MetaError};
pub use http::{HttpRepository, Login};
pub use journal::{Condition, Journal};
pub use keep::{KeepError, keep_target};
pub use machine::{MAX_BOOTS, MAX_DEFERRED_MS, MAX_WRITES, Machine};
pub use memory::{Attempt, Committed, MAX_QUARANTINED, Memory, Outcome};
pub use offer::{Offer, Planned};
pub use regular::{put_aside, read_file};
pub use repository::Repository;
pub use slot::{Running, Slot, Start};
pub use trust::{TrustFolder, file_name, replace};
