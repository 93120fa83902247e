//! Logins of the dashboard that a process knows, and one-time login links. The database has the logins as well; the links are
//! in memory only.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use iottly_protocol::ProjectId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::table::{Bounds, Logins};
use iottly_cloud::clock::Moment;
use iottly_core::model::{
    Actor, BROWSER_LOGINS, BROWSER_LOGINS_OF_PROJECT, MachineLogin, Principal, SecretHash, Token, TokenId,
    UnixMs, User, UserId,
};
use iottly_core::rate::{RateLimit, Verdict};

/// Maximum length of a login, on the steady clock.
pub(crate) const SESSION_LENGTH: Duration = Duration::from_secs(12 * 60 * 60);
/// Maximum validity of a login link, on the steady clock.
pub(super) const LINK_LENGTH: Duration = Duration::from_secs(60 * 60);
/// Maximum numbers of simultaneous logins: in the memory of a process, of a project's tokens together, and of a token or
/// user. One over its limit loses its own oldest login. A login that is only pushed out of memory is found in the database
/// by its next request, and loses its event streams.
const SESSIONS: Bounds = Bounds {
    all: 4096,
    tenant: BROWSER_LOGINS_OF_PROJECT,
    actor: BROWSER_LOGINS,
};
/// Maximum numbers of unused login links.
const LINKS: Bounds = Bounds {
    all: 256,
    tenant: 20,
    actor: 20,
};
/// Maximum number of logins per minute of a token.
const LOGINS_PER_MINUTE: NonZeroU32 = NonZeroU32::new(60).expect("60 is not zero");
/// Maximum number of simultaneous event streams of a login.
pub const STREAMS_PER_SESSION: usize = 8;

/// Logins of the dashboard that this process has seen, and one-time login links, in memory. A login counts only while it is
/// stored in the database.
pub struct Sessions {
    inner: Mutex<Inner>,
    rate: RateLimit,
}

struct Inner {
    sessions: Logins,
    links: Logins,
}

/// A person who has logged in by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// User id.
    pub id: UserId,
    /// Name of the user.
    pub name: String,
    /// Machine login by which the person acts, with its limits; none for a login of the dashboard.
    pub machine: Option<MachineLogin>,
}

/// Holder of a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// The holder of a token: its project, id, name and scopes.
    Token(Principal),
    /// A person, whose roles decide on the permissions in each project.
    Person(Person),
}

/// Login: its holder, and when it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The holder.
    pub holder: Holder,
    /// Expiry of the token; `None` if it does not expire, and for people.
    pub expires: Option<UnixMs>,
    /// Number of times that all logins of the project or user had been ended before; see [`Token::logins`] and
    /// [`User::logins`].
    pub round: u64,
}

/// Owner of logins, by which their numbers are limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Tenant {
    Project(ProjectId),
    User(UserId),
}

impl Login {
    /// Returns the project of a token, or the person.
    pub(super) fn tenant(&self) -> Tenant {
        match &self.holder {
            Holder::Token(principal) => Tenant::Project(principal.project),
            Holder::Person(person) => Tenant::User(person.id),
        }
    }

    /// Returns the token or the person.
    #[must_use]
    pub fn actor(&self) -> Actor {
        match &self.holder {
            Holder::Token(principal) => principal.actor,
            Holder::Person(person) => Actor::User(person.id),
        }
    }
}

impl From<User> for Login {
    fn from(user: User) -> Self {
        Self {
            expires: None,
            round: user.logins,
            holder: Holder::Person(Person {
                id: user.id,
                name: user.name.to_string(),
                machine: None,
            }),
        }
    }
}

/// Login that has not ended.
#[derive(Debug, Clone)]
pub struct Session {
    /// Holder and expiry of the login.
    pub login: Login,
    /// Latest end of the login, on the steady clock.
    pub ends: Duration,
    /// Hash of the secret.
    pub(crate) hash: SecretHash,
    pub(super) over: watch::Receiver<()>,
    pub(super) streams: Arc<Semaphore>,
}

