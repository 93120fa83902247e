//! People, the organisations they belong to, and their roles.

use std::fmt;
use std::str::FromStr;

use super::{OrganizationId, Scopes, UnixMs, UserId};

/// Name of [`OrganizationId::DEFAULT`] until it is renamed.
pub const DEFAULT_ORGANIZATION: &str = "default";
/// Maximum number of members of an organisation, its open invitations included.
pub const MAX_MEMBERS: i64 = 1_000;
/// Maximum number of organisations of a cloud.
pub const MAX_ORGANIZATIONS: i64 = 1_000;
/// Maximum length of a user's name, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// Name by which a person logs in, often an e-mail address: printable, without spaces, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UserName(String);

/// Reason why a text is no name of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UserNameError {
    /// The text is empty.
    #[error("the name is empty")]
    Empty,
    /// The text is longer than 128 bytes.
    #[error("the name is longer than {MAX_NAME_BYTES} bytes")]
    TooLong,
    /// The text holds a space, a control character or another character that people cannot see.
    #[error("the name contains a space or a character that is not visible")]
    Invisible,
}

impl FromStr for UserName {
    type Err = UserNameError;

    fn from_str(text: &str) -> Result<Self, UserNameError> {
        let name = text.trim().to_lowercase();
        if name.is_empty() {
            return Err(UserNameError::Empty);
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(UserNameError::TooLong);
        }
        if name.chars().any(|char| !is_visible(char)) {
            return Err(UserNameError::Invisible);
        }
        Ok(Self(name))
    }
}

/// Returns true for visible characters. Spaces, control characters, marks of direction and characters without a width are
/// refused, because two names could look the same.
fn is_visible(char: char) -> bool {
    !char.is_whitespace()
        && !char.is_control()
        && !matches!(char, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

impl UserName {
    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Person who can log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub id: UserId,
    /// Name by which the person logs in; no two users have the same.
    pub name: UserName,
    /// Time at which the user was created.
    pub created: UnixMs,
    /// Time of the newest login; none before the first one.
    pub seen: Option<UnixMs>,
    /// True if the user can log in with a password. Others come from an identity provider.
    pub has_password: bool,
    /// Number of times that all logins of the user were ended. A login that began at a smaller number is over.
    pub logins: u64,
}

/// Owner of projects, with members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    /// Organisation id.
    pub id: OrganizationId,
    /// Name of the organisation.
    pub name: String,
    /// Time at which the organisation was created.
    pub created: UnixMs,
}

/// Permissions of a member in all projects of an organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// May read.
    Viewer,
    /// Runs the fleet: may send commands and bring released firmware to devices.
    Operator,
    /// Makes the product: may also change code, devices, groups and settings.
    Developer,
    /// May do everything, also manage projects, tokens and members.
    Owner,
}

impl Role {
    /// All roles, from the least permissions to the most.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Developer, Self::Owner];

    /// Returns the name of the role.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Developer => "developer",
            Self::Owner => "owner",
        }
    }

    /// Returns the role of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Returns the permissions in each project of the organisation.
    #[must_use]
    pub const fn scopes(self) -> Scopes {
        match self {
            Self::Viewer => Scopes::READ,
            Self::Operator => Self::Viewer.scopes().with(Scopes::COMMAND).with(Scopes::DEPLOY),
            Self::Developer => Self::Operator.scopes().with(Scopes::WRITE),
            Self::Owner => Scopes::PROJECT,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Organisation that a user belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The organisation.
    pub organization: Organization,
    /// Role of the user in it.
    pub role: Role,
}

/// User that belongs to an organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The user.
    pub user: User,
    /// Role of the user in the organisation.
    pub role: Role,
}

/// Permission to become a member, or to choose a new password, by the secret in a link that is used once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Organisation that the holder of the link joins.
    pub organization: OrganizationId,
    /// Role that the holder gets.
    pub role: Role,
    /// Existing user whose password the holder chooses; none for a new user.
    pub user: Option<UserId>,
    /// Name of the one who invited.
    pub by: String,
    /// Time at which the link was made.
    pub created: UnixMs,
    /// Expiry of the link.
    pub expires: UnixMs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_has_what_the_role_before_has() {
        for pair in Role::ALL.windows(2) {
            assert!(pair[1].scopes().contains(pair[0].scopes()), "{pair:?}");
            assert_ne!(pair[1].scopes(), pair[0].scopes(), "{pair:?}");
        }
        assert!(!Role::Operator.scopes().contains(Scopes::WRITE));
        assert!(!Role::Developer.scopes().contains(Scopes::ADMIN));
        assert!(
            !Role::Owner.scopes().contains(Scopes::OPERATOR),
            "no role reaches other organisations"
        );
        for role in Role::ALL {
            assert_eq!(Role::named(role.name()), Some(role));
        }
        assert_eq!(Role::named("root"), None);
    }

    #[test]
    fn names_are_compared_without_case_and_hold_nothing_invisible() {
        let name = |text: &str| text.parse::<UserName>();
        assert_eq!(name(" Ada@Example.com "), name("ada@example.com"));
        assert_eq!(name(""), Err(UserNameError::Empty));
        assert_eq!(name(" \t"), Err(UserNameError::Empty));
        assert_eq!(name(&"a".repeat(129)), Err(UserNameError::TooLong));
        for bad in [
            "a b",
            "a\0b",
            "ad\u{200b}a",
            "ad\u{202e}a",
            "\u{feff}ada",
            "ad\u{ad}a",
        ] {
            assert_eq!(name(bad), Err(UserNameError::Invisible), "{bad:?}");
        }
    }
}
