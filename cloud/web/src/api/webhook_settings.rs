//! Applies the settings in a request to a webhook, and checks them.

use std::collections::BTreeMap;

use iottly_protocol::limits::MAX_CHANNEL_BYTES;
use url::Url;

use super::dto::{FilterBody, WebhookSettings};
use super::names;
use crate::error::ApiError;
use iottly_core::model::{Webhook, WebhookKind};
use iottly_core::webhooks::HeaderList;
use iottly_core::webhooks::guard::Guard;
use iottly_core::webhooks::headers;
use iottly_core::webhooks::headers::MASK;

/// Maximum length of a description, in bytes.
const MAX_DESCRIPTION_BYTES: usize = 1024;
/// Setting that selects all channels.
const EVERY_CHANNEL: &str = "*";
/// Recorded reason for a webhook that its owner disabled.
const BY_HAND: &str = "switched off by hand";

/// Applies the given settings and returns the resulting headers.
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
        hook.description = names::bounded("description", description, MAX_DESCRIPTION_BYTES)?;
    }
    if let Some(kind) = given.kind {
        hook.kind =
            WebhookKind::named(&kind).ok_or_else(|| invalid("type is not iottly, user or all".to_owned()))?;
    }
    if let Some(channel) = given.channel {
        let channel = names::bounded("channel", channel, MAX_CHANNEL_BYTES)?;
        hook.channel = Some(channel).filter(|channel| !matches!(channel.as_str(), EVERY_CHANNEL | ""));
    }
    if let Some(filter) = given.filter {
        hook.filter = filter.map(FilterBody::of_messages).transpose()?.flatten();
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

/// Returns true if a webhook's URL and its new URL have the same scheme, host and port.
fn same_receiver(before: &str, now: &Url) -> bool {
    Url::parse(before).is_ok_and(|before| before.origin() == now.origin())
}

/// Refuses to send header values to another receiver than the one for which they were set: the caller who
/// changes a webhook may not read them.
fn all_given_anew(former: &HeaderList, given: Option<&BTreeMap<String, String>>) -> Result<(), ApiError> {
    let stays = |name: &str| match given {
        Some(given) => given
            .iter()
            .any(|(known, value)| known.eq_ignore_ascii_case(name) && value == MASK),
        None => true,
    };
    // A content type is not secret.
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
        "url has another scheme, host or port: the request must have headers, with {names} left out or with new values"
    );
    Err(ApiError::invalid("headers_required", message))
}

/// Returns the given headers; a masked value is replaced with the current one.
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
