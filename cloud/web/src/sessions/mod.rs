//! Log-ins of browsers: sessions, log-in links and their bounds. They are kept in memory only, under hashes of their secrets.

mod session;
mod table;

pub use session::{LINK_LENGTH, Login, SESSION_LENGTH, STREAMS_PER_SESSION, Session, Sessions};
