use std::fmt;

use iottly_protocol::ProjectId;
use serde::{Serialize, Serializer};

use super::{TokenId, UnixMs};

/// Hash of a device's broker secret or of an API token; never the secret itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretHash(pub [u8; 32]);

impl SecretHash {
    /// The hash of a secret of at least 128 random bits; passwords would need a slow hash.
    #[must_use]
    pub fn of(secret: &[u8]) -> Self {
        Self(*blake3::hash(secret).as_bytes())
    }

    /// Compares in constant time.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        bool::from(subtle::ConstantTimeEq::ct_eq(&self.0[..], &other.0[..]))
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

/// What a token may do: a set.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scopes(u8);

impl Scopes {
    /// Read what the project holds.
    pub const READ: Self = Self(1);
    /// Change devices, definitions, groups and code; send commands.
    pub const WRITE: Self = Self(2);
    /// Manage the project itself: its tokens and licences, its deletion.
    pub const ADMIN: Self = Self(4);
    /// See the list of projects and make new ones.
    pub const OPERATOR: Self = Self(8);
    /// Everything within one project.
    pub const PROJECT: Self = Self(7);
    /// Everything.
    pub const ALL: Self = Self(15);

    const NAMES: [(&'static str, Self); 4] = [
        ("read", Self::READ),
        ("write", Self::WRITE),
        ("admin", Self::ADMIN),
        ("operator", Self::OPERATOR),
    ];

    /// The set with these bits; none when a bit is unknown or no bit is set.
    #[must_use]
    pub fn from_bits(bits: i64) -> Option<Self> {
        u8::try_from(bits)
            .ok()
            .filter(|bits| (1..=Self::ALL.0).contains(bits))
            .map(Self)
    }

    /// The set as bits.
    #[must_use]
    pub fn bits(self) -> i64 {
        i64::from(self.0)
    }

    /// The scope of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES
            .into_iter()
            .find(|(known, _)| *known == name)
            .map(|(_, scope)| scope)
    }

    /// Says whether everything in `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns what both sets hold; none when that is nothing.
    #[must_use]
    pub fn common(self, other: Self) -> Option<Self> {
        Self::from_bits(i64::from(self.0 & other.0))
    }

    /// The names of what is in the set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .into_iter()
            .filter(move |(_, scope)| self.contains(*scope))
            .map(|(name, _)| name)
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

/// An API token as the cloud keeps it, beside the hash of its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// The one project it is for.
    pub project: ProjectId,
    /// Its name, for people.
    pub name: String,
    /// The first characters of the secret, so that people tell tokens apart.
    pub prefix: String,
    /// What it may do.
    pub scopes: Scopes,
    /// When it was made.
    pub created: UnixMs,
    /// When it stops working; none for never.
    pub expires: Option<UnixMs>,
    /// When it was used last, exact to an hour.
    pub used: Option<UnixMs>,
    /// Number of times that all logins of its project were ended. A login that began at a smaller number is
    /// over.
    pub logins: u64,
}

impl Token {
    /// Says whether the token still works.
    #[must_use]
    pub fn is_live(&self, now: UnixMs) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

/// Who asks, and what they may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The one project they act in.
    pub project: ProjectId,
    /// The token they showed, or logged in with.
    pub token: TokenId,
    /// The token's name, for people.
    pub name: String,
    /// What they may do.
    pub scopes: Scopes,
}

impl From<Token> for Principal {
    fn from(token: Token) -> Self {
        Self {
            project: token.project,
            token: token.id,
            name: token.name,
            scopes: token.scopes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_sets_with_names() {
        let scopes = Scopes::READ.with(Scopes::ADMIN);
        assert_eq!(scopes.names().collect::<Vec<_>>(), ["read", "admin"]);
        assert!(scopes.contains(Scopes::READ) && !scopes.contains(Scopes::WRITE));
        assert!(Scopes::ALL.contains(Scopes::PROJECT) && !Scopes::PROJECT.contains(Scopes::OPERATOR));
        assert_eq!(Scopes::from_bits(scopes.bits()), Some(scopes));
        assert_eq!(scopes.common(Scopes::PROJECT), Some(scopes));
        assert_eq!(scopes.common(Scopes::WRITE), None);
        for bad in [0, 16, -1, i64::MAX] {
            assert_eq!(Scopes::from_bits(bad), None);
        }
        assert_eq!(Scopes::named("root"), None);
    }
}
