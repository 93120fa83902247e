//! Logins in the database, which outlive a restart and hold at every cloud of the database. The table in memory adds what
//! belongs to a process: event streams, and ends on the steady clock.

use std::time::Duration;

use iottly_cloud::clock::Moment;
use iottly_core::model::{Actor, BrowserLogin, LoginHolder, LoginsOf, Principal, SecretHash, UnixMs};
use iottly_store::Result;

use crate::app::WebServices;
use crate::error::ApiError;
use crate::sessions::{Holder, Login, Person, SESSION_LENGTH, Session};

/// Time between two records of a login's use, in milliseconds.
const USED_EVERY_MS: UnixMs = 60_000;

impl WebServices {
    /// Opens a login for twelve hours, or until its token expires. Returns the cookie's value, and the time that is left of
    /// the login.
    ///
    /// # Errors
    /// If the system has no randomness, or the store fails.
    pub async fn open_login(
        &self,
        login: Login,
        now: Moment,
    ) -> std::result::Result<(String, Duration), ApiError> {
        let holder = holder_of(&login)?;
        let round = login.round;
        let secret = self.sessions.open(login, now)?;
        let Some(session) = self.sessions.find(&secret, now) else {
            // The token has expired meanwhile.
            return Ok((secret, Duration::ZERO));
        };
        let length = session.ends.saturating_sub(now.steady);
        let millis = UnixMs::try_from(length.as_millis()).unwrap_or(UnixMs::MAX);
        let stored = BrowserLogin {
            holder,
            round,
            created: now.date,
            used: now.date,
            expires: now.date.saturating_add(millis),
        };
        if let Err(error) = self.store.add_browser_login(session.hash, stored).await {
            self.sessions.close(&secret);
            return Err(error.into());
        }
        Ok((secret, length))
    }

    /// Returns the login of a cookie's value, as it was at the log-in; none if it has ended.
    pub(crate) async fn find_login(&self, secret: &str, now: Moment) -> Result<Option<Session>> {
        let hash = SecretHash::of(secret.as_bytes());
        let Some(stored) = self.store.browser_login(hash).await? else {
            // Ended here or by another cloud.
            self.sessions.close(secret);
            return Ok(None);
        };
        let left = u64::try_from(stored.expires.saturating_sub(now.date)).unwrap_or(0);
        let left = Duration::from_millis(left).min(SESSION_LENGTH);
        let Some(session) = self.sessions.resume(hash, login_of(&stored), left, now) else {
            self.store.end_browser_login(hash).await?;
            return Ok(None);
        };
        if now.date.saturating_sub(stored.used) >= USED_EVERY_MS {
            // A full disk must not close the pages.
            if let Err(error) = self.store.touch_browser_login(hash, now.date).await {
                tracing::warn!(%error, "failed to record the use of a login; the request continues");
            }
        }
        Ok(Some(session))
    }

    /// Returns true if a login is still stored: no cloud of the database has ended it.
    pub(crate) async fn is_stored(&self, session: &Session) -> Result<bool> {
        Ok(self.store.browser_login(session.hash).await?.is_some())
    }

    /// Ends a login.
    ///
    /// # Errors
    /// If the store fails; the login then has to be ended again.
    pub(crate) async fn close_login(&self, secret: &str) -> Result<()> {
        self.sessions.close(secret);
        self.store
            .end_browser_login(SecretHash::of(secret.as_bytes()))
            .await
    }

    /// Ends all logins and links of a token, project or person, and returns the number of logins.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn end_logins(&self, of: LoginsOf) -> Result<u64> {
        match of {
            LoginsOf::Token(token) => self.sessions.close_all_of(token),
            LoginsOf::Project(project) => _ = self.sessions.close_project(project),
            LoginsOf::User(user) => _ = self.sessions.close_user(user),
        }
        self.store.end_browser_logins(of).await
    }
}

fn holder_of(login: &Login) -> std::result::Result<LoginHolder, ApiError> {
    match &login.holder {
        Holder::Person(person) => Ok(LoginHolder::User(person.id)),
        Holder::Token(principal) => match principal.actor {
            Actor::Token(token) => Ok(LoginHolder::Token {
                project: principal.project,
                token,
                scopes: principal.scopes,
            }),
            _ => Err(ApiError::unauthenticated()),
        },
    }
}

/// Returns a stored login. Names, groups and expiry are those of the token or person, which each request looks up.
fn login_of(stored: &BrowserLogin) -> Login {
    let holder = match stored.holder {
        LoginHolder::User(id) => Holder::Person(Person {
            id,
            name: String::new(),
            machine: None,
        }),
        LoginHolder::Token {
            project,
            token,
            scopes,
        } => Holder::Token(Principal {
            project,
            actor: Actor::Token(token),
            name: String::new(),
            scopes,
            group: None,
            address: None,
        }),
    };
    Login {
        holder,
        expires: None,
        round: stored.round,
    }
}
