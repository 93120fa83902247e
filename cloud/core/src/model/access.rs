//! Tokens, their scopes and the principal of a request. Holds hashes of secrets, never the secrets.

use std::fmt;
use std::net::IpAddr;

use iottly_protocol::{GroupId, ProjectId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{TokenId, UnixMs, UserId};

/// Hash of a device's broker secret or of an API token; never the secret itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretHash(pub [u8; 32]);

impl SecretHash {
    /// Hash that no secret has: that of a device without a secret that lasts.
    pub const NONE: Self = Self([0; 32]);

    /// Returns the hash of a secret of at least 128 random bits; passwords would need a slow hash.
    #[must_use]
    pub fn of(secret: &[u8]) -> Self {
        Self(*blake3::hash(secret).as_bytes())
    }

    /// Returns true if the hashes are equal; compares in constant time.
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

/// Set of permissions of a token or of a member's role.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scopes(u16);

impl Scopes {
    /// No permission: for requests whose handlers ask for what their content needs.
    pub const NONE: Self = Self(0);
    /// Permission to read what the project holds.
    pub const READ: Self = Self(1);
    /// Permission to change devices, definitions, groups, code and webhooks; not to send commands or to start rollouts.
    pub const WRITE: Self = Self(2);
    /// Permission to manage the project: its tokens and pair codes, its deletion.
    pub const ADMIN: Self = Self(4);
    /// Permission to list and create projects, to set their limits, and to manage organisations.
    pub const OPERATOR: Self = Self(8);
    /// Permission to send commands to devices, and to cancel them.
    pub const COMMAND: Self = Self(16);
    /// Permission to bring firmware to devices: rollouts and developer leases.
    pub const DEPLOY: Self = Self(32);
    /// Everything within one project.
    pub const PROJECT: Self = Self(1 | 2 | 4 | 16 | 32);
    /// Everything that exists. Further bits are reserved, see [`Scopes::RESERVED`].
    pub const ALL: Self = Self(63);
    /// Everything that a token which is bound to a deployment group can have.
    pub const GROUP: Self = Self(1 | 2 | 16 | 32);
    /// Names of scopes that later releases will define. A token cannot have them yet.
    pub const RESERVED: [&'static str; 5] = ["logs", "console", "tunnel", "query", "secrets"];

    const NAMES: [(&'static str, Self); 6] = [
        ("read", Self::READ),
        ("write", Self::WRITE),
        ("command", Self::COMMAND),
        ("deploy", Self::DEPLOY),
        ("admin", Self::ADMIN),
        ("operator", Self::OPERATOR),
    ];

    /// Returns the set with these bits; none when a bit is unknown or no bit is set.
    #[must_use]
    pub fn from_bits(bits: i64) -> Option<Self> {
        u16::try_from(bits)
            .ok()
            .filter(|bits| (1..=Self::ALL.0).contains(bits))
            .map(Self)
    }

    /// Returns the set as bits.
    #[must_use]
    pub fn bits(self) -> i64 {
        i64::from(self.0)
    }

    /// Returns the scope of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES
            .into_iter()
            .find(|(known, _)| *known == name)
            .map(|(_, scope)| scope)
    }

    /// Returns true if this set contains all of `other`.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns the union of both sets.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the intersection of both sets; none when it is empty.
    #[must_use]
    pub fn common(self, other: Self) -> Option<Self> {
        Self::from_bits(i64::from(self.0 & other.0))
    }

    /// Returns the names of the scopes in the set.
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

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        let scopes = names.iter().map(|name| {
            Self::named(name).ok_or_else(|| de::Error::custom(format_args!("unknown scope {name:?}")))
        });
        let scopes = scopes.collect::<Result<Vec<_>, _>>()?;
        let all = scopes.into_iter().reduce(Self::with);
        all.ok_or_else(|| de::Error::custom("no scopes"))
    }
}

/// A stored API token, without the hash of its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Token id.
    pub id: TokenId,
    /// Project that the token is valid for.
    pub project: ProjectId,
    /// Name, for display.
    pub name: String,
    /// First characters of the secret, by which people distinguish tokens.
    pub prefix: String,
    /// Permissions of the token.
    pub scopes: Scopes,
    /// Deployment group that the token is bound to: it reaches the devices in it and nothing else. None for the whole
    /// project.
    pub group: Option<GroupId>,
    /// Creation time.
    pub created: UnixMs,
    /// Expiry; none for never.
    pub expires: Option<UnixMs>,
    /// Time of the last use, exact to an hour.
    pub used: Option<UnixMs>,
    /// Number of times that all logins of the token's project were ended. A login that began at a smaller
    /// number is over.
    pub logins: u64,
}

impl Token {
    /// Returns true if the token has not expired.
    #[must_use]
    pub fn is_live(&self, now: UnixMs) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

/// Identity that makes a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Actor {
    /// The cloud itself.
    Cloud,
    /// The holder of an API token, or of a login that was made with it.
    Token(TokenId),
    /// A person who has logged in.
    User(UserId),
}

impl Actor {
    /// Returns the id of the token or user, 16 zero bytes for the cloud. The ids are random, so those of tokens and users
    /// differ.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        match self {
            Self::Cloud => [0; 16],
            Self::Token(id) => *id.as_bytes(),
            Self::User(id) => *id.as_bytes(),
        }
    }
}

/// Requester and its permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Project that the requester acts in.
    pub project: ProjectId,
    /// Token that the requester presented or logged in with, or the person who has logged in.
    pub actor: Actor,
    /// Name of the token or person, for display.
    pub name: String,
    /// Permissions of the requester.
    pub scopes: Scopes,
    /// Deployment group that the requester is bound to; none for the whole project.
    pub group: Option<GroupId>,
    /// Address that the request comes from; none for the cloud itself.
    pub address: Option<IpAddr>,
}

impl Principal {
    /// Returns the cloud itself as the requester: it has no token. `name` is shown in the audit log.
    #[must_use]
    pub fn system(project: ProjectId, name: &str) -> Self {
        Self {
            project,
            actor: Actor::Cloud,
            name: name.to_owned(),
            scopes: Scopes::WRITE,
            group: None,
            address: None,
        }
    }
}

impl From<Token> for Principal {
    fn from(token: Token) -> Self {
        Self {
            project: token.project,
            actor: Actor::Token(token.id),
            name: token.name,
            scopes: token.scopes,
            group: token.group,
            address: None,
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
        for bad in [0, 64, -1, i64::MAX] {
            assert_eq!(Scopes::from_bits(bad), None);
        }
        assert_eq!(Scopes::named("root"), None);
        for reserved in Scopes::RESERVED {
            assert_eq!(Scopes::named(reserved), None, "{reserved}");
        }
    }
}
