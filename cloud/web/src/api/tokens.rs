//! Endpoints for API tokens. The text of a token is only in the response that creates it.

use axum::extract::Path;

use super::Answer;
use super::body::JsonBody;
use super::dto::{CreatedToken, Done, NewToken, OK, TokenList};
use super::names;
use super::spaced::Spaced;
use crate::auth::{ProjectAccess, mint_token};
use crate::error::ApiError;
use iottly_cloud::clock;
use iottly_core::model::{Change, LoginsOf, Scopes, TokenId, UnixMs};

/// Lists the tokens of the project, without their texts (scope `admin`).
#[utoipa::path(
    get,
    path = "/tokens",
    tag = "tokens",
    responses((status = 200, description = "The tokens", body = TokenList))
)]
pub(crate) async fn all(access: ProjectAccess) -> Answer<TokenList> {
    access.require(Scopes::ADMIN)?;
    let tokens = access.services().store.tokens(access.id()).await?;
    Ok(Spaced(TokenList {
        tokens: tokens.into_iter().map(Into::into).collect(),
        status: OK,
    }))
}

/// Creates a token (scope `admin`).
///
/// The token has no scope that the caller does not have, and does not outlive the caller's token. One that is bound to a
/// deployment group reaches the devices in it, the group's rollouts, and nothing else: every other operation is refused
/// with 403. It ends with the group.
#[utoipa::path(
    post,
    path = "/tokens",
    tag = "tokens",
    request_body = NewToken,
    responses((status = 200, description = "The new token with its text, which is not shown again", body = CreatedToken))
)]
pub(crate) async fn create(
    access: ProjectAccess,
    JsonBody(body): JsonBody<NewToken>,
) -> Answer<CreatedToken> {
    access.require(Scopes::ADMIN)?;
    let now = clock::now();
    let name = names::name("name", &body.name)?;
    let scopes = scopes(&body.scopes)?;
    access.require(scopes)?;
    if body.expires.is_some_and(|expires| expires <= now) {
        return Err(ApiError::invalid("invalid_body", "expires is in the past"));
    }
    let expires = no_later(body.expires, access.expires())?;
    let mut minted = mint_token(access.id(), &name, scopes, expires, now)?;
    if body.deployment_group.is_some() && !Scopes::GROUP.contains(scopes) {
        return Err(ApiError::invalid(
            "invalid_body",
            "a token that is bound to a deployment group has no scope admin or operator",
        ));
    }
    minted.token.group = body.deployment_group;
    access
        .change(Change::CreateToken(minted.hash, minted.token.clone()), now)
        .await?;
    Ok(Spaced(CreatedToken {
        token: minted.text,
        about: minted.token.into(),
        status: OK,
    }))
}

/// Revokes a token and ends all logins that were made with it (scope `admin`).
#[utoipa::path(
    delete,
    path = "/tokens/{token}",
    tag = "tokens",
    responses((status = 200, description = "The token was revoked", body = Done))
)]
pub(crate) async fn revoke(access: ProjectAccess, Path((_, id)): Path<(String, String)>) -> Answer<Done> {
    access.require(Scopes::ADMIN)?;
    let id: TokenId = id
        .parse()
        .map_err(|_| ApiError::missing("project has no such token"))?;
    access.change(Change::RevokeToken(id), clock::now()).await?;
    access.services().end_logins(LoginsOf::Token(id)).await?;
    Ok(Done::answer())
}

/// Ends all logins to the project's dashboard, including those by a link (scope `admin`).
///
/// The tokens stay valid.
#[utoipa::path(
    delete,
    path = "/logins",
    tag = "tokens",
    responses((status = 200, description = "All logins were ended", body = Done))
)]
pub(crate) async fn end_logins(access: ProjectAccess) -> Answer<Done> {
    access.require(Scopes::ADMIN)?;
    access.change(Change::EndLogins, clock::now()).await?;
    let ended = access
        .services()
        .end_logins(LoginsOf::Project(access.id()))
        .await?;
    tracing::info!(logins.ended = ended, "ended all logins of a project");
    Ok(Done::answer())
}

/// Returns the expiry of a new token: the requested one, or that of the caller's token if that is earlier or
/// none is requested. A later one than the caller's is refused.
fn no_later(asked: Option<UnixMs>, own: Option<UnixMs>) -> Result<Option<UnixMs>, ApiError> {
    match (asked, own) {
        (Some(asked), Some(own)) if asked > own => Err(ApiError::forbidden(
            "expires is later than the expiry of the caller's token",
        )),
        (None, own) => Ok(own),
        (asked, _) => Ok(asked),
    }
}

fn scopes(names: &[String]) -> Result<Scopes, ApiError> {
    let invalid = |message: String| ApiError::invalid("invalid_body", message);
    let mut scopes: Option<Scopes> = None;
    for name in names {
        let scope = Scopes::named(name).ok_or_else(|| {
            let known = Scopes::ALL.names().collect::<Vec<_>>().join(", ");
            if Scopes::RESERVED.contains(&name.as_str()) {
                invalid(format!("scope {name:?} is reserved for a later release"))
            } else {
                invalid(format!("scope {name:?} is not one of {known}"))
            }
        })?;
        scopes = Some(scopes.map_or(scope, |scopes| scopes.with(scope)));
    }
    scopes.ok_or_else(|| invalid("scopes is empty".to_owned()))
}
