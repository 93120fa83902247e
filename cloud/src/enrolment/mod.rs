//! Enrolment of boards, and the renewal of their broker secrets. Decides nothing: the rules are in `iottly_core::enrol`,
//! and the store applies them.

use std::net::IpAddr;
use std::sync::Arc;

use iottly_core::enrol::{self, Admission, CHALLENGE_MS, Refusal, SECRET_MS};
use iottly_core::model::{Scope, SecretHash, UnixMs};
use iottly_core::refusals::RefusedStep;
use iottly_protocol::enroll::{
    Challenge, EnrollAnswer, Enrolled, PairCode, ProvenEnrollment, RenewedSecret, SecretRequest,
};
use iottly_protocol::{DeviceId, Secret};
use iottly_store::{Enrolment as Outcome, Grant, NewSecret, Store, StoreError};
use tokio::sync::OnceCell;

use crate::broker::Broker;
use crate::holds::Holds;
use crate::live::LiveHub;
use crate::refusals::RefusalBook;
use crate::releases::ReleaseError;
use crate::rollout::Rollouts;
use crate::{clock, edge::AddressKey};

mod attempts;
mod typed;
mod waiting;

pub use waiting::{Placement, ShownBoard};

use attempts::Attempts;
use typed::Typed;
use waiting::WaitingBoards;

/// Name of the key of challenges in the store.
const CHALLENGES: &str = "challenges";

/// Time after which a device with two young secrets may renew again, in seconds.
pub const TOO_OFTEN_S: u32 = (2 * CHALLENGE_MS / 1000) as u32;

/// Time after which a board that found no place to wait in may ask again, in seconds.
pub const FULL_S: u32 = 30;

