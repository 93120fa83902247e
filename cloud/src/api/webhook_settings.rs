//! What may be configured of a webhook.

use std::collections::BTreeMap;

use iottly_protocol::limits::MAX_CHANNEL_BYTES;
use reqwest::Url;
use serde_json::Value;

use super::dto::WebhookSettings;
use super::text;
use crate::error::ApiError;
use crate::history;
use crate::model::{HookKind, Webhook};
use crate::webhooks::HeaderList;
use crate::webhooks::guard::Guard;
use crate::webhooks::headers::{self, MASK};

/// Longest description, bytes.
const MAX_DESCRIPTION_BYTES: usize = 1024;
/// The channel that stands for all.
const EVERY_CHANNEL: &str = "*";
/// Why a webhook does not send that its owner switched off.
const BY_HAND: &str = "switched off by hand";

/// Changes what is given; returns the headers that are set then.
pub(super) fn apply(
    hook: &mut Webhook,
    given: WebhookSettings,
    former: HeaderList,
    guard: &Guard,
) -> Result<HeaderList, ApiError> {
    let invalid = |message: String| ApiError::invalid("invalid_body", message);
    if let Some(url) = given.url {
        let target = guard
            .check(&url)
            .map_err(|error| ApiError::invalid("invalid_url", format!("url: {error}")))?;
        if !same_receiver(&hook.url, &target) {
            all_given_anew(&former, given.headers.as_ref())?;
        }
        hook.url = url;
    }
    if let Some(description) = given.description {
        hook.description = text::bounded("description", description, MAX_DESCRIPTION_BYTES)?;
    }
    if let Some(kind) = given.kind {
        hook.kind =
            HookKind::named(&kind).ok_or_else(|| invalid("type is not iottly, user or all".to_owned()))?;
    }
    if let Some(channel) = given.channel {
        let channel = text::bounded("channel", channel, MAX_CHANNEL_BYTES)?;
        hook.channel = Some(channel).filter(|channel| !matches!(channel.as_str(), EVERY_CHANNEL | ""));
    }
    if let Some(filter) = given.filter {
        let filter = filter.map(|filter| Value::Object(filter).to_string());
        filter.as_deref().map(history::filter).transpose()?;
        hook.filter = filter;
    }
    hook.payload_only = given.payload_only.unwrap_or(hook.payload_only);
    hook.ordered = given.ordered.unwrap_or(hook.ordered);
    if let Some(enabled) = given.enabled
        && enabled != hook.enabled
    {
        hook.enabled = enabled;
        hook.reason = if enabled {
            String::new()
        } else {
            BY_HAND.to_owned()
        };
    }
    match given.headers {
        Some(given) => merged(given, &former),
        None => Ok(former),
    }
}

/// Says whether a webhook's address and a new one name the same scheme, host and port.
fn same_receiver(before: &str, now: &Url) -> bool {
    Url::parse(before).is_ok_and(|before| before.origin() == now.origin())
}

/// Refuses to send values of headers to another receiver than the one they were set for: who changes a
/// webhook may not read them.
fn all_given_anew(former: &HeaderList, given: Option<&BTreeMap<String, String>>) -> Result<(), ApiError> {
    let stays = |name: &str| match given {
        Some(given) => given
            .iter()
            .any(|(known, value)| known.eq_ignore_ascii_case(name) && value == MASK),
        None => true,
    };
    // A content type is no secret.
    let secret = former
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| !name.eq_ignore_ascii_case("content-type"));
    let staying: Vec<_> = secret.filter(|name| stays(name)).collect();
    if staying.is_empty() {
        return Ok(());
    }
    let names = staying.join(", ");
    let message = format!(
        "url names another scheme, host or port: headers must be given with it, without or with new values of {names}"
    );
    Err(ApiError::invalid("headers_required", message))
}

/// The headers that are given, masked values in place of which the former ones stay.
fn merged(given: BTreeMap<String, String>, former: &HeaderList) -> Result<HeaderList, ApiError> {
    let kept = |name: &str| {
        former
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.clone())
    };
    let value = |name: &str, value: String| {
        if value == MASK {
            kept(name).unwrap_or(value)
        } else {
            value
        }
    };
    let headers: HeaderList = given
        .into_iter()
        .map(|(name, given)| (name.clone(), value(&name, given)))
        .collect();
    let checked = headers::check(
        headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    );
    checked
        .map(|()| headers)
        .map_err(|error| ApiError::invalid("invalid_header", error.to_string()))
}
