//! Shapes of webhooks.

use std::collections::BTreeMap;

use iottly_protocol::DeviceId;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Date;
use iottly_core::model::{HookAttempt, HookState, UnixMs, WebhookId};
use iottly_core::webhooks::HeaderList;
use iottly_core::webhooks::body::LARGE_BYTES;
use iottly_core::webhooks::headers::MASK;

/// A webhook and how its deliveries are doing.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookDto {
    #[schema(value_type = String, format = "uuid")]
    pub(crate) id: WebhookId,
    pub(crate) description: String,
    pub(crate) url: String,
    /// `iottly`, `user` or `all`.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    pub(crate) kind: &'static str,
    /// `*` for all.
    pub(crate) channel: String,
    #[schema(value_type = Option<Object>)]
    pub(crate) filter: Option<Box<RawValue>>,
    pub(crate) payload_only: bool,
    pub(crate) ordered: bool,
    pub(crate) enabled: bool,
    /// Why it is not enabled.
    pub(crate) disabled_reason: Option<String>,
    /// Names, and a mask in place of the values.
    pub(crate) headers: BTreeMap<String, &'static str>,
    /// `closed` while it sends, `open` while its receiver only fails and is probed.
    #[schema(value_type = String)]
    pub(crate) breaker: &'static str,
    /// Deliveries that wait or are on their way.
    pub(crate) waiting: u64,
    /// Deliveries that failed or were skipped, kept for a replay.
    pub(crate) failed: u64,
    /// Deliveries dropped because too many waited.
    pub(crate) dropped: u64,
    /// Messages that came while it was disabled.
    pub(crate) skipped: u64,
    pub(crate) failing_since: Option<Date>,
    pub(crate) next_attempt: Option<Date>,
    /// Until when the secret before the last rotation signs as well.
    pub(crate) former_secret_until: Option<Date>,
    pub(crate) created: Date,
    pub(crate) changed: Date,
}

impl WebhookDto {
    pub(crate) fn new(state: HookState, headers: &HeaderList, now: UnixMs) -> Self {
        let HookState { hook, queue } = state;
        let next = [queue.next_due, queue.probe_at]
            .into_iter()
            .flatten()
            .max()
            .filter(|_| hook.enabled && queue.waiting > 0);
        Self {
            id: hook.key.hook,
            description: hook.description,
            url: hook.url,
            kind: hook.kind.as_str(),
            channel: hook.channel.unwrap_or_else(|| "*".to_owned()),
            filter: hook.filter.and_then(|filter| RawValue::from_string(filter).ok()),
            payload_only: hook.payload_only,
            ordered: hook.ordered,
            enabled: hook.enabled,
            disabled_reason: Some(hook.reason).filter(|_| !hook.enabled),
            headers: headers.iter().map(|(name, _)| (name.clone(), MASK)).collect(),
            breaker: if queue.probe_at.is_some() {
                "open"
            } else {
                "closed"
            },
            waiting: queue.waiting,
            failed: queue.failed,
            dropped: queue.dropped,
            skipped: queue.skipped,
            failing_since: queue.failing_since.map(Into::into),
            next_attempt: next.map(|at| at.max(now).into()),
            former_secret_until: hook
                .former
                .map(|(_, until)| until)
                .filter(|until| now < *until)
                .map(Into::into),
            created: hook.created.into(),
            changed: hook.changed.into(),
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookList {
    pub(crate) webhooks: Vec<WebhookDto>,
    pub(crate) status: u16,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct OneWebhook {
    #[serde(flatten)]
    pub(crate) webhook: WebhookDto,
    pub(crate) status: u16,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookWithSecret {
    /// What requests are signed with; shown here and never again.
    pub(crate) secret: String,
    #[serde(flatten)]
    pub(crate) webhook: WebhookDto,
    pub(crate) status: u16,
}

/// What is configured of a webhook; what is not given stays, or is as described.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebhookSettings {
    /// Where requests go: http or https; ports 80, 443 and from 1024 on. A new webhook needs it.
    #[schema(format = "uri", pattern = "^[hH][tT][tT][pP][sS]?://", max_length = 2048)]
    pub(crate) url: Option<String>,
    pub(crate) description: Option<String>,
    /// `iottly` for messages of the platform and its agents, `user` for those of firmware, or `all`.
    #[serde(rename = "type")]
    #[schema(pattern = "^(iottly|user|all)$")]
    pub(crate) kind: Option<String>,
    /// Only messages of this channel; `*` for all.
    pub(crate) channel: Option<String>,
    /// Only messages that match this MongoDB filter; null for all.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Object>)]
    pub(crate) filter: Option<Option<Map<String, Value>>>,
    /// Sends the payload in place of the whole message.
    pub(crate) payload_only: Option<bool>,
    /// Sends one after the other, in the order of the messages' ids.
    pub(crate) ordered: Option<bool>,
    /// Names and values, five at most; the mask as a value keeps the one that is set.
    #[schema(value_type = Option<Object>)]
    pub(crate) headers: Option<BTreeMap<String, String>>,
    pub(crate) enabled: Option<bool>,
}

/// Tells null from nothing.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<Map<String, Value>>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// An attempt to deliver.
#[derive(Serialize, ToSchema)]
pub(crate) struct AttemptDto {
    /// Its number in the webhook's log.
    pub(crate) n: u64,
    pub(crate) at: Date,
    /// The message's id, which is the request's `webhook-id`.
    pub(crate) message: String,
    /// Whose message it is; none for a test.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) device: Option<DeviceId>,
    /// Which attempt for this message.
    pub(crate) attempt: u32,
    /// `http_` and the status, or `dns`, `connect`, `tls`, `timeout`, `connection`, `blocked_address`.
    pub(crate) result: String,
    pub(crate) milliseconds: u64,
    /// Bytes of the request's body.
    pub(crate) bytes: u64,
    /// Whether that is more than receivers like: 20 kB.
    pub(crate) large: bool,
    /// The first KiB of the answer, or why there was none.
    pub(crate) answer: String,
}

impl From<HookAttempt> for AttemptDto {
    fn from(attempt: HookAttempt) -> Self {
        Self {
            n: attempt.number,
            at: attempt.at.into(),
            message: attempt.message.to_string(),
            device: attempt.device,
            attempt: attempt.attempt,
            result: attempt.result,
            milliseconds: attempt.millis,
            bytes: attempt.bytes,
            large: attempt.bytes > LARGE_BYTES as u64,
            answer: attempt.answer,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookLog {
    pub(crate) attempts: Vec<AttemptDto>,
    /// Given when there is more: `before=<next>` continues it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<u64>,
    pub(crate) status: u16,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookTest {
    /// Whether the receiver answered 2xx.
    pub(crate) delivered: bool,
    pub(crate) attempt: AttemptDto,
    pub(crate) status: u16,
}

/// Which deliveries to make again: of one message, or all that failed since a moment.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplayBody {
    /// A message's id.
    pub(crate) message: Option<String>,
    /// Unix milliseconds.
    #[schema(value_type = Option<i64>)]
    pub(crate) failed_since: Option<UnixMs>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Replayed {
    /// How many deliveries are made again.
    pub(crate) replayed: u64,
    pub(crate) status: u16,
}
