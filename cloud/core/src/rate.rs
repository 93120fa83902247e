//! Rate limit: counts the requests of each token and user. Pure.

use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};

use crate::model::{Actor, UnixMs};

/// Maximum number of keys that are counted. Beyond it, those with their full allowance are removed, then all.
const MAX_KEYS: usize = 50_000;
const MINUTE_US: i64 = 60_000_000;

/// Used allowance of each key (a token or user, an address), as the time up to which it is used.
#[derive(Debug)]
pub struct RateLimit<K = Actor> {
    /// Maximum number of requests per minute.
    pub limit: NonZeroU32,
    used: Mutex<HashMap<K, i64>>,
}

/// Verdict on a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// True if the request is within the limit.
    pub allowed: bool,
    /// Maximum number of requests per minute.
    pub limit: u32,
    /// Number of further requests that are allowed at once.
    pub remaining: u32,
    /// Seconds until the next request is allowed; if this one is, until the allowance is full again.
    pub wait: u32,
}

impl<K: Eq + Hash> RateLimit<K> {
    /// Creates a limit of `limit` requests per minute, which may all come at once.
    #[must_use]
    pub fn per_minute(limit: NonZeroU32) -> Self {
        Self {
            limit,
            used: Mutex::default(),
        }
    }

    /// Returns the verdict on a request of `key` at `now` without counting it.
    pub fn look(&self, key: K, now: UnixMs) -> Verdict {
        let now = now.saturating_mul(1000);
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        self.verdict(used.get(&key).copied().unwrap_or(now), now).0
    }

    /// Counts a request of `key` at `now`, and returns the verdict on it. A refused request uses up no
    /// allowance. `now` is in milliseconds of a clock that does not jump.
    pub fn ask(&self, key: K, now: UnixMs) -> Verdict {
        let now = now.saturating_mul(1000);
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() >= MAX_KEYS && !used.contains_key(&key) {
            used.retain(|_, until| *until > now);
            if used.len() >= MAX_KEYS {
                used.clear();
            }
        }
        let until = used.entry(key).or_insert(now);
        let (verdict, next) = self.verdict(*until, now);
        *until = next;
        verdict
    }

    /// Returns the verdict on a request when the allowance is used up to `until`, and the new value of that.
    fn verdict(&self, until: i64, now: i64) -> (Verdict, i64) {
        let each = MINUTE_US / i64::from(self.limit.get());
        // A clock that went back by more than the window starts with a full allowance.
        let ahead = if until > now.saturating_add(MINUTE_US) {
            0
        } else {
            (until - now).max(0)
        };
        let allowed = ahead + each <= MINUTE_US;
        let ahead = if allowed { ahead + each } else { ahead };
        let remaining = u32::try_from((MINUTE_US - ahead) / each).unwrap_or(0);
        let wait = if allowed { ahead } else { ahead + each - MINUTE_US };
        let verdict = Verdict {
            allowed,
            limit: self.limit.get(),
            remaining,
            wait: u32::try_from(wait.div_euclid(1_000_000) + 1).unwrap_or(60),
        };
        (verdict, now + ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TokenId;

    fn limit(per_minute: u32) -> RateLimit {
        RateLimit::per_minute(NonZeroU32::new(per_minute).expect("not zero"))
    }

    #[test]
    fn a_token_has_its_minute_and_gets_it_back_evenly() {
        let limit = limit(60);
        let ask = |now| limit.ask(Actor::Token(TokenId::from_bytes([1; 16])), now);
        for n in 0..60 {
            let verdict = ask(1_000_000);
            assert!(verdict.allowed && verdict.remaining == 59 - n, "{n}: {verdict:?}");
        }
        let refused = ask(1_000_000);
        assert!(
            !refused.allowed && refused.remaining == 0 && (1..=2).contains(&refused.wait),
            "{refused:?}"
        );
        assert!(ask(1_001_000).allowed && !ask(1_001_000).allowed);
        assert!(
            limit
                .ask(Actor::Token(TokenId::from_bytes([2; 16])), 1_000_000)
                .allowed,
            "others are not concerned"
        );
        assert_eq!(ask(1_100_000).remaining, 59);
        assert!(
            ask(1_000).allowed,
            "a clock that went back does not lock the token out"
        );
    }

    #[test]
    fn tokens_that_nobody_has_cost_no_memory() {
        let limit = limit(1);
        for n in 0..2 * MAX_KEYS {
            let mut key = [0; 16];
            key[..8].copy_from_slice(&n.to_le_bytes());
            limit.ask(Actor::Token(TokenId::from_bytes(key)), 1_000_000);
        }
        assert!(limit.used.lock().expect("unpoisoned").len() <= MAX_KEYS);
    }
}
