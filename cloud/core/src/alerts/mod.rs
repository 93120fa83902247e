//! Alerts: decides from rules, raised alerts and events which alerts are raised and cleared. Pure; the store carries the
//! effects out in the transaction that journals them.

mod decide;
mod messages;
mod uptime;

pub use decide::{DeviceFacts, Effect, Event, Known, QUIET_MS, Raised, in_order};
pub use messages::{Observation, Observations, RuleSet, Senders};
pub use uptime::{MAX_SPANS, Span, Uptime};
