//! Who asks: tokens, login sessions, and handles that reach one project only.

mod access;
mod credentials;
mod random;
mod session;
mod token;

pub use access::{Access, DeviceAccess, ProjectAccess};
pub use session::{Session, Sessions};
pub use token::{MintedToken, TokenError, create_token, create_token_with, hash_secret, mint_token};

pub(crate) use credentials::{SESSION_COOKIE, SESSION_MAX_AGE_SECONDS, cookie, same_origin};
pub(crate) use random::hex_code;
