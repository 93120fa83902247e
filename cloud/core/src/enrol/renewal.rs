//! Challenges, and the decision to give a device a new secret for a signed one. Pure.

use iottly_protocol::DeviceId;
use iottly_protocol::enroll::Challenge;

use crate::model::UnixMs;

/// Validity of the secret of a broker login, in milliseconds: a day.
pub const SECRET_MS: UnixMs = 24 * 60 * 60 * 1000;
/// Time for which the former secret stays valid beside a new one, in milliseconds.
pub const HAND_OVER_MS: UnixMs = 10 * 60 * 1000;
/// Validity of a challenge, in milliseconds.
pub const CHALLENGE_MS: UnixMs = 60 * 1000;
/// Number of secrets of a device that are kept: the newest and the one before.
pub const MAX_SECRETS: usize = 2;

/// Random part of a challenge.
pub type Nonce = [u8; 16];

/// Returns the challenge for a device. `key` is the same for all clouds on one database; nothing is stored.
#[must_use]
pub fn challenge(key: &[u8; 32], device: DeviceId, nonce: &Nonce, now: UnixMs) -> Challenge {
    let mut bytes = [0; 56];
    bytes[..8].copy_from_slice(&now.to_be_bytes());
    bytes[8..24].copy_from_slice(nonce);
    let mac = mac(key, device, &bytes[..24]);
    bytes[24..].copy_from_slice(mac.as_bytes());
    Challenge(bytes)
}

/// Returns the random part of a challenge that this cloud gave to this device within [`CHALLENGE_MS`]; none for any
/// other.
#[must_use]
pub fn checked(key: &[u8; 32], device: DeviceId, challenge: &Challenge, now: UnixMs) -> Option<Nonce> {
    let (said, given) = challenge.0.split_at(24);
    let given: [u8; 32] = given.try_into().ok()?;
    // The comparison of `blake3::Hash` takes the same time for all values.
    if mac(key, device, said) != blake3::Hash::from_bytes(given) {
        return None;
    }
    let issued = UnixMs::from_be_bytes(said[..8].try_into().ok()?);
    // The clock of another cloud on the same database may be ahead.
    (now.abs_diff(issued) <= CHALLENGE_MS.unsigned_abs()).then_some(())?;
    said[8..].try_into().ok()
}

fn mac(key: &[u8; 32], device: DeviceId, said: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher
        .update(b"iottly challenge")
        .update(device.as_bytes())
        .update(said);
    hasher.finalize()
}

/// Secret of a device, without the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretFacts {
    /// Time at which it was given.
    pub created: UnixMs,
    /// Expiry.
    pub expires: UnixMs,
    /// Random part of the challenge that it was given for.
    pub nonce: Nonce,
}

/// Reason why no new secret is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RenewalRefusal {
    /// The challenge has brought a secret already.
    #[error("the challenge was used before")]
    Replayed,
    /// The device has got its present secrets within the validity of a challenge.
    #[error("the device renews its secret too often")]
    TooOften,
    /// Another board has taken the device's place, or the device was deleted.
    #[error("the board is not this device any more")]
    Replaced,
}

/// Decides on a new secret for a device with these secrets, newest first. Returns the new expiry of the newest of them;
/// all others end at once.
///
/// # Errors
/// The reason of a refusal.
pub fn renew(secrets: &[SecretFacts], nonce: &Nonce, now: UnixMs) -> Result<Option<UnixMs>, RenewalRefusal> {
    if secrets.iter().any(|secret| secret.nonce == *nonce) {
        return Err(RenewalRefusal::Replayed);
    }
    // A row that is removed no longer stops a replay, so it has to be older than any valid challenge.
    let young = |secret: &&SecretFacts| now.abs_diff(secret.created) <= 2 * CHALLENGE_MS.unsigned_abs();
    if secrets.iter().filter(young).count() >= MAX_SECRETS {
        return Err(RenewalRefusal::TooOften);
    }
    Ok(secrets
        .first()
        .map(|newest| newest.expires.min(now.saturating_add(HAND_OVER_MS))))
}

#[cfg(test)]
mod tests {
    use iottly_protocol::ProjectId;

    use super::*;
    use crate::model::Scope;

    const NOW: UnixMs = 1_800_000_000_000;

    fn scope(project: u8, device: u8) -> Scope {
        Scope {
            project: ProjectId::from_bytes([project; 12]),
            device: DeviceId::from_bytes([device; 16]),
        }
    }

    #[test]
    fn a_challenge_is_for_one_device_and_one_minute() {
        let (key, device) = ([7; 32], scope(1, 1).device);
        let given = challenge(&key, device, &[4; 16], NOW);
        assert_eq!(checked(&key, device, &given, NOW + CHALLENGE_MS), Some([4; 16]));
        assert_eq!(checked(&key, device, &given, NOW + CHALLENGE_MS + 1), None);
        assert_eq!(checked(&key, device, &given, NOW - CHALLENGE_MS - 1), None);
        assert_eq!(checked(&key, scope(1, 2).device, &given, NOW), None);
        assert_eq!(checked(&[8; 32], device, &given, NOW), None);
        for at in 0..56 {
            let mut forged = given;
            forged.0[at] ^= 1;
            assert_eq!(checked(&key, device, &forged, NOW), None, "byte {at}");
        }
    }

    #[test]
    fn the_former_secret_ends_with_the_hand_over() {
        let secret = |created, nonce| SecretFacts {
            created,
            expires: created + SECRET_MS,
            nonce: [nonce; 16],
        };
        let old = NOW - SECRET_MS / 2;
        assert_eq!(renew(&[], &[1; 16], NOW), Ok(None));
        assert_eq!(
            renew(&[secret(old, 1)], &[2; 16], NOW),
            Ok(Some(NOW + HAND_OVER_MS))
        );
        assert_eq!(
            renew(&[secret(NOW - SECRET_MS + 5, 1)], &[2; 16], NOW),
            Ok(Some(NOW + 5))
        );
        assert_eq!(
            renew(&[secret(old, 1), secret(old, 2)], &[2; 16], NOW),
            Err(RenewalRefusal::Replayed)
        );
        let twice = [secret(NOW, 3), secret(NOW - 2 * CHALLENGE_MS, 2)];
        assert_eq!(renew(&twice, &[4; 16], NOW), Err(RenewalRefusal::TooOften));
        assert!(renew(&twice, &[4; 16], NOW + 1).is_ok());
    }
}
