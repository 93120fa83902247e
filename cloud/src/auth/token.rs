use iottly_protocol::ProjectId;

use super::random;
use crate::model::{Principal, SecretHash};
use crate::store::{Store, StoreError};

/// Longest token that is looked up, in bytes.
pub(super) const MAX_TOKEN_BYTES: usize = 256;

/// Why a token was not made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The system has no randomness.
    #[error("no randomness for a token: {0}")]
    Random(#[from] getrandom::Error),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Mints an API token of a project and stores its hash. The text is shown once: nothing can bring it back.
///
/// # Errors
/// When there is no randomness or the store fails.
pub async fn create_token(store: &dyn Store, project: ProjectId, name: &str) -> Result<String, TokenError> {
    let token = mint()?;
    store.create_token(hash_secret(token.as_bytes()), &Principal { project, name: name.to_owned() }).await?;
    Ok(token)
}

/// Hash under which a secret of at least 128 random bits is kept; a slow hash would only help whoever floods the login.
#[must_use]
pub fn hash_secret(secret: &[u8]) -> SecretHash {
    SecretHash::of(secret)
}

/// `iot_`, 256 random bits, and a checksum that lets scanners tell a leaked token from noise.
fn mint() -> Result<String, getrandom::Error> {
    let secret = random::secret()?;
    let checksum = random::base62(&crc32fast::hash(secret.as_bytes()).to_be_bytes(), 6);
    Ok(format!("iot_{secret}{checksum}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_and_checked() {
        let token = mint().expect("randomness");
        let body = token.strip_prefix("iot_").expect("prefix");
        assert_eq!(body.len(), 49);
        let (secret, checksum) = body.split_at(43);
        assert_eq!(checksum, random::base62(&crc32fast::hash(secret.as_bytes()).to_be_bytes(), 6));
        assert_ne!(token, mint().expect("randomness"));
    }
}
