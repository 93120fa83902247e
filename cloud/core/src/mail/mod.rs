//! Mails about alerts: their texts and ids, who may get them, the server that takes them, and when they are tried again. Pure.

mod address;
mod schedule;
mod server;
mod text;

pub use address::{AddressError, Recipients, check_address};
pub use schedule::{MAX_AGE_MS, Reply, result};
pub use server::{MailServer, MailServerError, Security};
pub use text::{mail_text, message_id, plain, raised_id, test_text};
