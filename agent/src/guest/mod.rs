//! The firmware's life: loading, calls one after another on a thread of its own, restarts.

mod budget;
mod call_loop;
mod host;
mod mailbox;
mod messages;
mod silence;
mod state;
mod supervisor;

pub(crate) use budget::WriteBudget;
pub(crate) use mailbox::{Mailbox, MailboxReceiver, TrialEvent, TrialObserver, mailbox};
pub(crate) use messages::agent_warning;
pub(crate) use supervisor::{FirmwareSource, Guest, Ports};