/// Error of an enrolment or a renewal.
#[derive(Debug, thiserror::Error)]
pub enum EnrolmentError {
    /// The board is refused. One text for all reasons: strangers learn nothing about codes and devices.
    #[error("the code or the key is not valid here; get a new code")]
    Refused,
    /// Too many requests of the board's address have failed.
    #[error("too many requests have failed; try again in {} s", .wait_s)]
    TooMany {
        /// Time to wait, in seconds.
        wait_s: u32,
    },
    /// No place is free for one more waiting board.
    #[error("too many boards wait for approval; try again later")]
    Full,
    /// No board that waits shows the code.
    #[error("no board that waits shows this code; codes are valid for ten minutes")]
    UnknownBoard,
    /// A person, a token or an address has named too many wrong short codes.
    #[error("too many wrong codes; try again in {wait_s} s")]
    TooManyGuesses {
        /// Time to wait, in seconds.
        wait_s: u32,
    },
    /// The device renews its secret too often.
    #[error("the device has new secrets already; try again in {TOO_OFTEN_S} s")]
    TooOften,
    /// The system has no randomness.
    #[error("failed to read random bytes from the system: {0}")]
    Random(#[from] getrandom::Error),
    /// The database failed, or a limit of the project is reached.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The project's trusted root cannot be read.
    #[error("trusted root: {0}")]
    Root(#[from] ReleaseError),
}

impl EnrolmentError {
    /// Returns the error for one who may guess again after a time in milliseconds.
    fn too_many_guesses(wait_ms: UnixMs) -> Self {
        Self::TooManyGuesses {
            wait_s: u32::try_from(wait_ms / 1000 + 1).unwrap_or(u32::MAX),
        }
    }
}

/// Service of enrolment.
pub struct Enrolment {
    store: Arc<dyn Store>,
    broker: Arc<dyn Broker>,
    rollouts: Arc<Rollouts>,
    holds: Arc<Holds>,
    refusals: Arc<RefusalBook>,
    attempts: Attempts,
    waiting: WaitingBoards,
    typed: Typed,
    challenges: OnceCell<[u8; 32]>,
}

impl Enrolment {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        broker: Arc<dyn Broker>,
        rollouts: Arc<Rollouts>,
        holds: Arc<Holds>,
        refusals: Arc<RefusalBook>,
        live: Arc<LiveHub>,
    ) -> Self {
        Self {
            store,
            broker,
            rollouts,
            holds,
            refusals,
            attempts: Attempts::default(),
            waiting: WaitingBoards::new(live),
            typed: Typed::default(),
            challenges: OnceCell::new(),
        }
    }

    /// Refuses requests of an address from which many have failed.
    ///
    /// # Errors
    /// [`EnrolmentError::TooMany`].
    pub fn admit(&self, from: IpAddr) -> Result<(), EnrolmentError> {
        self.attempts
            .admit(AddressKey::of(from), clock::steady_ms())
            .map_err(|wait_s| EnrolmentError::TooMany { wait_s })
    }

    /// Counts a request that proves nothing.
    pub fn failed(&self, from: IpAddr) {
        self.attempts.failed(AddressKey::of(from), clock::steady_ms());
    }

    /// Gives a board its place and its first secret, or lets it wait for a person's approval. A board that waits costs
    /// one look into the database when it asks again.
    ///
    /// # Errors
    /// See [`EnrolmentError`].
    pub async fn enrol(
        &self,
        request: &ProvenEnrollment,
        from: IpAddr,
    ) -> Result<EnrollAnswer, EnrolmentError> {
        let key = request.device_key();
        let waits = match (request.code(), self.waiting.keyed(&key)) {
            (None, _) => {
                self.waiting.admit(from)?;
                Some(None)
            }
            (Some(code), Some((project, known))) if known == Some(code) => Some(Some(project)),
            (Some(_), _) => None,
        };
        if let Some(project) = waits
            && self.store.device_of_key(key).await?.is_none()
        {
            return match project {
                Some(project) => self.waiting.ask_keyed(project, request, from),
                None => self.waiting.ask_stranger(request, from),
            };
        }
        self.decide(request, from).await
    }

    /// Decides by what the database has about the request.
    async fn decide(&self, request: &ProvenEnrollment, from: IpAddr) -> Result<EnrollAnswer, EnrolmentError> {
        let now = clock::now();
        let (text, secret) = new_secret(random()?, now)?;
        let grant = Grant {
            device: DeviceId::random(),
            secret,
            from: from.to_string(),
        };
        let (code, key) = (request.code().map(hash), request.device_key());
        let (scope, admission) = match self.store.enrol(request, code, &grant, now).await? {
            Ok(Outcome::Admitted(scope, admission)) => (scope, admission),
            Ok(Outcome::Waiting(Some(key))) => return self.waiting.ask_keyed(key.project, request, from),
            Ok(Outcome::Waiting(None)) => return self.waiting.ask_stranger(request, from),
            Err(refusal) => {
                let known = match request.code() {
                    Some(code) => self.store.device_of_code(code).await?,
                    None => self.store.device_of_key(key).await?,
                };
                self.refused(refusal, known, from);
                return Err(EnrolmentError::Refused);
            }
        };
        if let Admission::Again(_) = admission {
            self.failed(from);
        }
        // A connection with a secret that is over now ends at once: the board was replaced, or starts again.
        if matches!(admission, Admission::Pair(_) | Admission::Rekey(_)) {
            // The boards with the former keys are nothing to this device any more.
            self.holds.forget(scope.device).await;
        }
        if !matches!(admission, Admission::Create(_)) {
            self.broker.disconnect(scope.device).await;
        }
        tracing::info!(device.id = %scope.device, project.id = %scope.project, peer.address = %from, "enrolled a board");
        self.waiting.remove(&request.device_key());
        let enrolled = self.place(scope, text, now).await?;
        Ok(EnrollAnswer::Enrolled(enrolled))
    }

    /// Gives a device of release 0.1 that proves its secret its first key.
    ///
    /// # Errors
    /// See [`EnrolmentError`].
    pub async fn upgrade(
        &self,
        device: DeviceId,
        secret: &Secret,
        request: &ProvenEnrollment,
        from: IpAddr,
    ) -> Result<Enrolled, EnrolmentError> {
        let now = clock::now();
        let (text, new) = new_secret(random()?, now)?;
        let grant = Grant {
            device,
            secret: new,
            from: from.to_string(),
        };
        let old = SecretHash::of(secret.expose().as_bytes());
        let scope = match self
            .store
            .upgrade_device(device, old, request, &grant, now)
            .await?
        {
            Ok(scope) => scope,
            Err(refusal) => {
                // Without its secret, the device is only claimed.
                let known = match refusal {
                    Refusal::Unknown => None,
                    _ => self
                        .store
                        .login_secrets(device, now)
                        .await?
                        .map(|(scope, _)| scope),
                };
                self.refused(refusal, known, from);
                return Err(EnrolmentError::Refused);
            }
        };
        tracing::info!(device.id = %scope.device, project.id = %scope.project, peer.address = %from, "gave a device of release 0.1 its first key");
        self.place(scope, text, now).await
    }

    /// Returns the answer to an admitted board.
    async fn place(&self, scope: Scope, secret: Secret, now: UnixMs) -> Result<Enrolled, EnrolmentError> {
        let device = self.store.device(scope).await?.ok_or(EnrolmentError::Refused)?;
        Ok(Enrolled {
            device_id: scope.device,
            project_id: scope.project,
            group_id: device.group,
            name: device.name,
            login: renewed(secret, now),
            root: self.rollouts.trusted_root(scope.project).await?,
        })
    }

    fn refused(&self, refusal: Refusal, known: Option<Scope>, from: IpAddr) {
        tracing::warn!(peer.address = %from, error = %refusal, "refused to enrol a board");
        let (step, reason) = (RefusedStep::Enrolment, refusal.to_string());
        match known {
            Some(scope) => self.refusals.device(scope, from, step, &reason),
            None => self.refusals.address(from, step, &reason),
        }
        self.failed(from);
    }

    /// Returns a challenge for a device, which need not exist.
    ///
    /// # Errors
    /// If the system has no randomness, or the database fails.
    pub async fn challenge(&self, device: DeviceId) -> Result<Challenge, EnrolmentError> {
        let key = self.key().await?;
        Ok(enrol::challenge(&key, device, &random()?, clock::now()))
    }

    /// Gives a device that has signed a challenge a new secret.
    ///
    /// # Errors
    /// See [`EnrolmentError`].
    pub async fn renew(
        &self,
        request: &SecretRequest,
        from: IpAddr,
    ) -> Result<RenewedSecret, EnrolmentError> {
        let (now, device) = (clock::now(), request.device_id);
        self.attempts
            .admit_device(AddressKey::of(from), device, clock::steady_ms())
            .map_err(|wait_s| EnrolmentError::TooMany { wait_s })?;
        let nonce = enrol::checked(&self.key().await?, device, &request.challenge, now);
        // Without a challenge of this cloud nothing is looked up.
        let identity = match nonce {
            Some(_) => self.store.device_identity(device).await?,
            None => None,
        };
        let known = identity.as_ref().map(|identity| identity.scope);
        let proven = nonce.zip(identity.filter(|identity| request.is_of(&identity.device_key)));
        let Some((nonce, identity)) = proven else {
            if let Some(scope) = known {
                let reason = "the board's key is not that of this device";
                self.refusals.device(scope, from, RefusedStep::Renewal, reason);
            }
            self.attempts
                .device_failed(AddressKey::of(from), device, clock::steady_ms());
            return Err(EnrolmentError::Refused);
        };
        let (text, secret) = new_secret(nonce, now)?;
        let renewal = self
            .store
            .renew_secret(identity.scope, identity.device_key, &secret, now);
        match renewal.await? {
            Ok(()) => Ok(renewed(text, now)),
            Err(enrol::RenewalRefusal::TooOften) => Err(EnrolmentError::TooOften),
            Err(refusal @ (enrol::RenewalRefusal::Replayed | enrol::RenewalRefusal::Replaced)) => {
                if matches!(refusal, enrol::RenewalRefusal::Replaced) {
                    let reason = "another board has taken the place of this one";
                    self.refusals
                        .device(identity.scope, from, RefusedStep::Renewal, reason);
                }
                self.attempts
                    .device_failed(AddressKey::of(from), device, clock::steady_ms());
                Err(EnrolmentError::Refused)
            }
        }
    }

    async fn key(&self) -> Result<[u8; 32], EnrolmentError> {
        let load = || async { Ok::<_, EnrolmentError>(self.store.cloud_key(CHALLENGES, random()?).await?) };
        self.challenges.get_or_try_init(load).await.copied()
    }
}

/// Returns the hash under which an enrolment key is stored.
fn hash(code: PairCode) -> SecretHash {
    SecretHash::of(code.to_string().as_bytes())
}

fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// Returns a new secret of 256 random bits in hex digits, and what is stored of it.
fn new_secret(nonce: enrol::Nonce, now: UnixMs) -> Result<(Secret, NewSecret), getrandom::Error> {
    let bytes: [u8; 32] = random()?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let secret = NewSecret {
        hash: SecretHash::of(text.as_bytes()),
        nonce,
        expires: now.saturating_add(SECRET_MS),
    };
    Ok((text.into(), secret))
}

fn renewed(secret: Secret, now: UnixMs) -> RenewedSecret {
    RenewedSecret {
        secret,
        valid_ms: SECRET_MS.unsigned_abs(),
        time: now,
    }
}
