//! Identity of an enrolled device: its keys, its place in a project and the secret of its broker login. Knows no network.

mod store;

use iottly_protocol::enroll::{DeviceSigner, SealingSecret};
use iottly_protocol::{DeviceId, GroupId, ProjectId, Secret};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use store::IdentityError;
pub(crate) use store::IdentityStore;

/// Identity of an enrolled device, as it is stored.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Id of the device.
    pub(crate) device_id: DeviceId,
    /// Project of the device.
    pub(crate) project_id: ProjectId,
    /// Group of the device at the time of its enrolment.
    pub(crate) group_id: GroupId,
    /// Host of the cloud, without brackets.
    pub(crate) host: String,
    /// Port of the cloud, for MQTT and HTTPS.
    pub(crate) port: u16,
    /// True if the cloud's certificate comes from the authority in the data folder's `ca.pem`; false for the authorities
    /// of the public web.
    pub(crate) own_authority: bool,
    /// Keys of the device.
    pub(crate) keys: Keys,
    /// Secret of the broker login.
    pub(crate) login: Login,
}

/// Secret keys of a device, as hex digits.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Keys {
    #[serde(with = "hex32")]
    device: Zeroizing<[u8; 32]>,
    #[serde(with = "hex32")]
    sealing: Zeroizing<[u8; 32]>,
}

impl Keys {
    /// Returns new keys of 64 random bytes.
    pub(crate) fn new(device: [u8; 32], sealing: [u8; 32]) -> Self {
        Self {
            device: Zeroizing::new(device),
            sealing: Zeroizing::new(sealing),
        }
    }

    /// Returns the key by which the cloud knows the device.
    pub(crate) fn signer(&self) -> DeviceSigner {
        DeviceSigner::from_secret(&self.device)
    }

    /// Returns the key with which values are sealed for the device.
    pub(crate) fn sealing(&self) -> SealingSecret {
        SealingSecret::from_secret(*self.sealing)
    }
}

/// Secret of a broker login.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Login {
    /// The secret.
    pub(crate) secret: Secret,
    /// Time of the cloud when it gave the secret, in Unix milliseconds.
    pub(crate) given: i64,
    /// Validity of the secret from then on, in milliseconds.
    pub(crate) valid_ms: u64,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("device_id", &self.device_id)
            .finish_non_exhaustive()
    }
}

impl Login {
    /// Returns the time until the secret should be renewed, in milliseconds: half of its validity. `now_ms` is the
    /// board's time, which may be wrong: outside of the secret's validity it counts for nothing.
    pub(crate) fn due_in_ms(&self, now_ms: i64) -> u64 {
        let half = self.valid_ms / 2;
        match u64::try_from(now_ms.saturating_sub(self.given)) {
            Ok(age) if age < self.valid_ms => half.saturating_sub(age),
            _ => half,
        }
    }
}

/// Bytes as hex digits.
mod hex32 {
    use iottly_protocol::tuf::{decode_hex, encode_hex};
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};
    use zeroize::Zeroizing;

    pub(super) fn serialize<S: Serializer>(
        bytes: &Zeroizing<[u8; 32]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(encode_hex(&**bytes)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Zeroizing<[u8; 32]>, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        decode_hex(&text)
            .and_then(|bytes| Some(Zeroizing::new(bytes.try_into().ok()?)))
            .ok_or_else(|| D::Error::custom("key is not 64 hex digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_renewed_at_half_of_its_time_whatever_the_boards_clock_shows() {
        let login = Login {
            secret: Secret::new("s"),
            given: 1_800_000_000_000,
            valid_ms: 1000,
        };
        let due = |offset: i64| login.due_in_ms(login.given + offset);
        assert_eq!((due(0), due(400), due(500), due(999)), (500, 100, 0, 0));
        assert_eq!((due(1000), due(-1)), (500, 500));
        assert_eq!(login.due_in_ms(0), 500, "a board that believes it is 1970");
        assert_eq!(login.due_in_ms(i64::MAX), 500);
    }
}
