//! Log-ins of browsers: sessions, log-in links and their bounds. Sessions are stored in the database under hashes of their
//! secrets, and log-in links are kept in memory only.

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
pub(crate) use session::SESSION_LENGTH;
pub use session::STREAMS_PER_SESSION;
pub(crate) use session::{Holder, Login, Person, Session, Sessions};
