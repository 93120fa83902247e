//! Bounded table of logins by the hash of a secret. When it is full, the token, project or user with the most logins
//! loses its oldest one.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use super::session::{Login, STREAMS_PER_SESSION, Session, Tenant};
use crate::random;
use iottly_cloud::clock::Moment;
use iottly_core::model::{SecretHash, UnixMs};

/// Maximum numbers of entries in a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Maximum number of entries in total.
    pub(super) all: usize,
    /// Maximum number of entries of a project or user.
    pub(super) tenant: usize,
    /// Maximum number of entries of a token or user.
    pub(super) actor: usize,
}

/// Logins by the hash of a secret; the secret itself is not stored.
pub(super) struct Logins {
    entries: HashMap<[u8; 32], Entry>,
    bounds: Bounds,
    /// Number of the next entry.
    next: u64,
}

/// Login in the table.
struct Entry {
    /// Position in the order in which entries were added.
    number: u64,
    session: Session,
    /// Dropped together with the entry, which resolves [`Session::over`].
    _over: watch::Sender<()>,
}

impl Entry {
    fn login(&self) -> &Login {
        &self.session.login
    }

    fn is_live(&self, now: Moment) -> bool {
        now.steady < self.session.ends
            && self
                .session
                .login
                .expires
                .is_none_or(|expires| now.date < expires)
    }
}

impl Logins {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            entries: HashMap::new(),
            bounds,
            next: 0,
        }
    }

    /// Adds a login and returns its secret. The login ends after `length`, or with its token if that is
    /// earlier.
    ///
    /// Both limits are durations on the steady clock, so that a step of the wall clock cannot extend the
    /// login. The token's expiry is compared with the wall clock as well, so that a step forward beyond it
    /// ends the login as it ends the token.
    pub(super) fn add(
        &mut self,
        login: Login,
        length: Duration,
        now: Moment,
    ) -> Result<String, getrandom::Error> {
        let secret = random::secret()?;
        self.insert(SecretHash::of(secret.as_bytes()), login, length, now);
        Ok(secret)
    }

    fn insert(&mut self, hash: SecretHash, login: Login, length: Duration, now: Moment) {
        let rest = login.expires.map_or(length, |expires| until(expires, now.date));
        let ends = now.steady.saturating_add(length.min(rest));
        self.entries.retain(|_, entry| entry.is_live(now));
        self.make_room(&login);
        let (sender, over) = watch::channel(());
        let streams = Arc::new(Semaphore::new(STREAMS_PER_SESSION));
        let session = Session {
            login,
            ends,
            hash,
            over,
            streams,
        };
        let entry = Entry {
            number: self.next,
            session,
            _over: sender,
        };
        self.next += 1;
        self.entries.insert(hash.0, entry);
    }

    /// Returns the login under a hash, or adds it with the time that is `left` of it. A login that is in the table keeps its
    /// end on the steady clock; once that has passed, there is none.
    pub(super) fn resume(
        &mut self,
        hash: SecretHash,
        login: Login,
        left: Duration,
        now: Moment,
    ) -> Option<Session> {
        if !self.entries.contains_key(&hash.0) {
            self.insert(hash, login, left, now);
        }
        self.find_hash(hash, now)
    }

    /// Returns the login of a secret. An expired login is removed, so that a clock that steps back does not
    /// restore it.
    pub(super) fn find(&mut self, secret: &str, now: Moment) -> Option<Session> {
        self.find_hash(SecretHash::of(secret.as_bytes()), now)
    }

    fn find_hash(&mut self, hash: SecretHash, now: Moment) -> Option<Session> {
        let key = hash.0;
        if self.entries.get(&key)?.is_live(now) {
            return self.entries.get(&key).map(|entry| entry.session.clone());
        }
        self.entries.remove(&key);
        None
    }

    pub(super) fn remove(&mut self, secret: &str) {
        self.entries.remove(&SecretHash::of(secret.as_bytes()).0);
    }

    /// Removes the matching logins and returns their number.
    pub(super) fn remove_where(&mut self, ends: impl Fn(&Login) -> bool) -> usize {
        let before = self.entries.len();
        self.entries.retain(|_, entry| !ends(entry.login()));
        before - self.entries.len()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Makes room for a new login by removing the oldest login: of its own token or user at that limit, of the busiest
    /// token of its project at the project's limit, and of the busiest project or user when the whole table is full.
    fn make_room(&mut self, comer: &Login) {
        let (tenant, actor) = (comer.tenant(), comer.actor());
        let own = |one: &Login| one.actor() == actor && one.tenant() == tenant;
        while self.count(own) >= self.bounds.actor {
            self.remove_oldest(own);
        }
        while self.count(|one| one.tenant() == tenant) >= self.bounds.tenant {
            self.remove_from(tenant);
        }
        while self.entries.len() >= self.bounds.all {
            let Some(tenant) = self.busiest(|_| true, Login::tenant, Some(tenant)) else {
                return;
            };
            self.remove_from(tenant);
        }
    }

    /// Removes the oldest login of a project's busiest token, or of a user.
    fn remove_from(&mut self, tenant: Tenant) {
        let Some(actor) = self.busiest(|one| one.tenant() == tenant, Login::actor, None) else {
            return;
        };
        self.remove_oldest(|one| one.tenant() == tenant && one.actor() == actor);
    }

    /// Returns the key with the most logins; of several, the one with the oldest login. `comer` counts as one
    /// more.
    fn busiest<K: Copy + Eq + Hash>(
        &self,
        among: impl Fn(&Login) -> bool,
        key: impl Fn(&Login) -> K,
        comer: Option<K>,
    ) -> Option<K> {
        let mut counts: HashMap<K, (usize, Reverse<u64>)> = HashMap::new();
        for entry in self.entries.values().filter(|entry| among(entry.login())) {
            let key = key(entry.login());
            let (count, oldest) = counts
                .entry(key)
                .or_insert((usize::from(Some(key) == comer), Reverse(u64::MAX)));
            *count += 1;
            *oldest = Reverse(oldest.0.min(entry.number));
        }
        counts
            .into_iter()
            .max_by_key(|(_, order)| *order)
            .map(|(key, _)| key)
    }

    fn count(&self, among: impl Fn(&Login) -> bool) -> usize {
        self.entries.values().filter(|entry| among(entry.login())).count()
    }

    fn remove_oldest(&mut self, among: impl Fn(&Login) -> bool) {
        let oldest = self
            .entries
            .iter()
            .filter(|(_, entry)| among(entry.login()))
            .min_by_key(|(_, entry)| entry.number);
        if let Some(key) = oldest.map(|(key, _)| *key) {
            self.entries.remove(&key);
        }
    }
}

/// Returns the time from one date to a later one; zero if it is not later.
fn until(date: UnixMs, now: UnixMs) -> Duration {
    Duration::from_millis(u64::try_from(date.saturating_sub(now)).unwrap_or(0))
}
