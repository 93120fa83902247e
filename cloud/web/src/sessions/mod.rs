//! Log-ins of browsers: sessions, log-in links and their bounds. They are kept in memory only, under hashes of their secrets.

mod attempts;
mod machine;
mod password;
mod portals;
mod session;
mod table;

pub(crate) use attempts::LoginAttempts;
pub(crate) use machine::{Approval, Approver, MachineError, MachineRequests};
pub(crate) use password::{PasswordError, Passwords};
pub(crate) use portals::PortalLimits;
pub use session::STREAMS_PER_SESSION;
pub(crate) use session::{Holder, Login, Person, Session, Sessions};
