//! Enrolment of devices: their keys, the secrets of their broker logins, and enrolment keys.

use async_trait::async_trait;
use iottly_protocol::enroll::{DeviceKey, PairCode, ProvenEnrollment};
use iottly_protocol::{DeviceId, ProjectId};

use crate::error::Result;
use iottly_core::enrol::{Admission, KeyFacts, Nonce, Refusal, RenewalRefusal};
use iottly_core::model::{DeviceCopy, DeviceIdentity, EnrolmentKey, Scope, SecretHash, UnixMs};

/// New secret of a broker login, as its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewSecret {
    /// Hash of the secret.
    pub hash: SecretHash,
    /// Random part of the challenge that the secret is given for; random at an enrolment.
    pub nonce: Nonce,
    /// Expiry.
    pub expires: UnixMs,
}

/// Parts of an admitted enrolment that the cloud chooses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Id of the device if the request makes a new one.
    pub device: DeviceId,
    /// First secret of the broker login.
    pub secret: NewSecret,
    /// Address that the request came from, for the audit log.
    pub from: String,
}

/// Result of a request that is not refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enrolment {
    /// The board has its place.
    Admitted(Scope, Admission),
    /// A person has to approve the board; with the enrolment key that it has, if it has one. Nothing was written.
    Waiting(Option<KeyFacts>),
}

/// Store operations for enrolment. The broker's login and these are the only ones that start without a project: a code
/// or a device's own key leads to it.
#[async_trait]
pub trait EnrolmentStore: Send + Sync + 'static {
    /// Decides on a request and applies the decision with its audit entry, in one transaction. `code` is the hash under
    /// which enrolment keys are stored. A refusal is written to the audit log of the code's project.
    async fn enrol(
        &self,
        request: &ProvenEnrollment,
        code: Option<SecretHash>,
        grant: &Grant,
        now: UnixMs,
    ) -> Result<std::result::Result<Enrolment, Refusal>>;
    /// Returns the device that has a key.
    async fn device_of_key(&self, key: DeviceKey) -> Result<Option<Scope>>;
    /// Gives a device of release 0.1, which has this secret, its first key; decides and applies with the audit entry in one
    /// transaction.
    async fn upgrade_device(
        &self,
        device: DeviceId,
        secret: SecretHash,
        request: &ProvenEnrollment,
        grant: &Grant,
        now: UnixMs,
    ) -> Result<std::result::Result<Scope, Refusal>>;
    /// Returns the device that a pair code pairs, used or not; none for any other code.
    async fn device_of_code(&self, code: PairCode) -> Result<Option<Scope>>;
    /// Returns the identity of an enrolled device.
    async fn device_identity(&self, device: DeviceId) -> Result<Option<DeviceIdentity>>;
    /// Returns the hashes of the secrets with which a device may log in at `now`.
    async fn login_secrets(&self, device: DeviceId, now: UnixMs) -> Result<Option<(Scope, Vec<SecretHash>)>>;
    /// Gives a device that still has this key a new secret; the one before it is valid for the hand-over.
    async fn renew_secret(
        &self,
        scope: Scope,
        key: DeviceKey,
        secret: &NewSecret,
        now: UnixMs,
    ) -> Result<std::result::Result<(), RenewalRefusal>>;
    /// Returns the enrolment keys of a project, oldest first.
    async fn enrolment_keys(&self, project: ProjectId) -> Result<Vec<EnrolmentKey>>;
    /// Returns devices of ephemeral keys that were without a connection for longer than their keys allow, at most
    /// `limit`.
    async fn abandoned_devices(&self, now: UnixMs, limit: usize) -> Result<Vec<Scope>>;
    /// Returns the copies of all devices, by device and number.
    async fn device_copies(&self) -> Result<Vec<(Scope, DeviceCopy)>>;
    /// Replaces the copies of a device.
    async fn put_copies(&self, scope: Scope, copies: &[DeviceCopy]) -> Result<()>;
    /// Returns the random key for a purpose that all clouds on the database use; `fresh` becomes it if there is none.
    async fn cloud_key(&self, name: &str, fresh: [u8; 32]) -> Result<[u8; 32]>;
}
