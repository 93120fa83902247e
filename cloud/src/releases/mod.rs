//! Releases: keys, and the repository that devices and any TUF client read.
//!
//! A repository is a folder in the standard layout (`metadata/`, `targets/`, and also `directives/`) that any
//! web server or USB stick can carry. It contains no secrets; the keys are stored elsewhere. [`ReleaseRepositories`]
//! manages one repository per project, with its keys.

mod developer;
mod directives;
mod draft;
mod engine;
mod error;
mod files;
mod keys;
mod locks;
mod prune;
mod renew;
mod repositories;
mod repository;
mod room;
mod roots;
mod rotation;

pub use directives::NewDirective;
pub use draft::NewRelease;
pub use engine::OfferedEngine;
pub use error::ReleaseError;
pub use keys::{KeyFolder, ROLES};
pub use repositories::BUILT;
pub use repositories::ReleaseRepositories;
pub use repository::{Added, Lifetimes, ReleaseRepository};
pub use room::FREE_FLOOR;
pub(crate) use room::is_short;
pub use rotation::{PublishedRoot, RoleKey, role_of};
