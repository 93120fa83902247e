use iottly_protocol::ProjectId;

use super::random;
use iottly_cloud::clock;
use iottly_core::model::{Scopes, SecretHash, Token, TokenId, UnixMs};
use iottly_store::{Store, StoreError};

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

/// Characters of a token that stay readable, so that people tell tokens apart.
const PREFIX_CHARS: usize = 9;

/// A token as it is once: with its text.
pub struct MintedToken {
    /// What the client shows; nothing can bring it back.
    pub text: String,
    /// The hash that is stored.
    pub hash: SecretHash,
    /// What is stored beside it.
    pub token: Token,
}

/// Makes a token without storing it.
///
/// # Errors
/// When there is no randomness.
pub fn mint_token(
    project: ProjectId,
    name: &str,
    scopes: Scopes,
    expires: Option<UnixMs>,
    now: UnixMs,
) -> Result<MintedToken, getrandom::Error> {
    let text = mint()?;
    let (hash, prefix) = (
        hash_secret(text.as_bytes()),
        text.chars().take(PREFIX_CHARS).collect(),
    );
    let (id, name) = (TokenId::random(), name.to_owned());
    let token = Token {
        id,
        project,
        name,
        prefix,
        scopes,
        created: now,
        expires,
        used: None,
        logins: 0,
    };
    Ok(MintedToken { text, hash, token })
}

/// Mints an API token that may do everything in a project and stores its hash. The text is shown once.
///
/// # Errors
/// When there is no randomness or the store fails.
pub async fn create_token(store: &dyn Store, project: ProjectId, name: &str) -> Result<String, TokenError> {
    create_token_with(store, project, name, Scopes::PROJECT).await
}

/// Mints an API token with the given scopes and stores its hash. The text is shown once.
///
/// # Errors
/// When there is no randomness or the store fails.
pub async fn create_token_with(
    store: &dyn Store,
    project: ProjectId,
    name: &str,
    scopes: Scopes,
) -> Result<String, TokenError> {
    let minted = mint_token(project, name, scopes, None, clock::now())?;
    store.create_token(minted.hash, &minted.token).await?;
    Ok(minted.text)
}

/// Hash under which a secret of at least 128 random bits is kept; a slow hash would only help whoever floods
/// the login.
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
        assert_eq!(
            checksum,
            random::base62(&crc32fast::hash(secret.as_bytes()).to_be_bytes(), 6)
        );
        assert_ne!(token, mint().expect("randomness"));
    }
}
