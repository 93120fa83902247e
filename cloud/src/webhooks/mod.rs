//! Webhooks: stored messages, posted to URLs that a project chose.
//!
//! A delivery is written in the transaction that stores its message, and the worker sends it: claimed by a
//! lease, at least once, under an id that stays the same. Everything that is decided is in
//! [`iottly_core::webhooks`]; the I/O is here.

mod worker;

pub use worker::{
    Attempted, Deliverer, DelivererHandle, DelivererParts, Lookup, Resolver, SetupError, WebhookConfig,
};
