//! Renewal of an enrolled device's broker secret: proves the device's key to the cloud, stores the new secret, and only
//! then gives it to the link. An open connection is not touched.

use std::sync::Arc;
use std::time::Duration;

use iottly_protocol::Secret;
use iottly_protocol::enroll::{Challenge, ChallengeRequest, RenewedSecret, SecretRequest};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::enroll::reason;
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
                renewed = ask(&route, &identity) => renewed,
            };
            let written = match renewed {
                Ok(login) => {
                    let new = Identity {
                        login,
                        ..identity.clone()
                    };
                    spawn_blocking(move || {
                        let written = store.write(&new);
                        (store, new, written)
                    })
                    .await
                }
                Err(error) => {
                    wait = retry(failures);
                    failures += 1;
                    tracing::warn!(device.id = %device, error, retry_s = wait.as_secs(), "failed to renew the secret of the broker login; the present one stays in use");
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

async fn ask(route: &Route, identity: &Identity) -> Result<Login, String> {
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
) -> Result<T, String> {
    let body = serde_json::to_vec(body).expect("requests have string keys");
    let answer = route.post(path, &body).await.map_err(|error| error.to_string())?;
    if answer.status != 200 {
        return Err(format!(
            "the cloud answered {}: {}",
            answer.status,
            reason(&answer.body)
        ));
    }
    serde_json::from_slice(&answer.body).map_err(|error| format!("the cloud's answer: {error}"))
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
