//! Logins of browsers as they are stored, so that they outlive a restart of the cloud.

use iottly_protocol::ProjectId;

use super::{Scopes, TokenId, UnixMs, UserId};

/// Maximum number of simultaneous browser logins of a token or user; one more ends its oldest.
pub const BROWSER_LOGINS: usize = 20;
/// Maximum number of simultaneous browser logins of a project's tokens together; one more ends the oldest of the token that
/// has most.
pub const BROWSER_LOGINS_OF_PROJECT: usize = 100;

/// Holder of a browser login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LoginHolder {
    /// A token of a project, with the scopes that it had at the login.
    Token {
        /// Project of the token.
        project: ProjectId,
        /// The token.
        token: TokenId,
        /// Scopes at the login. Those that the token loses later are lost to the login as well.
        scopes: Scopes,
    },
    /// A person.
    User(UserId),
}

/// Login of a browser, without the hash of its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrowserLogin {
    /// The holder.
    pub holder: LoginHolder,
    /// Number of times that all logins of the project or user had been ended before; see [`Token::logins`](super::Token::logins)
    /// and [`User::logins`](super::User::logins).
    pub round: u64,
    /// Time of the login.
    pub created: UnixMs,
    /// Time of the last use, exact to a minute.
    pub used: UnixMs,
    /// Date from which a restarted cloud does not accept the login any more.
    pub expires: UnixMs,
}

/// Browser logins that end together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginsOf {
    /// Those of a token.
    Token(TokenId),
    /// Those of all tokens of a project.
    Project(ProjectId),
    /// Those of a person.
    User(UserId),
}
