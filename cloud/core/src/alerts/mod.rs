//! Alerts: decides from rules, raised alerts and events which alerts are raised and cleared. Pure; the store carries the
//! effects out in the transaction that journals them.

mod decide;
mod mail;
mod messages;

pub use decide::{DeviceFacts, Effect, Event, Known, QUIET_MS, Raised};
pub use mail::{mail_text, retry_after_ms};
pub use messages::{Occurrence, RuleSet};
