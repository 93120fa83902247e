use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use iottly_protocol::ProjectId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::logins::{Bounds, Logins};
use iottly_cloud::clock::Moment;
use iottly_core::model::{Principal, Token, TokenId, UnixMs};
use iottly_core::rate::{RateLimit, Verdict};

/// Longest time that a login lasts, on the steady clock.
pub const SESSION_LENGTH: Duration = Duration::from_secs(12 * 60 * 60);
/// Longest time that a login link works, on the steady clock.
pub const LINK_LENGTH: Duration = Duration::from_secs(60 * 60);
/// Most logins at a time, of the cloud, of a project and of a token. Whoever goes over them ends the oldest
/// of its own.
const SESSIONS: Bounds = Bounds {
    all: 4096,
    project: 100,
    token: 20,
};
/// Most login links that wait to be used.
const LINKS: Bounds = Bounds {
    all: 256,
    project: 20,
    token: 20,
};
/// Logins a minute that one token may make.
const LOGINS_PER_MINUTE: NonZeroU32 = NonZeroU32::new(60).expect("60 is not zero");
/// Most event streams that are open at a time for one login.
pub const STREAMS_PER_SESSION: usize = 8;

/// Logins of the dashboard and one-time links to it. They live in memory: a restart asks for the token again.
pub struct Sessions {
    inner: Mutex<Inner>,
    rate: RateLimit,
}

struct Inner {
    sessions: Logins,
    links: Logins,
}

/// Somebody who logs in: what their token may do, and until when it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The token's project, id, name and scopes.
    pub principal: Principal,
    /// The date on which the token stops working; none for never.
    pub expires: Option<UnixMs>,
    /// Number of times that all logins of the project had been ended before; see [`Token::logins`].
    pub round: u64,
}

/// A login that has not ended.
#[derive(Debug, Clone)]
pub struct Session {
    /// The principal and the token's date.
    pub login: Login,
    /// Latest end of the login, on the steady clock.
    pub ends: Duration,
    pub(super) over: watch::Receiver<()>,
    pub(super) streams: Arc<Semaphore>,
}

impl From<Token> for Login {
    fn from(token: Token) -> Self {
        Self {
            expires: token.expires,
            round: token.logins,
            principal: token.into(),
        }
    }
}

impl Session {
    /// Resolves when the login was ended: by a log-out, with its token, or for a newer login.
    pub async fn over(&self) {
        let mut over = self.over.clone();
        // Nothing is ever sent: the other end goes with the login.
        while over.changed().await.is_ok() {}
    }

    /// A place for one more event stream of this login; none when eight are open.
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
    /// Counts a login of a token against the 60 a minute that it may make.
    pub(crate) fn ask(&self, token: TokenId, now: Moment) -> Verdict {
        self.rate
            .ask(token, i64::try_from(now.steady.as_millis()).unwrap_or(i64::MAX))
    }

    /// Logs somebody in, for twelve hours or as long as their token works; the answer is the cookie's value.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn open(&self, login: Login, now: Moment) -> Result<String, getrandom::Error> {
        self.lock().sessions.add(login, SESSION_LENGTH, now)
    }

    /// Returns the login that a cookie's value stands for.
    #[must_use]
    pub fn find(&self, secret: &str, now: Moment) -> Option<Session> {
        self.lock().sessions.find(secret, now)
    }

    /// Ends a login.
    pub fn close(&self, secret: &str) {
        self.lock().sessions.remove(secret);
    }

    /// Makes a key that logs somebody in once, within an hour.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn mint_link(&self, login: Login, now: Moment) -> Result<String, getrandom::Error> {
        self.lock().links.add(login, LINK_LENGTH, now)
    }

    /// Says whether a key would log somebody in; it can still be used after.
    #[must_use]
    pub fn is_link(&self, key: &str, now: Moment) -> bool {
        self.lock().links.find(key, now).is_some()
    }

    /// Uses a key up.
    #[must_use]
    pub fn redeem_link(&self, key: &str, now: Moment) -> Option<Login> {
        let mut inner = self.lock();
        let link = inner.links.find(key, now)?;
        inner.links.remove(key);
        Some(link.login)
    }

    /// Ends every login and link that came from a token.
    pub fn close_all_of(&self, token: TokenId) {
        self.close_where(|principal| principal.token == token);
    }

    /// Ends every login and link of a project; returns how many logins that were.
    pub fn close_project(&self, project: ProjectId) -> usize {
        self.close_where(|principal| principal.project == project)
    }

    fn close_where(&self, ends: impl Fn(&Principal) -> bool) -> usize {
        let mut inner = self.lock();
        inner.links.remove_where(&ends);
        inner.sessions.remove_where(&ends)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
