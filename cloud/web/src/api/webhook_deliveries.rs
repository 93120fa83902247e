//! Endpoints for the deliveries of a webhook: log of attempts, test, and replay.

use axum::extract::Path;
use iottly_protocol::{DeviceId, MessageKind};
use serde_json::json;
use serde_json::value::to_raw_value;

use super::Answer;
use super::body::JsonBody;
use super::dto::{OK, ReplayBody, Replayed, WebhookLog, WebhookTest};
use super::paged::PageSize;
use super::query::Params;
use super::spaced::Spaced;
use super::webhooks::{change, may_read, named};
use crate::auth::ProjectAccess;
use crate::error::ApiError;
use iottly_core::model::{Change, Replay, Scope, StoredMessage};

/// Default and largest number of attempts in a response.
const DEFAULT_ENTRIES: usize = 50;
const MAX_ENTRIES: usize = 500;

/// Lists the delivery attempts of a webhook, newest first.
#[utoipa::path(
    get,
    path = "/webhooks/{webhook}/log",
    tag = "webhooks",
    params(
        ("numEntries" = Option<i64>, Query, minimum = 1, description = "Maximum number of entries; 50 by default, 500 at most"),
        ("before" = Option<i64>, Query, minimum = 1, description = "`next` of the previous page"),
    ),
    responses((status = 200, description = "The attempts, newest first", body = WebhookLog))
)]
pub(crate) async fn log(
    access: ProjectAccess,
    Path((_, id)): Path<(String, String)>,
    params: Params,
) -> Answer<WebhookLog> {
    let key = named(&access, &id).await?.hook.key;
    let size = PageSize::read(&params, "numEntries", DEFAULT_ENTRIES, MAX_ENTRIES)?;
    let attempts = access
        .services()
        .store
        .webhook_attempts(key, params.number("before")?, size.to_read())
        .await?;
    let (attempts, next) = size.cut(attempts, |last| last.number);
    Ok(Spaced(WebhookLog {
        attempts,
        next,
        status: OK,
    }))
}

/// Sends a test message at once and returns the result, also for a disabled webhook.
#[utoipa::path(
    post,
    path = "/webhooks/{webhook}/test",
    tag = "webhooks",
    responses((status = 200, description = "The result of the attempt", body = WebhookTest))
)]
pub(crate) async fn test(
    access: ProjectAccess,
    Path((_, id)): Path<(String, String)>,
) -> Answer<WebhookTest> {
    may_read(&access)?;
    let hook = named(&access, &id).await?.hook;
    let services = access.services();
    let (timestamp, id) = services.ids.stamp(services.webhooks.now());
    let message = StoredMessage {
        id,
        // The test message has no device.
        scope: Scope {
            project: access.id(),
            device: DeviceId::from_bytes([0; 16]),
        },
        kind: MessageKind::IottlyAgent,
        timestamp,
        device_timestamp: timestamp,
        channel: hook.channel.clone(),
        payload: to_raw_value(&json!({"test": {"webhook": hook.key.hook}}))
            .expect("a JSON value serializes without failing"),
        origin: None,
        firmware: None,
    };
    let attempted = services.webhooks.test(&hook, &message).await?;
    let delivered = attempted.outcome.is_success();
    Ok(Spaced(WebhookTest {
        delivered,
        attempt: attempted.record.into(),
        status: OK,
    }))
}

/// Replays deliveries under their message ids: one message, or all that failed or were skipped since a time.
#[utoipa::path(
    post,
    path = "/webhooks/{webhook}/replay",
    tag = "webhooks",
    request_body = ReplayBody,
    responses((status = 200, description = "The number of deliveries that are replayed", body = Replayed))
)]
pub(crate) async fn replay(
    access: ProjectAccess,
    Path((_, id)): Path<(String, String)>,
    JsonBody(body): JsonBody<ReplayBody>,
) -> Answer<Replayed> {
    may_read(&access)?;
    let key = named(&access, &id).await?.hook.key;
    let invalid = |message: &str| ApiError::invalid("invalid_body", message);
    let which = match (body.message, body.failed_since) {
        (Some(message), None) => Replay::One(
            message
                .parse()
                .map_err(|_| invalid("message is not 24 hex digits"))?,
        ),
        (None, Some(since)) => Replay::FailedSince(since),
        _ => return Err(invalid("body needs either message or failed_since")),
    };
    let now = access.services().webhooks.now();
    let replayed = change(&access, key.hook, Change::ReplayWebhook(key.hook, which), now).await?;
    Ok(Spaced(Replayed { replayed, status: OK }))
}
