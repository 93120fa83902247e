//! The firmware's life: loading, calls one after another on a dedicated thread, restarts.

mod budget;
mod call_loop;
mod failure;
mod handle;
mod host;
mod mailbox;
mod messages;
mod meter;
mod silence;
mod source;
mod state;
mod supervisor;
mod swap;

pub(crate) use budget::WriteBudget;
pub(crate) use handle::Guest;
pub(crate) use mailbox::{Mailbox, MailboxReceiver, TrialEvent, TrialObserver, mailbox};
pub(crate) use messages::agent_warning;
pub(crate) use meter::Meter;
pub(crate) use source::{FirmwareSource, Installed, Ports};
pub(crate) use swap::SwapOutcome;
