//! Signing in with an identity provider by OpenID Connect: authorisation code with PKCE. Types of the library for it stay in
//! this folder.
//!
//! The provider says who a person is and which groups the person is in; the roles of the groups are the operator's
//! settings. Nothing here reads or writes the store.

mod attempt;
mod claims;
mod freshness;
mod http;
mod provider;
mod settings;

pub(crate) use attempt::{CALLBACK, clearing_cookie};
pub(crate) use claims::Identity;
pub use provider::SetupError;
pub(crate) use provider::{Answer, Provider, SignInError};
pub use settings::{OidcSettings, SettingsError};
