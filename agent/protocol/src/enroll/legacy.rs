//! The way from a device of release 0.1, which has an id and a secret, to one with a key of its own.

use serde::{Deserialize, Serialize};

use super::{EnrollRequest, Fingerprint};
use crate::{DeviceId, Secret};

/// Capability in the hello of a device that has no key and can make one.
pub const CAN_ENROLL: &str = "enroll";

/// Offer of the cloud to a device with [`CAN_ENROLL`]: where it can make itself a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrollOffer {
    /// Port of HTTPS and MQTT over TLS on the host that the device reaches the broker at.
    pub port: u16,
    /// Fingerprint of the authority that the certificate comes from; none for one of the public web.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
}

/// Request of a device of release 0.1 to be known by a key. It proves its secret by sending it, behind TLS, for the last
/// time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegacyRequest {
    /// Id of the device.
    pub device_id: DeviceId,
    /// Secret of its broker login.
    pub secret: Secret,
    /// The keys, without a code.
    #[serde(flatten)]
    pub keys: EnrollRequest,
}
