//! Endpoints for webhooks. A secret is only in the response that creates it; header values are in none.

use axum::extract::Path;

use super::Answer;
use super::body::JsonBody;
use super::dto::{Done, OK, OneWebhook, WebhookDto, WebhookList, WebhookSettings, WebhookWithSecret};
use super::spaced::Spaced;
use super::webhook_settings;
use crate::auth::ProjectAccess;
use crate::error::ApiError;
use iottly_cloud::random;
use iottly_core::Sealed;
use iottly_core::model::{Change, Scopes, UnixMs, Webhook, WebhookId, WebhookKey, WebhookKind, WebhookState};
use iottly_core::webhooks::sign::{GRACE_MS, Secret};
use iottly_core::webhooks::{SecretError, open_headers, sealed_headers, sealed_secret};

impl From<SecretError> for ApiError {
    fn from(error: SecretError) -> Self {
        Self::internal(&error)
    }
}

pub(crate) fn unknown() -> ApiError {
    ApiError::missing("project has no such webhook")
}

/// Returns the webhook that a path names, in the caller's project.
pub(crate) async fn named(access: &ProjectAccess, id: &str) -> Result<WebhookState, ApiError> {
    let hook: WebhookId = id.parse().map_err(|_| unknown())?;
    access
        .services()
        .store
        .webhook(WebhookKey {
            project: access.id(),
            hook,
        })
        .await?
        .ok_or_else(unknown)
}

fn shown(access: &ProjectAccess, state: WebhookState) -> Result<WebhookDto, ApiError> {
    let webhooks = &access.services().webhooks;
    let headers = open_headers(webhooks.seal(), &state.hook)?;
    Ok(WebhookDto::new(state, &headers, webhooks.now()))
}

/// Applies a change and notifies the delivery worker.
pub(crate) async fn change(
    access: &ProjectAccess,
    hook: WebhookId,
    change: Change,
    now: UnixMs,
) -> Result<u64, ApiError> {
    let changed = access.change(change, now).await?;
    access
        .services()
        .webhooks
        .changed(WebhookKey {
            project: access.id(),
            hook,
        })
        .await;
    Ok(changed.affected)
}

/// Requires the scope `read`: otherwise a webhook could be used to read messages.
pub(crate) fn may_read(access: &ProjectAccess) -> Result<(), ApiError> {
    access.require(Scopes::READ)
}

/// Lists the webhooks of the project.
#[utoipa::path(
    get,
    path = "/webhooks",
    tag = "webhooks",
    responses((status = 200, description = "The webhooks", body = WebhookList))
)]
pub(crate) async fn all(access: ProjectAccess) -> Answer<WebhookList> {
    let states = access.services().store.webhooks(access.id()).await?;
    let webhooks = states
        .into_iter()
        .map(|state| shown(&access, state))
        .collect::<Result<_, _>>()?;
    Ok(Spaced(WebhookList { webhooks, status: OK }))
}

/// Creates a webhook.
///
/// The secret is in this response only.
#[utoipa::path(
    post,
    path = "/webhooks",
    tag = "webhooks",
    request_body = WebhookSettings,
    responses((status = 200, description = "The new webhook with its secret", body = WebhookWithSecret))
)]
pub(crate) async fn create(
    access: ProjectAccess,
    JsonBody(body): JsonBody<WebhookSettings>,
) -> Answer<WebhookWithSecret> {
    may_read(&access)?;
    let webhooks = &access.services().webhooks;
    let (now, id, secret) = (webhooks.now(), WebhookId::random(), Secret::new(random::bytes()?));
    let mut hook = Webhook {
        key: WebhookKey {
            project: access.id(),
            hook: id,
        },
        description: String::new(),
        url: String::new(),
        kind: WebhookKind::All,
        channel: None,
        filter: None,
        payload_only: false,
        ordered: false,
        enabled: true,
        reason: String::new(),
        headers: Sealed(Vec::new()),
        secret: sealed_secret(webhooks.seal(), id, &secret, random::nonce()?)?,
        former: None,
        created: now,
        changed: now,
    };
    if body.url.is_none() {
        return Err(ApiError::invalid("invalid_body", "url is missing"));
    }
    let headers = webhook_settings::apply(&mut hook, body, Vec::new(), webhooks.guard())?;
    hook.headers = sealed_headers(webhooks.seal(), id, &headers, random::nonce()?)?;
    access.change(Change::CreateWebhook(Box::new(hook)), now).await?;
    let webhook = shown(&access, named(&access, &id.to_string()).await?)?;
    Ok(Spaced(WebhookWithSecret {
        secret: secret.text().into(),
        webhook,
        status: OK,
    }))
}

