//! Making releases: keys, and the repository that devices and any TUF client read.
//!
//! A repository is a folder in the standard layout (`metadata/`, `targets/`, beside them `directives/`) that any web server or
//! stick can carry. Nothing in it is secret; the keys lie elsewhere.

mod error;
mod files;
mod keys;
mod repository;

pub use crate::seal::SealKey;
pub use error::ReleaseError;
pub use keys::{KeyFolder, ROLES};
pub use repository::{Added, Lifetimes, NewDirective, NewRelease, ReleaseRepository};
