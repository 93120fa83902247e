//! Passwords of users: Argon2id hashes, computed beside the tasks that serve requests, a few at a time.

use std::sync::Arc;

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use iottly_protocol::Secret;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Memory of one computation in KiB, passes over it and lanes: the first choice of the OWASP Password Storage Cheat Sheet
/// for Argon2id with one lane.
const COST: (u32, u32, u32) = (19 << 10, 2, 1);
/// Maximum number of computations at a time; each needs 19 MiB.
const AT_ONCE: usize = 2;
/// Maximum number of requests that wait for a computation.
const WAITING: usize = 32;
/// Minimum and maximum length of a password, in bytes.
const LENGTH: (usize, usize) = (10, 512);

/// Reason why a password was not checked or stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PasswordError {
    /// The password is too short or too long.
    #[error("a password has {} to {} bytes", LENGTH.0, LENGTH.1)]
    Length,
    /// Too many logins wait already.
    #[error("too many people log in at the moment")]
    Busy,
    /// The computation failed.
    #[error("failed to compute the hash of a password: {0}")]
    Hash(String),
}

/// Computes hashes of passwords, within bounds.
#[derive(Debug, Clone)]
pub(crate) struct Passwords {
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            running: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Arc::new(Semaphore::new(WAITING)),
        }
    }
}

impl Passwords {
    /// Returns the hash under which a new password is stored.
    ///
    /// # Errors
    /// See [`PasswordError`].
    pub(crate) async fn hash(&self, password: &Secret) -> Result<String, PasswordError> {
        if !(LENGTH.0..=LENGTH.1).contains(&password.expose().len()) {
            return Err(PasswordError::Length);
        }
        let password = password.clone();
        self.compute(move |argon| {
            let mut salt = [0; 16];
            getrandom::fill(&mut salt).map_err(|error| PasswordError::Hash(error.to_string()))?;
            let salt =
                SaltString::encode_b64(&salt).map_err(|error| PasswordError::Hash(error.to_string()))?;
            let hash = argon.hash_password(password.expose().as_bytes(), &salt);
            hash.map(|hash| hash.to_string())
                .map_err(|error| PasswordError::Hash(error.to_string()))
        })
        .await
    }

    /// Returns true if a password has this hash. Without a hash, takes as long as with one, so that the time does not tell
    /// which names exist.
    ///
    /// # Errors
    /// See [`PasswordError`]; a hash that cannot be read is one.
    pub(crate) async fn matches(
        &self,
        password: &Secret,
        hash: Option<String>,
    ) -> Result<bool, PasswordError> {
        if password.expose().len() > LENGTH.1 {
            return Ok(false);
        }
        let password = password.clone();
        self.compute(move |argon| {
            let Some(hash) = hash else {
                let mut out = [0; 32];
                let spent = argon.hash_password_into(password.expose().as_bytes(), &[0; 16], &mut out);
                return spent
                    .map(|()| false)
                    .map_err(|error| PasswordError::Hash(error.to_string()));
            };
            let hash = PasswordHash::new(&hash).map_err(|error| PasswordError::Hash(error.to_string()))?;
            Ok(argon.verify_password(password.expose().as_bytes(), &hash).is_ok())
        })
        .await
    }

    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Argon2<'static>) -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let _place = self.waiting.try_acquire().map_err(|_| PasswordError::Busy)?;
        let running = Arc::clone(&self.running).acquire_owned().await;
        let running = running.map_err(|error| PasswordError::Hash(error.to_string()))?;
        let (memory, passes, lanes) = COST;
        let params = Params::new(memory, passes, lanes, None);
        let params = params.map_err(|error| PasswordError::Hash(error.to_string()))?;
        let done = spawn_blocking(move || {
            // Until the computation ends, also when its request has gone.
            let _running = running;
            work(&Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
        });
        done.await
            .map_err(|error| PasswordError::Hash(error.to_string()))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_matches_its_own_hash_only() {
        let passwords = Passwords::default();
        let hash = passwords
            .hash(&Secret::new("correct horse"))
            .await
            .expect("a hash");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        let again = passwords
            .hash(&Secret::new("correct horse"))
            .await
            .expect("a hash");
        assert_ne!(hash, again, "each has a salt of its own");
        let is = async |text: &str| {
            passwords
                .matches(&Secret::new(text), Some(hash.clone()))
                .await
                .expect("checked")
        };
        assert!(is("correct horse").await);
        for other in ["", "correct hors", "correct horse ", &"x".repeat(4096)] {
            assert!(!is(other).await, "{other}");
        }
        assert!(
            !passwords
                .matches(&Secret::new("correct horse"), None)
                .await
                .expect("checked")
        );
    }

    #[tokio::test]
    async fn lengths_and_damaged_hashes_are_named() {
        let passwords = Passwords::default();
        for bad in ["", "123456789", &"x".repeat(513)] {
            assert!(
                matches!(
                    passwords.hash(&Secret::new(bad)).await,
                    Err(PasswordError::Length)
                ),
                "{bad}"
            );
        }
        let damaged = passwords
            .matches(&Secret::new("1234567890"), Some("$argon2id$".to_owned()))
            .await;
        assert!(matches!(damaged, Err(PasswordError::Hash(_))));
    }

    #[tokio::test]
    async fn a_flood_of_logins_is_refused_and_not_queued() {
        let passwords = Passwords::default();
        let password = Secret::new("1234567890");
        let tries = (0..100).map(|_| passwords.matches(&password, None));
        let results = futures_util::future::join_all(tries).await;
        let busy = results
            .iter()
            .filter(|result| matches!(result, Err(PasswordError::Busy)))
            .count();
        assert_eq!(busy, 100 - WAITING);
    }
}
