//! Enrolment keys and the identities of enrolled devices, as the store keeps them.

use iottly_protocol::enroll::{DeviceKey, ProvenEnrollment, SealingKey};
use iottly_protocol::{DeviceId, GroupId};

use super::{EnrolmentKeyId, Scope, SecretHash, UnixMs};

/// Maximum number of enrolment keys of a project.
pub const MAX_ENROLMENT_KEYS: i64 = 100;

/// Enrolment key: with it many boards become devices of a project. The devices do not depend on it afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolmentKey {
    /// Id of the key; not the key.
    pub id: EnrolmentKeyId,
    /// Name, for people.
    pub name: String,
    /// First characters of the key, by which people distinguish keys.
    pub prefix: String,
    /// Creation time.
    pub created: UnixMs,
    /// Expiry; none if the key does not expire.
    pub expires: Option<UnixMs>,
    /// Number of devices that were created with the key.
    pub uses: u64,
    /// Maximum number of devices.
    pub max_uses: u64,
    /// Group of the devices; none for `_orphaned`.
    pub group: Option<GroupId>,
    /// Tags of the devices.
    pub tags: Vec<String>,
    /// Time without a connection after which a device of the key is deleted, in milliseconds; none for never.
    pub ephemeral_ms: Option<UnixMs>,
    /// True if a person has to approve each board.
    pub waiting: bool,
}

/// Board that a person approves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// Id of the new device.
    pub device: DeviceId,
    /// Request of the board.
    pub request: ProvenEnrollment,
    /// Hash of the enrolment key that the board came with, if it has one.
    pub key: Option<SecretHash>,
    /// Name of the device; none for the one that the board wants.
    pub name: Option<String>,
    /// Group of the device; none for the one of the enrolment key, or `_orphaned`.
    pub group: Option<GroupId>,
}

/// Enrolment key to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEnrolmentKey {
    /// Hash of the key.
    pub hash: SecretHash,
    /// The key without its secret; `uses` is 0.
    pub key: EnrolmentKey,
}

/// Identity of an enrolled device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceIdentity {
    /// The device.
    pub scope: Scope,
    /// Key by which the cloud knows it.
    pub device_key: DeviceKey,
    /// Key with which values are sealed for it.
    pub sealing_key: SealingKey,
    /// Hash of the board's serial number or machine id, as the board states it: 64 hex digits.
    pub hardware: Option<String>,
    /// Board profile, as the board states it.
    pub profile: String,
    /// Time of the enrolment.
    pub enrolled: UnixMs,
}
