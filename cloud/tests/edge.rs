//! Connections of unauthenticated clients: what they may use up, and what other clients notice of it. Real
//! sockets to a real cloud.

mod device;
#[path = "edge/http.rs"]
mod http;
#[path = "edge/login.rs"]
mod login;
#[path = "edge/proxies.rs"]
mod proxies;
mod support;
#[path = "edge/tls.rs"]
mod tls;
#[path = "edge/wire.rs"]
mod wire;
