//! JSON types for webhooks.

use std::borrow::Cow;
use std::collections::BTreeMap;

use iottly_protocol::{DeviceId, Secret};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{Date, FilterBody};
use iottly_core::model::{UnixMs, WebhookAttempt, WebhookId, WebhookState};
use iottly_core::webhooks::HeaderList;
use iottly_core::webhooks::body::LARGE_BYTES;
use iottly_core::webhooks::headers::MASK;

/// Webhook with the state of its deliveries.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct WebhookDto {
    /// Id of the webhook.
    #[schema(value_type = String, format = "uuid")]
    pub id: WebhookId,
    /// Description for people: 1,024 bytes at most.
    pub description: String,
    /// URL of the receiver.
    pub url: String,
    /// `iottly`, `user` or `all`.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    pub kind: Cow<'static, str>,
    /// Channel of the messages; `*` for all.
    pub channel: String,
    /// MongoDB filter that messages match; null for all messages.
    #[schema(value_type = Option<Object>)]
    pub filter: Option<Box<RawValue>>,
    /// True if only the payload is sent, instead of the whole message.
    pub payload_only: bool,
    /// True if messages are sent one after the other, in the order of their ids.
    pub ordered: bool,
    /// True if the webhook is enabled.
    pub enabled: bool,
    /// Reason for which it is disabled.
    pub disabled_reason: Option<String>,
    /// Names of the headers, with a mask instead of the values.
    pub headers: BTreeMap<String, Cow<'static, str>>,
    /// `closed` in normal operation; `open` while the receiver only fails and is being probed.
    #[schema(value_type = String)]
    pub breaker: Cow<'static, str>,
    /// Number of deliveries that are waiting or being sent.
    pub waiting: u64,
    /// Number of deliveries that failed or were skipped and are kept for a replay.
    pub failed: u64,
    /// Number of deliveries that were dropped because too many were waiting.
    pub dropped: u64,
    /// Number of messages that arrived while the webhook was disabled.
    pub skipped: u64,
    /// Time since which every attempt has failed; null if the last one did not.
    pub failing_since: Option<Date>,
    /// Time of the next attempt; null if no delivery waits.
    pub next_attempt: Option<Date>,
    /// Time until which the secret before the last rotation signs as well.
    pub former_secret_until: Option<Date>,
    /// Creation time.
    pub created: Date,
    /// Time of the last change of the settings.
    pub changed: Date,
}

