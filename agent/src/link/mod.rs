//! The connection to the cloud: a pure [`session`], the MQTT client, and the task that joins them.

mod actor;
mod backoff;
mod bridge;
mod client;
mod effect;
mod pin;
mod post;
mod route;
mod session;
mod track;
mod tunnel;
mod verify;
mod way;
mod websocket;
mod window;

pub(crate) use actor::{Actor, Delivery, Links, Receipt, Skipped};
pub(crate) use backoff::Backoff;
pub(crate) use client::Endpoint;
pub(crate) use pin::{Found, Pin};
pub(crate) use post::PostError;
pub(crate) use route::{Route, Trust};
