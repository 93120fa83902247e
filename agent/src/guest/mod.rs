//! The firmware's life: loading, calls one after another on a dedicated thread, restarts.

mod budget;
mod call_loop;
mod failure;
mod handle;
mod host;
mod mailbox;
mod messages;
mod silence;
mod state;
mod supervisor;

pub(crate) use budget::WriteBudget;
pub(crate) use handle::{FirmwareSource, Guest, Ports};
pub(crate) use mailbox::{Mailbox, MailboxReceiver, TrialEvent, TrialObserver, mailbox};
pub(crate) use messages::agent_warning;
