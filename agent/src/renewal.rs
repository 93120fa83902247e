//! Renewal of an enrolled device's broker secret: proves the device's key to the cloud, stores the new secret, and only
//! then gives it to the link. An open connection is not touched.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use iottly_protocol::Secret;
use iottly_protocol::enroll::{Challenge, ChallengeRequest, RenewedSecret, SecretRequest};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::enroll::{pending_keys, reason};
use crate::identity::{Identity, IdentityStore, Login};
use crate::link::Route;
use crate::time::BoardClock;

/// First and longest wait after a failure.
const RETRY: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(600));

/// Task that renews the secret.
pub(crate) struct Renewal {
    pub(crate) store: IdentityStore,
    pub(crate) identity: Identity,
    pub(crate) route: Route,
    pub(crate) clock: BoardClock,
    /// File of the keys of an enrolment under way.
    pub(crate) pending: PathBuf,
    /// Secret of the next login.
    pub(crate) secret: watch::Sender<Secret>,
    /// Notified when the broker has refused the present secret.
    pub(crate) refused: Arc<Notify>,
    /// Becomes true when the agent stops.
    pub(crate) stop: watch::Receiver<bool>,
}

/// Challenge in an answer of the cloud.
#[derive(Deserialize)]
struct GivenChallenge {
    challenge: Challenge,
}

impl Renewal {
    /// Runs until the agent stops.
    pub(crate) async fn run(self) {
        let Self {
            mut store,
            mut identity,
            route,
            clock,
            pending,
            secret,
            refused,
            mut stop,
        } = self;
        let device = identity.device_id;
        let mut failures = 0;
        let mut wait = due(&identity, &clock);
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = sleep(wait) => {}
                () = refused.notified(), if failures == 0 => {}
            }
            let renewed = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                renewed = renew(&route, &identity, &pending) => renewed,
            };
            let written = match renewed {
                Ok(new) => {
                    let interrupted = (new.keys != identity.keys).then(|| pending.clone());
                    spawn_blocking(move || {
                        let written = store.write(&new);
                        if let (Ok(()), Some(done)) = (&written, interrupted)
                            && let Err(error) = std::fs::remove_file(&done)
                        {
                            tracing::warn!(file.path = %done.display(), %error, "failed to remove the file of an enrolment under way; continuing");
                        }
                        (store, new, written)
                    })
                    .await
                }
                Err(error) => {
                    wait = retry(failures);
                    failures += 1;
                    tracing::warn!(device.id = %device, %error, retry_s = wait.as_secs(), "failed to renew the secret of the broker login; the present one stays in use");
                    continue;
                }
            };
            let Ok((kept, new, written)) = written else {
                tracing::error!(device.id = %device, "failed to store a new secret because the thread has panicked; no secret is renewed until the agent is restarted");
                return;
            };
            store = kept;
            if let Err(error) = written {
                // The former secret is valid for some minutes more; the next attempt gets another.
                wait = retry(failures);
                failures += 1;
                tracing::error!(device.id = %device, %error, retry_s = wait.as_secs(), "failed to store a new secret; the former one is valid for at most ten minutes, retrying");
                continue;
            }
            identity = new;
            failures = 0;
            wait = due(&identity, &clock);
            secret.send_replace(identity.login.secret.clone());
            tracing::info!(device.id = %device, next_s = wait.as_secs(), "renewed the secret of the broker login");
            // A broker that refuses a secret that was just given is not asked in a loop.
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = sleep(RETRY.0.min(wait)) => {}
            }
            wait = due(&identity, &clock);
        }
    }
}

fn due(identity: &Identity, clock: &BoardClock) -> Duration {
    let now = i64::try_from(clock.now_ms()).unwrap_or(i64::MAX);
    Duration::from_millis(identity.login.due_in_ms(now))
}

/// Returns the wait after this number of failures before: doubled each time, with a random part.
fn retry(failures: u32) -> Duration {
    let longest = RETRY.0.saturating_mul(1 << failures.min(10)).min(RETRY.1);
    let spread = u64::try_from(longest.as_millis() / 2).unwrap_or(1).max(1);
    let part = getrandom::u64().unwrap_or(0) % spread;
    longest / 2 + Duration::from_millis(part)
}

/// Error of a renewal.
#[derive(Debug, thiserror::Error)]
enum RenewalError {
    /// The cloud does not take the key.
    #[error("the cloud refused the key: {0}")]
    Refused(String),
    /// Any other failure.
    #[error("{0}")]
    Failed(String),
}

/// Returns the identity with a new secret. If the cloud refuses the key, the keys of an interrupted `--rekey` are tried: the
/// cloud had taken them when the power failed.
async fn renew(route: &Route, identity: &Identity, pending: &Path) -> Result<Identity, RenewalError> {
    let error = match ask(route, identity).await {
        Ok(login) => {
            return Ok(Identity {
                login,
                ..identity.clone()
            });
        }
        Err(error) => error,
    };
    let keys = match &error {
        RenewalError::Refused(_) => pending_keys(pending).filter(|keys| *keys != identity.keys),
        RenewalError::Failed(_) => None,
    };
    let Some(keys) = keys else { return Err(error) };
    let other = Identity {
        keys,
        ..identity.clone()
    };
    let login = ask(route, &other).await?;
    tracing::info!(device.id = %identity.device_id, "finished an enrolment with new keys that was interrupted");
    Ok(Identity { login, ..other })
}

async fn ask(route: &Route, identity: &Identity) -> Result<Login, RenewalError> {
    let device_id = identity.device_id;
    let given: GivenChallenge =
        post(route, "/v1.0/enroll/challenge", &ChallengeRequest { device_id }).await?;
    let request = SecretRequest::signed(device_id, given.challenge, &identity.keys.signer());
    let renewed: RenewedSecret = post(route, "/v1.0/enroll/secret", &request).await?;
    Ok(Login {
        secret: renewed.secret,
        given: renewed.time,
        valid_ms: renewed.valid_ms,
    })
}

async fn post<T: DeserializeOwned>(
    route: &Route,
    path: &str,
    body: &impl serde::Serialize,
) -> Result<T, RenewalError> {
    let body = serde_json::to_vec(body).expect("requests have string keys");
    let answer = route.post(path, &body).await;
    let answer = answer.map_err(|error| RenewalError::Failed(error.to_string()))?;
    match answer.status {
        200 => serde_json::from_slice(&answer.body)
            .map_err(|error| RenewalError::Failed(format!("the cloud's answer: {error}"))),
        403 => Err(RenewalError::Refused(reason(&answer.body))),
        status => Err(RenewalError::Failed(format!(
            "the cloud answered {status}: {}",
            reason(&answer.body)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_wait_longer_up_to_a_bound() {
        for failures in 0..40 {
            let wait = retry(failures);
            assert!(wait >= RETRY.0 / 2 && wait <= RETRY.1, "{failures}: {wait:?}");
        }
        assert!(retry(9) >= RETRY.1 / 2);
    }
}
