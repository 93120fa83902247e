//! API tokens. The text of a token is in one answer only.

use axum::extract::Path;
use serde::{Deserialize, Serialize};

use super::Answer;
use super::body::JsonBody;
use super::dto::{Date, Done, OK};
use super::spaced::Spaced;
use super::text;
use crate::auth::{ProjectAccess, mint_token};
use crate::clock;
use crate::error::ApiError;
use crate::model::{Change, Scopes, Token, TokenId, UnixMs};

/// A token without its text.
#[derive(Serialize)]
pub(super) struct TokenDto {
    id: TokenId,
    name: String,
    prefix: String,
    scopes: Scopes,
    created: Date,
    expires: Option<Date>,
    last_used: Option<Date>,
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

#[derive(Serialize)]
pub(super) struct All {
    tokens: Vec<TokenDto>,
    status: u16,
}

#[derive(Serialize)]
pub(super) struct Created {
    /// Shown here and never again.
    token: String,
    #[serde(flatten)]
    about: TokenDto,
    status: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewToken {
    name: String,
    scopes: Vec<String>,
    /// Unix milliseconds.
    expires: Option<UnixMs>,
}

pub(super) async fn all(access: ProjectAccess) -> Answer<All> {
    access.require(Scopes::ADMIN)?;
    let tokens = access.services().store.tokens(access.id()).await?;
    Ok(Spaced(All { tokens: tokens.into_iter().map(Into::into).collect(), status: OK }))
}

/// Makes a token that may do at most what the one asking may do.
pub(super) async fn create(access: ProjectAccess, JsonBody(body): JsonBody<NewToken>) -> Answer<Created> {
    access.require(Scopes::ADMIN)?;
    let now = clock::now();
    let name = text::name("name", &body.name)?;
    let scopes = scopes(&body.scopes)?;
    access.require(scopes)?;
    if body.expires.is_some_and(|expires| expires <= now) {
        return Err(ApiError::invalid("invalid_body", "expires is in the past"));
    }
    let minted = mint_token(access.id(), &name, scopes, body.expires, now)?;
    access.change(Change::CreateToken(minted.hash, minted.token.clone()), now).await?;
    Ok(Spaced(Created { token: minted.text, about: minted.token.into(), status: OK }))
}

/// Ends a token and every login that came from it.
pub(super) async fn revoke(access: ProjectAccess, Path((_, id)): Path<(String, String)>) -> Answer<Done> {
    access.require(Scopes::ADMIN)?;
    let id: TokenId = id.parse().map_err(|_| ApiError::missing("project has no such token"))?;
    access.change(Change::RevokeToken(id), clock::now()).await?;
    access.services().sessions.close_all_of(id);
    Ok(Done::answer())
}

fn scopes(names: &[String]) -> Result<Scopes, ApiError> {
    let invalid = |message: String| ApiError::invalid("invalid_body", message);
    let mut scopes: Option<Scopes> = None;
    for name in names {
        let scope =
            Scopes::named(name).ok_or_else(|| invalid(format!("scope {name:?} is not read, write, admin or operator")))?;
        scopes = Some(scopes.map_or(scope, |scopes| scopes.with(scope)));
    }
    scopes.ok_or_else(|| invalid("scopes is empty".to_owned()))
}