impl From<Token> for Login {
    fn from(token: Token) -> Self {
        Self {
            expires: token.expires,
            round: token.logins,
            holder: Holder::Token(token.into()),
        }
    }
}

impl Session {
    /// Returns the same session with what its log-in may do now.
    pub(crate) fn with_login(self, login: Login) -> Self {
        Self { login, ..self }
    }

    /// Resolves when the login has ended: by a log-out, with its token, or because a newer login replaced it.
    pub async fn over(&self) {
        let mut over = self.over.clone();
        // No value is ever sent; the sender is dropped together with the login.
        while over.changed().await.is_ok() {}
    }

    /// Returns a permit for one more event stream of this login; `None` when eight are open.
    #[must_use]
    pub fn stream(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.streams).try_acquire_owned().ok()
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sessions(…)")
    }
}

impl Default for Sessions {
    fn default() -> Self {
        let inner = Inner {
            sessions: Logins::new(SESSIONS),
            links: Logins::new(LINKS),
        };
        Self {
            inner: Mutex::new(inner),
            rate: RateLimit::per_minute(LOGINS_PER_MINUTE),
        }
    }
}

impl Sessions {
    /// Counts a login of a token or user against its limit of 60 per minute.
    pub(crate) fn ask(&self, actor: Actor, now: Moment) -> Verdict {
        self.rate
            .ask(actor, i64::try_from(now.steady.as_millis()).unwrap_or(i64::MAX))
    }

    /// Adds a login for twelve hours, or until its token expires, and returns the cookie's value.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn open(&self, login: Login, now: Moment) -> Result<String, getrandom::Error> {
        self.lock().sessions.add(login, SESSION_LENGTH, now)
    }

    /// Returns the login of a cookie's value.
    #[must_use]
    pub fn find(&self, secret: &str, now: Moment) -> Option<Session> {
        self.lock().sessions.find(secret, now)
    }

    /// Returns the login under a hash. One that this process has not seen is added with the time that is `left` of it.
    pub(crate) fn resume(
        &self,
        hash: SecretHash,
        login: Login,
        left: Duration,
        now: Moment,
    ) -> Option<Session> {
        self.lock().sessions.resume(hash, login, left, now)
    }

    /// Ends a login.
    pub fn close(&self, secret: &str) {
        self.lock().sessions.remove(secret);
    }

    /// Creates a key for one login within an hour.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn mint_link(&self, login: Login, now: Moment) -> Result<String, getrandom::Error> {
        self.lock().links.add(login, LINK_LENGTH, now)
    }

    /// Returns true if a key is valid for a login; does not use it up.
    #[must_use]
    pub fn is_link(&self, key: &str, now: Moment) -> bool {
        self.lock().links.find(key, now).is_some()
    }

    /// Uses up a key and returns its login.
    #[must_use]
    pub fn redeem_link(&self, key: &str, now: Moment) -> Option<Login> {
        let mut inner = self.lock();
        let link = inner.links.find(key, now)?;
        inner.links.remove(key);
        Some(link.login)
    }

    /// Ends all logins and links of a token.
    pub fn close_all_of(&self, token: TokenId) {
        self.close_where(|login| login.actor() == Actor::Token(token));
    }

    /// Ends all logins of a user, and returns their number.
    pub fn close_user(&self, user: UserId) -> usize {
        self.close_where(|login| login.actor() == Actor::User(user))
    }

    /// Ends all logins and links of a project and returns the number of logins.
    pub fn close_project(&self, project: ProjectId) -> usize {
        self.close_where(|login| login.tenant() == Tenant::Project(project))
    }

    fn close_where(&self, ends: impl Fn(&Login) -> bool) -> usize {
        let mut inner = self.lock();
        inner.links.remove_where(&ends);
        inner.sessions.remove_where(&ends)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
