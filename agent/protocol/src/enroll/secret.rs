//! Renewal of the secret of a device's broker login: the device signs a challenge of the cloud.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::key::Message;
use super::{DeviceKey, DeviceSigner, KeyError, Signature};
use crate::{DeviceId, Secret};

const CHALLENGE: &str = "iottly challenge v1";

/// Challenge of the cloud, opaque to devices: 56 bytes, written in hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Challenge(pub [u8; 56]);

impl FromStr for Challenge {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        super::hex(text)
            .map(Self)
            .ok_or(KeyError::new("challenge is not 112 lower-case hex digits"))
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::tuf::encode_hex(&self.0))
    }
}

crate::text_serde!(Challenge);

/// Request for a challenge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChallengeRequest {
    /// Device that asks.
    pub device_id: DeviceId,
}

/// Request for a new secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRequest {
    /// Device that asks.
    pub device_id: DeviceId,
    /// Challenge that the cloud gave to this device.
    pub challenge: Challenge,
    /// Signature of the device key over both.
    pub proof: Signature,
}

impl SecretRequest {
    /// Creates a signed request.
    #[must_use]
    pub fn signed(device_id: DeviceId, challenge: Challenge, signer: &DeviceSigner) -> Self {
        Self {
            device_id,
            challenge,
            proof: signer.sign(&message(device_id, &challenge)),
        }
    }

    /// Returns true if the sender holds this key.
    #[must_use]
    pub fn is_of(&self, key: &DeviceKey) -> bool {
        key.verifies(&message(self.device_id, &self.challenge), &self.proof)
    }
}

fn message(device: DeviceId, challenge: &Challenge) -> Vec<u8> {
    Message::new(CHALLENGE)
        .field(device.as_bytes())
        .field(&challenge.0)
        .bytes()
}

/// Secret of a device's broker login, with its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewedSecret {
    /// The secret.
    pub secret: Secret,
    /// Time for which it is valid from now on, in milliseconds.
    pub valid_ms: u64,
    /// Time of the cloud, in Unix milliseconds.
    pub time: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_for_one_challenge_of_one_device() {
        let signer = DeviceSigner::from_secret(&[2; 32]);
        let device = DeviceId::from_bytes([1; 16]);
        let request = SecretRequest::signed(device, Challenge([5; 56]), &signer);
        assert!(request.is_of(&signer.key()));
        assert!(!request.is_of(&DeviceSigner::from_secret(&[3; 32]).key()));
        let other = SecretRequest {
            challenge: Challenge([6; 56]),
            ..request.clone()
        };
        assert!(!other.is_of(&signer.key()));
        let other = SecretRequest {
            device_id: DeviceId::from_bytes([2; 16]),
            ..request.clone()
        };
        assert!(!other.is_of(&signer.key()));
        let text = serde_json::to_string(&request).expect("JSON");
        assert_eq!(
            serde_json::from_str::<SecretRequest>(&text).expect("JSON"),
            request
        );
    }
}
