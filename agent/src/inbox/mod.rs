//! Commands from the cloud: each runs once, or is reported as not run.
//!
//! [`machine`] decides, [`journal`] stores, [`actor`] performs. A command is journaled before anything else
//! happens to it. A start is journaled before the handler is called, so that after a crash in between the
//! command is reported as `interrupted` and nothing runs twice. After a crash a result may be reported a
//! second time with the same content.

mod actor;
mod journal;
mod machine;
mod seen;

pub(crate) use actor::{Actor, Inputs};
pub use journal::JournalError;
