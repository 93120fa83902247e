//! JSON types for tokens.

use std::borrow::Cow;

use iottly_protocol::{GroupId, ProjectId, Secret};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Date;
use iottly_core::model::{Scopes, Token, TokenId, UnixMs};

/// Token without its text.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct TokenDto {
    /// Id of the token.
    #[schema(value_type = String, format = "uuid")]
    pub id: TokenId,
    /// Name of the token: 1 to 128 bytes.
    pub name: String,
    /// First characters of the token's text, by which people distinguish tokens.
    pub prefix: String,
    /// Permissions: `read`, `write`, `command`, `deploy`, `admin` and `operator`.
    #[schema(value_type = Vec<String>)]
    pub scopes: Scopes,
    /// Id of the deployment group that the token is bound to; absent for the whole project.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub deployment_group: Option<GroupId>,
    /// Creation time.
    pub created: Date,
    /// Time at which the token expires; null for never.
    pub expires: Option<Date>,
    /// Time of the last use, exact to an hour; null before the first.
    pub last_used: Option<Date>,
}

impl From<Token> for TokenDto {
    fn from(token: Token) -> Self {
        Self {
            id: token.id,
            name: token.name,
            prefix: token.prefix,
            scopes: token.scopes,
            deployment_group: token.group,
            created: token.created.into(),
            expires: token.expires.map(Into::into),
            last_used: token.used.map(Into::into),
        }
    }
}

/// Tokens of a project.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenList {
    /// Tokens, without their texts.
    pub(crate) tokens: Vec<TokenDto>,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}

/// New token with its text.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct CreatedToken {
    /// Text of the token; shown only here.
    #[schema(value_type = String)]
    pub token: Secret,
    /// The token.
    #[serde(flatten)]
    pub about: TokenDto,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Token to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewToken {
    /// Name: 1 to 128 bytes without control characters.
    pub(crate) name: String,
    /// Permissions, each of which the caller has: `read`, `write` (devices, groups, definitions, code, webhooks),
    /// `command` (send commands), `deploy` (rollouts, developer leases), `admin` or `operator`.
    pub(crate) scopes: Vec<String>,
    /// Id of a deployment group to whose devices the token is bound; without it, the token is for the whole project.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) deployment_group: Option<GroupId>,
    /// Expiry in Unix milliseconds; by default that of the caller's token, if it has one.
    #[schema(value_type = Option<i64>)]
    pub(crate) expires: Option<UnixMs>,
}

/// Caller of the API, and what it may do in the project.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct WhoAmI {
    /// `token` or `person`.
    #[schema(value_type = String)]
    pub kind: Cow<'static, str>,
    /// Name of the token or person.
    pub name: String,
    /// Id of the project.
    #[schema(value_type = String, pattern = "^[0-9a-f]{24}$")]
    pub project: ProjectId,
    /// Name of the project.
    pub project_name: String,
    /// Permissions.
    #[schema(value_type = Vec<String>)]
    pub scopes: Scopes,
    /// Id of the deployment group that the caller is bound to; null for all devices of the project.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub deployment_group: Option<GroupId>,
    /// Time at which the token expires; null if it does not.
    pub expires: Option<Date>,
    /// HTTP status: always 200.
    pub status: u16,
}
