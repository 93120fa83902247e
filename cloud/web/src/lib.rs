#![doc = include_str!("../README.md")]

mod api;
mod app;
pub mod auth;
mod dashboard;
mod error;
pub mod http;
mod random;
mod rate;
mod sessions;

pub use app::WebServices;
pub use dashboard::login_link;
pub use sessions::STREAMS_PER_SESSION;
