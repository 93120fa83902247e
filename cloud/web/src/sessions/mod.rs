//! Log-ins of browsers: sessions, log-in links and their bounds. They are kept in memory only, under hashes of their secrets.

mod session;
mod table;

pub use session::STREAMS_PER_SESSION;
pub(crate) use session::{Login, Session, Sessions};