/// Returns a webhook.
#[utoipa::path(
    get,
    path = "/webhooks/{webhook}",
    tag = "webhooks",
    responses((status = 200, description = "The webhook", body = OneWebhook))
)]
pub(crate) async fn show(access: ProjectAccess, Path((_, id)): Path<(String, String)>) -> Answer<OneWebhook> {
    let webhook = shown(&access, named(&access, &id).await?)?;
    Ok(Spaced(OneWebhook { webhook, status: OK }))
}

/// Changes the given settings of a webhook, for messages from now on.
///
/// Enabling a webhook sends its waiting deliveries. A URL with another scheme, host or port requires headers
/// in the same request: values that were set for one receiver are not sent to another.
#[utoipa::path(
    put,
    path = "/webhooks/{webhook}",
    tag = "webhooks",
    request_body = WebhookSettings,
    responses((status = 200, description = "The webhook after the change", body = OneWebhook))
)]
pub(crate) async fn update(
    access: ProjectAccess,
    Path((_, id)): Path<(String, String)>,
    JsonBody(body): JsonBody<WebhookSettings>,
) -> Answer<OneWebhook> {
    may_read(&access)?;
    let mut hook = named(&access, &id).await?.hook;
    let webhooks = &access.services().webhooks;
    let former = open_headers(webhooks.seal(), &hook)?;
    let headers = webhook_settings::apply(&mut hook, body, former, webhooks.guard())?;
    hook.headers = sealed_headers(webhooks.seal(), hook.key.hook, &headers, random::nonce()?)?;
    hook.changed = webhooks.now();
    let (id, now) = (hook.key.hook, hook.changed);
    change(&access, id, Change::UpdateWebhook(Box::new(hook)), now).await?;
    let webhook = shown(&access, named(&access, &id.to_string()).await?)?;
    Ok(Spaced(OneWebhook { webhook, status: OK }))
}

/// Deletes a webhook and its waiting deliveries.
#[utoipa::path(
    delete,
    path = "/webhooks/{webhook}",
    tag = "webhooks",
    responses((status = 200, description = "The webhook was deleted", body = Done))
)]
pub(crate) async fn delete(access: ProjectAccess, Path((_, id)): Path<(String, String)>) -> Answer<Done> {
    may_read(&access)?;
    let id: WebhookId = id.parse().map_err(|_| unknown())?;
    let now = access.services().webhooks.now();
    change(&access, id, Change::DeleteWebhook(id), now).await?;
    Ok(Done::answer())
}

/// Replaces the secret of a webhook.
///
/// The new secret is in this response only. For one day requests are signed with both secrets.
#[utoipa::path(
    post,
    path = "/webhooks/{webhook}/secret/rotate",
    tag = "webhooks",
    responses((status = 200, description = "The webhook with its new secret", body = WebhookWithSecret))
)]
pub(crate) async fn rotate(
    access: ProjectAccess,
    Path((_, id)): Path<(String, String)>,
) -> Answer<WebhookWithSecret> {
    may_read(&access)?;
    let key = named(&access, &id).await?.hook.key;
    let webhooks = &access.services().webhooks;
    let (now, new) = (webhooks.now(), Secret::new(random::bytes()?));
    let secret = sealed_secret(webhooks.seal(), key.hook, &new, random::nonce()?)?;
    change(
        &access,
        key.hook,
        Change::RotateWebhook {
            id: key.hook,
            secret,
            until: now + GRACE_MS,
        },
        now,
    )
    .await?;
    let webhook = shown(&access, named(&access, &id).await?)?;
    Ok(Spaced(WebhookWithSecret {
        secret: new.text().into(),
        webhook,
        status: OK,
    }))
}