impl WebhookDto {
    pub(crate) fn new(state: WebhookState, headers: &HeaderList, now: UnixMs) -> Self {
        let WebhookState { hook, queue } = state;
        let next = [queue.next_due, queue.probe_at]
            .into_iter()
            .flatten()
            .max()
            .filter(|_| hook.enabled && queue.waiting > 0);
        Self {
            id: hook.key.hook,
            description: hook.description,
            url: hook.url,
            kind: hook.kind.as_str().into(),
            channel: hook.channel.unwrap_or_else(|| "*".to_owned()),
            filter: hook.filter.and_then(|filter| RawValue::from_string(filter).ok()),
            payload_only: hook.payload_only,
            ordered: hook.ordered,
            enabled: hook.enabled,
            disabled_reason: Some(hook.reason).filter(|_| !hook.enabled),
            headers: headers
                .iter()
                .map(|(name, _)| (name.clone(), MASK.into()))
                .collect(),
            breaker: if queue.probe_at.is_some() {
                "open"
            } else {
                "closed"
            }
            .into(),
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

/// Webhooks of a project.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookList {
    /// Webhooks.
    pub(crate) webhooks: Vec<WebhookDto>,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}

/// Webhook.
#[derive(Serialize, ToSchema)]
pub(crate) struct OneWebhook {
    /// The webhook.
    #[serde(flatten)]
    pub(crate) webhook: WebhookDto,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}

/// Webhook with a new secret.
#[derive(Serialize, ToSchema)]
pub struct WebhookWithSecret {
    /// Secret with which requests are signed; shown only here.
    #[schema(value_type = String)]
    pub secret: Secret,
    /// The webhook.
    #[serde(flatten)]
    pub webhook: WebhookDto,
    /// HTTP status: always 200.
    pub status: u16,
}

impl<'de> Deserialize<'de> for WebhookWithSecret {
    /// Reads the webhook from the whole answer: what is derived for a flattened field cannot read raw JSON.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let answer = Value::deserialize(deserializer)?;
        let part = |name: &str| answer.get(name).unwrap_or(&Value::Null);
        Ok(Self {
            secret: Secret::deserialize(part("secret")).map_err(de::Error::custom)?,
            webhook: WebhookDto::deserialize(&answer).map_err(de::Error::custom)?,
            status: u16::deserialize(part("status")).map_err(de::Error::custom)?,
        })
    }
}

/// Settings of a webhook; a setting that is left out keeps its value, or gets the described default.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebhookSettings {
    /// URL of the receiver: http or https; ports 80, 443 and from 1024 on. Required for a new webhook.
    #[schema(format = "uri", pattern = "^[hH][tT][tT][pP][sS]?://", max_length = 2048)]
    pub(crate) url: Option<String>,
    /// Description for people: 1,024 bytes at most; empty by default.
    pub(crate) description: Option<String>,
    /// `iottly` for messages of the platform and its agents, `user` for those of firmware, or `all`.
    #[serde(rename = "type")]
    #[schema(pattern = "^(iottly|user|all)$")]
    pub(crate) kind: Option<String>,
    /// Channel of the messages that are sent; `*` for all.
    pub(crate) channel: Option<String>,
    /// Filter that the messages match; null for all messages.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<FilterBody>)]
    pub(crate) filter: Option<Option<FilterBody>>,
    /// Sends only the payload instead of the whole message.
    pub(crate) payload_only: Option<bool>,
    /// Sends one message after the other, in the order of their ids.
    pub(crate) ordered: Option<bool>,
    /// Names and values, five at most; the mask as a value keeps the current one.
    #[schema(value_type = Option<Object>)]
    pub(crate) headers: Option<BTreeMap<String, String>>,
    /// Enables or disables the webhook; enabled by default.
    pub(crate) enabled: Option<bool>,
}

/// Distinguishes null from a missing field.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<FilterBody>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Delivery attempt.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct AttemptDto {
    /// Number of the attempt in the webhook's log.
    pub n: u64,
    /// Time of the attempt.
    pub at: Date,
    /// Id of the message, which is the request's `webhook-id`.
    pub message: String,
    /// Device of the message; null for a test.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub device: Option<DeviceId>,
    /// Number of the attempt for this message, from 1.
    pub attempt: u32,
    /// `http_` and the status, or `dns`, `connect`, `tls`, `timeout`, `connection`, `blocked_address`.
    pub result: String,
    /// Duration of the attempt, in milliseconds.
    pub milliseconds: u64,
    /// Size of the request's body, in bytes.
    pub bytes: u64,
    /// True if the body is larger than receivers usually accept: 20 kB.
    pub large: bool,
    /// First KiB of the response, or the reason why there was none.
    pub answer: String,
}

impl From<WebhookAttempt> for AttemptDto {
    fn from(attempt: WebhookAttempt) -> Self {
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

/// Page of the attempts of a webhook.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookLog {
    /// Attempts, newest first.
    pub(crate) attempts: Vec<AttemptDto>,
    /// Cursor of the next page, if there is one: `before=<next>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<u64>,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}

/// Result of a test message.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct WebhookTest {
    /// True if the receiver responded with 2xx.
    pub delivered: bool,
    /// The attempt.
    pub attempt: AttemptDto,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Deliveries to replay: one message, or all that failed since a time.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplayBody {
    /// Id of a message.
    pub(crate) message: Option<String>,
    /// Time in Unix milliseconds.
    #[schema(value_type = Option<i64>)]
    pub(crate) failed_since: Option<UnixMs>,
}

/// Result of a replay.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct Replayed {
    /// Number of deliveries that are replayed.
    pub replayed: u64,
    /// HTTP status: always 200.
    pub status: u16,
}
