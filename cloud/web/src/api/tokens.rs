//! API tokens. The text of a token is in one answer only.

use axum::extract::Path;

use super::Answer;
use super::body::JsonBody;
use super::dto::{CreatedToken, Done, NewToken, OK, TokenList};
use super::spaced::Spaced;
use super::text;
use crate::auth::{ProjectAccess, mint_token};
use crate::error::ApiError;
use iottly_cloud::clock;
use iottly_core::model::{Change, Scopes, TokenId, UnixMs};

/// The tokens of the project, without their texts (scope `admin`).
#[utoipa::path(
    get,
    path = "/tokens",
    tag = "tokens",
    responses((status = 200, description = "The answer", body = TokenList))
)]
pub(super) async fn all(access: ProjectAccess) -> Answer<TokenList> {
    access.require(Scopes::ADMIN)?;
    let tokens = access.services().store.tokens(access.id()).await?;
    Ok(Spaced(TokenList {
        tokens: tokens.into_iter().map(Into::into).collect(),
        status: OK,
    }))
}

/// Makes a token that may do at most what the one asking may do, and no longer than that one may.
#[utoipa::path(
    post,
    path = "/tokens",
    tag = "tokens",
    request_body = NewToken,
    responses((status = 200, description = "The answer", body = CreatedToken))
)]
pub(super) async fn create(
    access: ProjectAccess,
    JsonBody(body): JsonBody<NewToken>,
) -> Answer<CreatedToken> {
    access.require(Scopes::ADMIN)?;
    let now = clock::now();
    let name = text::name("name", &body.name)?;
    let scopes = scopes(&body.scopes)?;
    access.require(scopes)?;
    if body.expires.is_some_and(|expires| expires <= now) {
        return Err(ApiError::invalid("invalid_body", "expires is in the past"));
    }
    let expires = no_later(body.expires, access.expires())?;
    let minted = mint_token(access.id(), &name, scopes, expires, now)?;
    access
        .change(Change::CreateToken(minted.hash, minted.token.clone()), now)
        .await?;
    Ok(Spaced(CreatedToken {
        token: minted.text,
        about: minted.token.into(),
        status: OK,
    }))
}

/// Ends a token and every login that came from it.
#[utoipa::path(
    delete,
    path = "/tokens/{token}",
    tag = "tokens",
    responses((status = 200, description = "Done", body = Done))
)]
pub(super) async fn revoke(access: ProjectAccess, Path((_, id)): Path<(String, String)>) -> Answer<Done> {
    access.require(Scopes::ADMIN)?;
    let id: TokenId = id
        .parse()
        .map_err(|_| ApiError::missing("project has no such token"))?;
    access.change(Change::RevokeToken(id), clock::now()).await?;
    access.services().sessions.close_all_of(id);
    Ok(Done::answer())
}

/// Ends every login of the project's dashboard, also those by a link (scope `admin`). Their tokens still
/// work.
#[utoipa::path(
    delete,
    path = "/logins",
    tag = "tokens",
    responses((status = 200, description = "Done", body = Done))
)]
pub(super) async fn end_logins(access: ProjectAccess) -> Answer<Done> {
    access.require(Scopes::ADMIN)?;
    access.change(Change::EndLogins, clock::now()).await?;
    let ended = access.services().sessions.close_project(access.id());
    tracing::info!(project = %access.id(), ended, "all logins of a project were ended");
    Ok(Done::answer())
}

/// The date on which a new token ends: as asked, or with the token that asks for it.
fn no_later(asked: Option<UnixMs>, own: Option<UnixMs>) -> Result<Option<UnixMs>, ApiError> {
    match (asked, own) {
        (Some(asked), Some(own)) if asked > own => Err(ApiError::forbidden(
            "expires is later than that of the token that makes this one",
        )),
        (None, own) => Ok(own),
        (asked, _) => Ok(asked),
    }
}

fn scopes(names: &[String]) -> Result<Scopes, ApiError> {
    let invalid = |message: String| ApiError::invalid("invalid_body", message);
    let mut scopes: Option<Scopes> = None;
    for name in names {
        let scope = Scopes::named(name)
            .ok_or_else(|| invalid(format!("scope {name:?} is not read, write, admin or operator")))?;
        scopes = Some(scopes.map_or(scope, |scopes| scopes.with(scope)));
    }
    scopes.ok_or_else(|| invalid("scopes is empty".to_owned()))
}
