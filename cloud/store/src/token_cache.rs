//! Tokens that were looked up lately, so that each request does not ask the database for its token.
//!
//! A change that this process makes is seen by the next request. One that another process makes on the same database is
//! seen after [`VALID`].

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use iottly_core::model::{SecretHash, Token};

/// Time for which a token is believed without asking the database.
const VALID: Duration = Duration::from_secs(10);
/// Maximum number of tokens.
const MAX_TOKENS: usize = 1000;

/// Tokens by the hashes of their texts.
#[derive(Debug, Default)]
pub(super) struct TokenCache(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Number of times that the cache was emptied.
    generation: u64,
    known: HashMap<[u8; 32], (Token, Instant)>,
}

/// Generation in which the database was asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked(u64);

impl TokenCache {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a token, or the generation in which the database has to be asked.
    pub(super) fn get(&self, hash: SecretHash, now: Instant) -> Result<Token, Asked> {
        let state = self.state();
        match state.known.get(&hash.0) {
            Some((token, read)) if now.saturating_duration_since(*read) < VALID => Ok(token.clone()),
            _ => Err(Asked(state.generation)),
        }
    }

    /// Keeps what the database has answered, unless something has changed since it was asked.
    pub(super) fn put(&self, asked: Asked, hash: SecretHash, token: &Token, now: Instant) {
        let mut state = self.state();
        if state.generation != asked.0 {
            return;
        }
        if state.known.len() >= MAX_TOKENS {
            state.known.clear();
        }
        state.known.insert(hash.0, (token.clone(), now));
    }

    /// Forgets all tokens; called after each committed change.
    pub(super) fn clear(&self) {
        let mut state = self.state();
        state.generation += 1;
        state.known.clear();
    }
}

#[cfg(test)]
mod tests {
    use iottly_core::model::{Scopes, TokenId};
    use iottly_protocol::ProjectId;

    use super::*;

    fn token() -> Token {
        Token {
            id: TokenId::random(),
            project: ProjectId::from_bytes([1; 12]),
            name: "ci".into(),
            prefix: "iot_0".into(),
            scopes: Scopes::PROJECT,
            created: 0,
            expires: None,
            used: None,
            logins: 0,
            group: None,
        }
    }

    #[test]
    fn a_token_is_believed_until_its_time_is_over_or_something_changes() {
        let (cache, hash, now) = (TokenCache::default(), SecretHash([7; 32]), Instant::now());
        let asked = cache.get(hash, now).expect_err("unknown");
        cache.put(asked, hash, &token(), now);
        assert!(cache.get(hash, now + VALID / 2).is_ok());
        assert!(cache.get(hash, now + VALID).is_err(), "its time is over");
        cache.clear();
        let asked = cache.get(hash, now).expect_err("forgotten");
        // Another change is committed while the database answers with what was there before.
        cache.clear();
        cache.put(asked, hash, &token(), now);
        assert!(cache.get(hash, now).is_err());
    }

    #[test]
    fn the_number_of_tokens_is_bounded() {
        let (cache, now) = (TokenCache::default(), Instant::now());
        for n in 0..3 * MAX_TOKENS {
            let mut hash = SecretHash([0; 32]);
            hash.0[..8].copy_from_slice(&n.to_be_bytes());
            let asked = cache.get(hash, now).expect_err("unknown");
            cache.put(asked, hash, &token(), now);
        }
        assert!(cache.state().known.len() <= MAX_TOKENS);
    }
}
