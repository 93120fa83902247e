//! JSON types for tokens.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Date;
use iottly_core::model::{Scopes, Token, TokenId, UnixMs};

/// Token without its text.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenDto {
    #[schema(value_type = String, format = "uuid")]
    pub(crate) id: TokenId,
    pub(crate) name: String,
    pub(crate) prefix: String,
    #[schema(value_type = Vec<String>)]
    pub(crate) scopes: Scopes,
    pub(crate) created: Date,
    pub(crate) expires: Option<Date>,
    pub(crate) last_used: Option<Date>,
}

impl From<Token> for TokenDto {
    fn from(token: Token) -> Self {
        Self {
            id: token.id,
            name: token.name,
            prefix: token.prefix,
            scopes: token.scopes,
            created: token.created.into(),
            expires: token.expires.map(Into::into),
            last_used: token.used.map(Into::into),
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(crate) struct TokenList {
    pub(crate) tokens: Vec<TokenDto>,
    pub(crate) status: u16,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedToken {
    /// Text of the token; shown only here.
    pub(crate) token: String,
    #[serde(flatten)]
    pub(crate) about: TokenDto,
    pub(crate) status: u16,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewToken {
    pub(crate) name: String,
    pub(crate) scopes: Vec<String>,
    /// Expiry in Unix milliseconds; by default that of the caller's token, if it has one.
    #[schema(value_type = Option<i64>)]
    pub(crate) expires: Option<UnixMs>,
}
