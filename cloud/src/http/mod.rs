//! The HTTP side: one listener for REST API and dashboard.

mod app;
mod docs;
mod layers;
mod listener;
mod metrics;
mod repository;
mod server;
mod zip;

pub use app::{App, router};
pub use listener::tls;
pub use server::Server;
pub(crate) use server::until_true;
