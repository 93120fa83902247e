//! API tokens, by the hashes of their secrets; no secret is stored.

use async_trait::async_trait;
use iottly_protocol::ProjectId;

use crate::error::Result;
use iottly_core::model::{SecretHash, Token, TokenId, UnixMs};

/// Store operations for API tokens.
#[async_trait]
pub trait TokenStore: Send + Sync + 'static {
    /// Stores an API token without an audit entry. For tools with direct database access (`iottly
    /// provision`).
    async fn create_token(&self, hash: SecretHash, token: &Token) -> Result<()>;
    /// Returns the token whose secret has this hash, even if it has expired.
    async fn token(&self, hash: SecretHash) -> Result<Option<Token>>;
    /// Returns a token of a project, even if it has expired.
    async fn token_by_id(&self, project: ProjectId, id: TokenId) -> Result<Option<Token>>;
    /// Returns the tokens of a project, oldest first.
    async fn tokens(&self, project: ProjectId) -> Result<Vec<Token>>;
    /// Records the use of a token.
    async fn touch_token(&self, project: ProjectId, id: TokenId, now: UnixMs) -> Result<()>;
}
