//! The HTTP side: one listener for REST API and dashboard.

mod app;
mod layers;
mod server;

pub use app::{App, router};
pub use server::Server;
pub(crate) use server::until_true;
