//! Commands from the cloud: each runs once, or is reported as not run.
//!
//! [`machine`] decides, [`journal`] remembers, [`actor`] performs. A command is journaled before anything
//! else happens with it; a start is journaled before the handler is called, so that a crash in between shows
//! as `interrupted` and nothing runs twice. After a crash a result may be reported a second time, word for
//! word.

mod actor;
mod journal;
mod machine;
mod seen;

pub(crate) use actor::{Actor, Inputs};
pub use journal::JournalError;
