//! Webhooks: stored messages, posted to URLs that a project chose.
//!
//! A delivery is written in the transaction that stores its message. The worker claims it with a lease and
//! sends it at least once, under an id that stays the same. Decisions are in [`iottly_core::webhooks`]; the
//! I/O is here.

mod worker;

pub(crate) use worker::worker_id;
pub use worker::{
    Attempted, Deliverer, DelivererHandle, DelivererParts, Lookup, Resolver, SetupError, WebhookConfig,
};
