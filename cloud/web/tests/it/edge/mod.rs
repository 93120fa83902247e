//! Connections of unauthenticated clients: what they may use up, and what other clients notice of it. Real
//! sockets to a real cloud.

mod cut;
mod http;
mod login;
mod proxies;
mod tls;
mod wire;
