//! Creates API tokens and their hashes.

use iottly_protocol::{ProjectId, Secret};

use crate::random;
use iottly_cloud::clock;
use iottly_core::model::{Scopes, SecretHash, Token, TokenId, UnixMs};
use iottly_store::{StoreError, TokenStore};

/// Maximum length of a token that is looked up, in bytes.
pub(super) const MAX_TOKEN_BYTES: usize = 256;

/// Error of creating a token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The system has no randomness.
    #[error("failed to get randomness for a token: {0}")]
    Random(#[from] getrandom::Error),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Number of leading characters of a token that are stored, so that users can recognise it.
const PREFIX_CHARS: usize = 9;

/// New token, together with its text.
pub struct MintedToken {
    /// Text of the token, which the client shows once; it is not stored.
    pub text: Secret,
    /// Hash that is stored.
    pub hash: SecretHash,
    /// Properties that are stored with the hash.
    pub token: Token,
}

/// Creates a token without storing it.
///
/// # Errors
/// If the system has no randomness.
pub fn mint_token(
    project: ProjectId,
    name: &str,
    scopes: Scopes,
    expires: Option<UnixMs>,
    now: UnixMs,
) -> Result<MintedToken, getrandom::Error> {
    let text = mint("iot_")?;
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
        group: None,
        created: now,
        expires,
        used: None,
        logins: 0,
    };
    Ok(MintedToken {
        text: text.into(),
        hash,
        token,
    })
}

/// Creates an API token with all scopes in a project and stores its hash. The returned text is not stored.
///
/// # Errors
/// When the system has no randomness or the store fails.
pub async fn create_token(
    store: &dyn TokenStore,
    project: ProjectId,
    name: &str,
) -> Result<String, TokenError> {
    create_token_with(store, project, name, Scopes::PROJECT).await
}

/// Creates an API token with the given scopes and stores its hash. The returned text is not stored.
///
/// # Errors
/// When the system has no randomness or the store fails.
pub async fn create_token_with(
    store: &dyn TokenStore,
    project: ProjectId,
    name: &str,
    scopes: Scopes,
) -> Result<String, TokenError> {
    let minted = mint_token(project, name, scopes, None, clock::now())?;
    store.create_token(minted.hash, &minted.token).await?;
    Ok(minted.text.expose().to_owned())
}

/// Returns the hash under which a secret of at least 128 random bits is stored. A fast hash is enough for
/// such a secret; a slow one would let a flood of logins overload the cloud.
#[must_use]
pub fn hash_secret(secret: &[u8]) -> SecretHash {
    SecretHash::of(secret)
}

/// Beginning of the secrets of machine logins; tokens begin with `iot_`.
const MACHINE: &str = "iotm_";

/// Returns true if a text has the form of a machine login's secret.
pub(super) fn is_machine_secret(text: &str) -> bool {
    text.starts_with(MACHINE)
}

/// Creates the secret of a machine login. Returns its text, its hash, and the characters by which people recognise it.
///
/// # Errors
/// If the system has no randomness.
pub(crate) fn mint_machine_secret() -> Result<(Secret, SecretHash, String), getrandom::Error> {
    let text = mint(MACHINE)?;
    let hash = hash_secret(text.as_bytes());
    let prefix = text.chars().take(PREFIX_CHARS).collect();
    Ok((text.into(), hash, prefix))
}

/// Creates the text of a token: a beginning, 256 random bits, and a checksum by which scanners recognise leaked tokens.
fn mint(beginning: &str) -> Result<String, getrandom::Error> {
    let secret = random::secret()?;
    let checksum = random::base62(&crc32fast::hash(secret.as_bytes()).to_be_bytes(), 6);
    Ok(format!("{beginning}{secret}{checksum}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_and_checked() {
        let token = mint("iot_").expect("randomness");
        let body = token.strip_prefix("iot_").expect("prefix");
        assert_eq!(body.len(), 49);
        let (secret, checksum) = body.split_at(43);
        assert_eq!(
            checksum,
            random::base62(&crc32fast::hash(secret.as_bytes()).to_be_bytes(), 6)
        );
        assert_ne!(token, mint("iot_").expect("randomness"));
    }
}
