use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::credentials::SESSION_MAX_AGE_SECONDS;
use super::random;
use super::token::hash_secret;
use crate::model::{Principal, TokenId, UnixMs};

/// Most logins at a time; a further one ends the oldest.
const MAX_SESSIONS: usize = 1024;
/// Most login links that wait to be used.
const MAX_LINKS: usize = 64;
/// How long a login link works: an hour, in milliseconds.
const LINK_MS: i64 = 60 * 60 * 1000;

/// Logins of the dashboard and one-time links to it. They live in memory: a restart asks for the token again.
#[derive(Default)]
pub struct Sessions {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    sessions: Table,
    links: Table,
}

/// Principals by the hash of a secret; the secret itself is nowhere.
#[derive(Default)]
struct Table(HashMap<[u8; 32], Session>);

/// A login.
#[derive(Debug, Clone)]
pub struct Session {
    /// Who logged in.
    pub principal: Principal,
    /// When it ends.
    pub expires: UnixMs,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sessions(…)")
    }
}

impl Sessions {
    /// Logs a principal in; the answer is the cookie's value.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn open(&self, principal: Principal, now: UnixMs) -> Result<String, getrandom::Error> {
        let expires = now.saturating_add(SESSION_MAX_AGE_SECONDS * 1000);
        self.lock().sessions.add(Session { principal, expires }, MAX_SESSIONS, now)
    }

    /// The login that a cookie's value stands for.
    #[must_use]
    pub fn find(&self, secret: &str, now: UnixMs) -> Option<Session> {
        self.lock().sessions.0.get(&hash_secret(secret.as_bytes()).0).filter(|session| now < session.expires).cloned()
    }

    /// Ends a login.
    pub fn close(&self, secret: &str) {
        self.lock().sessions.0.remove(&hash_secret(secret.as_bytes()).0);
    }

    /// Makes a key that logs a principal in once, within an hour.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn mint_link(&self, principal: Principal, now: UnixMs) -> Result<String, getrandom::Error> {
        self.lock().links.add(Session { principal, expires: now.saturating_add(LINK_MS) }, MAX_LINKS, now)
    }

    /// Uses a key up.
    #[must_use]
    pub fn redeem_link(&self, key: &str, now: UnixMs) -> Option<Principal> {
        let link = self.lock().links.0.remove(&hash_secret(key.as_bytes()).0)?;
        (now < link.expires).then_some(link.principal)
    }

    /// Ends every login and link that came from a token.
    pub fn close_all_of(&self, token: TokenId) {
        let mut inner = self.lock();
        inner.sessions.0.retain(|_, session| session.principal.token != token);
        inner.links.0.retain(|_, session| session.principal.token != token);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn add(&mut self, session: Session, most: usize, now: UnixMs) -> Result<String, getrandom::Error> {
        let secret = random::secret()?;
        self.0.retain(|_, session| now < session.expires);
        while self.0.len() >= most {
            let Some(oldest) = self.0.iter().min_by_key(|(_, session)| session.expires).map(|(key, _)| *key) else { break };
            self.0.remove(&oldest);
        }
        self.0.insert(hash_secret(secret.as_bytes()).0, session);
        Ok(secret)
    }
}

#[cfg(test)]
mod tests {
    use iottly_protocol::ProjectId;

    use super::*;
    use crate::model::Scopes;

    fn principal(project: u8) -> Principal {
        let token = TokenId::from_bytes([project; 16]);
        Principal { project: ProjectId::from_bytes([project; 12]), token, name: "t".into(), scopes: Scopes::PROJECT }
    }

    #[test]
    fn a_revoked_token_takes_its_logins_along() {
        let sessions = Sessions::default();
        let (mine, other) =
            (sessions.open(principal(1), 0).expect("randomness"), sessions.open(principal(2), 0).expect("randomness"));
        sessions.close_all_of(TokenId::from_bytes([1; 16]));
        assert!(sessions.find(&mine, 1).is_none() && sessions.find(&other, 1).is_some());
    }

    #[test]
    fn a_link_works_once_and_not_late() {
        let sessions = Sessions::default();
        let key = sessions.mint_link(principal(1), 0).expect("randomness");
        assert_eq!(sessions.redeem_link(&key, 1), Some(principal(1)));
        assert_eq!(sessions.redeem_link(&key, 1), None);
        let late = sessions.mint_link(principal(1), 0).expect("randomness");
        assert_eq!(sessions.redeem_link(&late, LINK_MS), None);
        assert_eq!(sessions.redeem_link("guess", 0), None);
    }

    #[test]
    fn logins_end() {
        let sessions = Sessions::default();
        let secret = sessions.open(principal(1), 0).expect("randomness");
        assert!(sessions.find(&secret, 1).is_some());
        assert!(sessions.find(&secret, SESSION_MAX_AGE_SECONDS * 1000).is_none());
        sessions.close(&secret);
        assert!(sessions.find(&secret, 1).is_none());
    }

    #[test]
    fn logins_are_bounded_and_the_oldest_goes() {
        let sessions = Sessions::default();
        let first = sessions.open(principal(1), 0).expect("randomness");
        let second = sessions.open(principal(1), 1).expect("randomness");
        for at in 2..=MAX_SESSIONS {
            sessions.open(principal(2), at as i64).expect("randomness");
        }
        assert!(sessions.find(&first, 5).is_none());
        assert!(sessions.find(&second, 5).is_some());
    }
}
