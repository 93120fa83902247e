//! Connections of strangers: what they may use up, and what others notice of it. Real sockets to a real
//! cloud.

mod http;
mod login;
mod proxies;
mod tls;
mod wire;
