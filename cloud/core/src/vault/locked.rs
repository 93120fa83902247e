//! A key in a file that a passphrase unlocks: a sealed stream of one chunk, in hex digits after a word that names it.

use iottly_protocol::Secret;
use iottly_protocol::tuf::{decode_hex, encode_hex};
use zeroize::Zeroizing;

use super::passphrase::{Cost, PassphraseError, SALT};
use super::stream::{FRAME, HEADER, Opener, Sealer, VaultError};

/// First word of a locked key's text.
const WORD: &str = "locked:";

/// Reason why a key is not unlocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LockedError {
    /// The text is not a locked key, or was changed.
    #[error("is damaged: it is neither a key nor a locked key")]
    Damaged,
    /// The passphrase is another one, or unusable.
    #[error(transparent)]
    Passphrase(VaultError),
}

/// Returns the text of a key that the passphrase unlocks.
///
/// # Errors
/// If the passphrase is short or long.
pub fn lock(
    key: &[u8; 32],
    passphrase: &Secret,
    salt: [u8; SALT],
    cost: Cost,
) -> Result<String, PassphraseError> {
    let mut sealer = Sealer::new(passphrase, salt, cost)?;
    let mut chunk = Vec::with_capacity(64);
    chunk.extend_from_slice(key);
    let frame = sealer.seal(&mut chunk, true);
    Ok(format!(
        "{WORD}{}",
        encode_hex(&[&sealer.header()[..], &frame, &chunk].concat())
    ))
}

/// Returns true if the text of a key is locked.
#[must_use]
pub fn is_locked(text: &str) -> bool {
    text.trim_start().starts_with(WORD)
}

/// Unlocks the text of a key; none if the text is not locked.
///
/// # Errors
/// If the text is damaged or the passphrase is another one.
pub fn unlock(text: &str, passphrase: Option<&Secret>) -> Result<Option<Zeroizing<[u8; 32]>>, LockedError> {
    let Some(hex) = text.trim().strip_prefix(WORD) else {
        return Ok(None);
    };
    let bytes = decode_hex(hex).ok_or(LockedError::Damaged)?;
    let (header, rest) = bytes.split_first_chunk::<HEADER>().ok_or(LockedError::Damaged)?;
    let (frame, chunk) = rest.split_first_chunk::<FRAME>().ok_or(LockedError::Damaged)?;
    let none = Secret::new("");
    let mut opener = Opener::new(passphrase.unwrap_or(&none), header).map_err(LockedError::Passphrase)?;
    let mut chunk = Zeroizing::new(chunk.to_vec());
    let next = opener.frame(frame).map_err(|_| LockedError::Damaged)?;
    let opened = opener.open(next, &mut chunk).map_err(|_| LockedError::Damaged)?;
    let key = <[u8; 32]>::try_from(opened).map_err(|_| LockedError::Damaged)?;
    Ok(Some(Zeroizing::new(key)))
}

#[cfg(test)]
mod tests {
    use super::super::passphrase::CHEAP;
    use super::*;

    #[test]
    fn a_locked_key_opens_with_its_passphrase_only() {
        let passphrase = Secret::new("correct horse battery");
        let text = lock(&[9; 32], &passphrase, [1; SALT], CHEAP).expect("locked");
        assert!(!text.contains("0909"));
        let opened = unlock(&format!("{text}\n"), Some(&passphrase)).expect("unlocked");
        assert_eq!(opened.as_deref(), Some(&[9; 32]));
        for other in [Some(&Secret::new("another passphrase")), None] {
            assert_eq!(
                unlock(&text, other),
                Err(LockedError::Passphrase(VaultError::Wrong))
            );
        }
        for damaged in [&text[..text.len() - 2], &text[..40], "locked:", "locked:zz"] {
            let error = unlock(damaged, Some(&passphrase)).expect_err("damaged");
            assert_eq!(error, LockedError::Damaged, "{damaged}");
        }
        assert_eq!(unlock(&"00".repeat(32), None), Ok(None), "not locked");
        assert_eq!(
            lock(&[9; 32], &Secret::new("short"), [1; SALT], CHEAP),
            Err(PassphraseError::Short)
        );
    }
}
