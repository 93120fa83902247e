//! The cloud over HTTP: REST API, dashboard, sessions and the server.

pub mod api;
pub mod app;
pub mod auth;
pub mod dashboard;
pub mod error;
pub mod http;
mod random;
pub mod rate;
pub mod sessions;
