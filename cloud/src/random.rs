//! Random bytes from the system, for keys, ids and secrets.

use iottly_core::SealNonce;

/// Returns `N` random bytes from the system.
///
/// # Errors
/// If the system provides none.
pub fn bytes<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// Returns a nonce for the sealing of one secret.
///
/// # Errors
/// If the system provides no random bytes.
pub fn nonce() -> Result<SealNonce, getrandom::Error> {
    bytes().map(SealNonce::new)
}
