//! Keys from passphrases, by Argon2id.

use argon2::{Algorithm, Argon2, Params, Version};
use iottly_protocol::Secret;
use zeroize::Zeroizing;

/// Length of the salt, in bytes.
pub const SALT: usize = 16;
/// Minimum length of a new passphrase, in bytes.
pub const MIN_PASSPHRASE: usize = 12;
/// Maximum length of a passphrase, in bytes.
const MAX_PASSPHRASE: usize = 1024;
/// Maximum memory that a file may demand, in KiB: 1 GiB.
const MAX_MEMORY: u32 = 1 << 20;
/// Maximum number of passes that a file may demand.
const MAX_PASSES: u32 = 16;
/// Maximum number of lanes that a file may demand.
const MAX_LANES: u32 = 16;

/// Cost of a guess at a passphrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Memory, in KiB.
    pub memory: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes of the memory.
    pub lanes: u32,
}

impl Cost {
    /// Cost of what is encrypted now: 64 MiB and 3 passes, the second recommendation of RFC 9106.
    pub const NOW: Self = Self {
        memory: 64 << 10,
        passes: 3,
        lanes: 4,
    };

    /// Returns true if this machine may be asked to spend it.
    #[must_use]
    pub fn is_bounded(self) -> bool {
        self.memory <= MAX_MEMORY && self.passes <= MAX_PASSES && self.lanes <= MAX_LANES
    }
}

/// Reason why a passphrase gives no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PassphraseError {
    /// A new passphrase is short.
    #[error("the passphrase is shorter than {MIN_PASSPHRASE} bytes")]
    Short,
    /// The passphrase is long.
    #[error("the passphrase is longer than {MAX_PASSPHRASE} bytes")]
    Long,
    /// The file demands too much memory or time, or too little for the function.
    #[error(
        "the file demands a cost of the passphrase outside of the bounds ({} MiB, {MAX_PASSES} passes, {MAX_LANES} lanes)",
        MAX_MEMORY >> 10
    )]
    Cost,
}

/// Checks a passphrase that encrypts something new.
///
/// # Errors
/// If it is short or long.
pub(super) fn check_new(passphrase: &Secret) -> Result<(), PassphraseError> {
    match passphrase.expose().len() {
        0..MIN_PASSPHRASE => Err(PassphraseError::Short),
        MIN_PASSPHRASE..=MAX_PASSPHRASE => Ok(()),
        _ => Err(PassphraseError::Long),
    }
}

/// Key of a passphrase, and a number that tells the right passphrase from others without showing anything of the key.
pub(super) struct Derived {
    pub(super) key: Zeroizing<[u8; 32]>,
    pub(super) check: [u8; 16],
}

/// Computes the key of a passphrase.
///
/// # Errors
/// If the passphrase is long or the cost is out of bounds.
pub(super) fn derive(passphrase: &Secret, salt: &[u8; SALT], cost: Cost) -> Result<Derived, PassphraseError> {
    if passphrase.expose().len() > MAX_PASSPHRASE {
        return Err(PassphraseError::Long);
    }
    if !cost.is_bounded() {
        return Err(PassphraseError::Cost);
    }
    let params =
        Params::new(cost.memory, cost.passes, cost.lanes, None).map_err(|_| PassphraseError::Cost)?;
    let mut out = Zeroizing::new([0; 48]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.expose().as_bytes(), salt, &mut *out)
        .map_err(|_| PassphraseError::Cost)?;
    let (mut key, mut check) = (Zeroizing::new([0; 32]), [0; 16]);
    key.copy_from_slice(&out[..32]);
    check.copy_from_slice(&out[32..]);
    Ok(Derived { key, check })
}

#[cfg(test)]
pub(super) const CHEAP: Cost = Cost {
    memory: 64,
    passes: 1,
    lanes: 1,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_that_a_file_demands_is_bounded() {
        let passphrase = Secret::new("correct horse battery");
        for cost in [
            Cost {
                memory: MAX_MEMORY + 1,
                ..CHEAP
            },
            Cost {
                passes: MAX_PASSES + 1,
                ..CHEAP
            },
            Cost {
                lanes: MAX_LANES + 1,
                ..CHEAP
            },
            Cost { memory: 0, ..CHEAP },
            Cost { passes: 0, ..CHEAP },
            Cost { lanes: 0, ..CHEAP },
        ] {
            let refused = derive(&passphrase, &[0; SALT], cost).map(|_| ());
            assert_eq!(refused, Err(PassphraseError::Cost), "{cost:?}");
        }
        assert!(Cost::NOW.is_bounded());
    }

    #[test]
    fn passphrase_and_salt_make_the_key() {
        let key = |text: &str, salt: u8| {
            let derived = derive(&Secret::new(text), &[salt; SALT], CHEAP).expect("a key");
            (*derived.key, derived.check)
        };
        assert_eq!(key("one", 1), key("one", 1));
        assert_ne!(key("one", 1).0, key("one", 2).0);
        assert_ne!(key("one", 1).1, key("two", 1).1);
        assert_eq!(check_new(&Secret::new("short")), Err(PassphraseError::Short));
        assert_eq!(
            check_new(&Secret::new("x".repeat(2000))),
            Err(PassphraseError::Long)
        );
        assert_eq!(check_new(&Secret::new("correct horse battery")), Ok(()));
    }
}
