//! Authentication and authorisation: tokens, login sessions, and handles that reach one project only.

mod access;
mod bound;
mod credentials;
mod login;
mod needed;
mod organization;
mod release_reader;
mod stored_logins;
mod token;

pub use access::{Access, DeviceAccess, ProjectAccess};
pub use token::{MintedToken, TokenError, create_token, create_token_with, hash_secret, mint_token};

pub(crate) use access::{Requester, principal_of, trace_project, within_rate};
pub(crate) use credentials::{same_origin, session_cookie, session_secret};
pub(crate) use login::{logged_in, still_logged_in, still_works};
pub(crate) use needed::needed;
pub(crate) use organization::OrganizationAccess;
pub(crate) use release_reader::ReleaseReader;
pub(crate) use token::mint_machine_secret;
