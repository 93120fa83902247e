//! A bounded table of logins by the hash of a secret. When it is full, whoever has most gives way.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use iottly_protocol::ProjectId;
use tokio::sync::{Semaphore, watch};

use super::random;
use super::session::{Login, STREAMS_PER_SESSION, Session};
use super::token::hash_secret;
use iottly_cloud::clock::Moment;
use iottly_core::model::{Principal, UnixMs};

/// Most entries of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Most in all.
    pub(super) all: usize,
    /// Most of one project.
    pub(super) project: usize,
    /// Most of one token.
    pub(super) token: usize,
}

/// Logins by the hash of a secret; the secret itself is nowhere.
pub(super) struct Logins {
    entries: HashMap<[u8; 32], Entry>,
    bounds: Bounds,
    /// Number of the next entry.
    next: u64,
}

struct Entry {
    /// Place in the order in which entries came.
    number: u64,
    session: Session,
    /// Goes with the entry, which ends what waits for [`Session::over`].
    _over: watch::Sender<()>,
}

impl Entry {
    fn principal(&self) -> &Principal {
        &self.session.login.principal
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

    /// Adds a login that ends after `length`, or with its token if that is earlier; returns its secret.
    ///
    /// Both limits are durations on the steady clock, so that no step of the wall clock makes it longer. The
    /// token's date is looked at beside them, so that a step forward over that date ends the login as it ends
    /// the token.
    pub(super) fn add(
        &mut self,
        login: Login,
        length: Duration,
        now: Moment,
    ) -> Result<String, getrandom::Error> {
        let secret = random::secret()?;
        let rest = login.expires.map_or(length, |expires| until(expires, now.date));
        let ends = now.steady.saturating_add(length.min(rest));
        self.entries.retain(|_, entry| entry.is_live(now));
        self.make_room(&login.principal);
        let (sender, over) = watch::channel(());
        let streams = Arc::new(Semaphore::new(STREAMS_PER_SESSION));
        let session = Session {
            login,
            ends,
            over,
            streams,
        };
        let entry = Entry {
            number: self.next,
            session,
            _over: sender,
        };
        self.next += 1;
        self.entries.insert(hash_secret(secret.as_bytes()).0, entry);
        Ok(secret)
    }

    /// Returns the login of a secret. One whose time is over is removed: a clock that steps back does not
    /// bring it back.
    pub(super) fn find(&mut self, secret: &str, now: Moment) -> Option<Session> {
        let key = hash_secret(secret.as_bytes()).0;
        if self.entries.get(&key)?.is_live(now) {
            return self.entries.get(&key).map(|entry| entry.session.clone());
        }
        self.entries.remove(&key);
        None
    }

    pub(super) fn remove(&mut self, secret: &str) {
        self.entries.remove(&hash_secret(secret.as_bytes()).0);
    }

    /// Removes some logins; returns how many.
    pub(super) fn remove_where(&mut self, ends: impl Fn(&Principal) -> bool) -> usize {
        let before = self.entries.len();
        self.entries.retain(|_, entry| !ends(entry.principal()));
        before - self.entries.len()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Makes room for one more login of somebody: at the cost of their own token, then of the busiest token
    /// of their project, and only when the whole table is full of the busiest project.
    fn make_room(&mut self, comer: &Principal) {
        while self.count(|one| one.token == comer.token && one.project == comer.project) >= self.bounds.token
        {
            self.remove_oldest(|one| one.token == comer.token && one.project == comer.project);
        }
        while self.count(|one| one.project == comer.project) >= self.bounds.project {
            self.remove_from(comer.project);
        }
        while self.entries.len() >= self.bounds.all {
            let Some(project) = self.busiest(|_| true, |one| one.project, Some(comer.project)) else {
                return;
            };
            self.remove_from(project);
        }
    }

    /// Removes the oldest login of a project's busiest token.
    fn remove_from(&mut self, project: ProjectId) {
        let Some(token) = self.busiest(|one| one.project == project, |one| one.token, None) else {
            return;
        };
        self.remove_oldest(|one| one.project == project && one.token == token);
    }

    /// Returns the key that most logins share; of several, the one with the oldest login. `comer` counts as
    /// one more.
    fn busiest<K: Copy + Eq + Hash>(
        &self,
        among: impl Fn(&Principal) -> bool,
        key: impl Fn(&Principal) -> K,
        comer: Option<K>,
    ) -> Option<K> {
        let mut counts: HashMap<K, (usize, Reverse<u64>)> = HashMap::new();
        for entry in self.entries.values().filter(|entry| among(entry.principal())) {
            let key = key(entry.principal());
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

    fn count(&self, among: impl Fn(&Principal) -> bool) -> usize {
        self.entries
            .values()
            .filter(|entry| among(entry.principal()))
            .count()
    }

    fn remove_oldest(&mut self, among: impl Fn(&Principal) -> bool) {
        let oldest = self
            .entries
            .iter()
            .filter(|(_, entry)| among(entry.principal()))
            .min_by_key(|(_, entry)| entry.number);
        if let Some(key) = oldest.map(|(key, _)| *key) {
            self.entries.remove(&key);
        }
    }
}

/// Time from one date to a later one; zero if it is not later.
fn until(date: UnixMs, now: UnixMs) -> Duration {
    Duration::from_millis(u64::try_from(date.saturating_sub(now)).unwrap_or(0))
}
