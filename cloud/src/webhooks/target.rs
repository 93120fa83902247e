//! A hook's configuration, opened and ready to be sent to.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use reqwest::Url;

use super::body::{FORM, Form};
use super::guard::{Blocked, Guard};
use super::headers;
use super::sign::Secret;
use crate::model::{HookKey, UnixMs, Webhook, WebhookId};
use crate::seal::{SealError, SealKey, Sealed};

/// Why what is kept of a hook cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It was sealed with another key, or is damaged.
    #[error("{what} of webhook {hook} does not open with this cloud's seal key")]
    Sealed {
        /// The secret, or the headers.
        what: &'static str,
        /// The hook.
        hook: WebhookId,
    },
    /// It could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// Names and values of headers.
pub type HeaderList = Vec<(String, String)>;

/// Seals a hook's headers.
///
/// # Errors
/// When the system has no randomness.
pub fn sealed_headers(seal: &SealKey, hook: WebhookId, headers: &HeaderList) -> Result<Sealed, SecretError> {
    let text = serde_json::to_vec(headers).expect("texts serialize without failing");
    Ok(seal.seal(&headers_label(hook), &text)?)
}

/// Seals a hook's secret.
///
/// # Errors
/// When the system has no randomness.
pub fn sealed_secret(seal: &SealKey, hook: WebhookId, secret: &Secret) -> Result<Sealed, SecretError> {
    Ok(seal.seal(&secret_label(hook), secret.bytes())?)
}

/// Opens a hook's headers.
///
/// # Errors
/// When they were sealed with another key.
pub fn open_headers(seal: &SealKey, hook: &Webhook) -> Result<HeaderList, SecretError> {
    let text = seal.unseal(&headers_label(hook.key.hook), &hook.headers);
    let headers = text.and_then(|text| serde_json::from_slice(&text).ok());
    headers.ok_or(SecretError::Sealed { what: "headers", hook: hook.key.hook })
}

fn open_secret(seal: &SealKey, hook: WebhookId, sealed: &Sealed) -> Result<Secret, SecretError> {
    let secret = seal.unseal(&secret_label(hook), sealed).and_then(Secret::from_bytes);
    secret.ok_or(SecretError::Sealed { what: "secret", hook })
}

fn secret_label(hook: WebhookId) -> String {
    format!("webhook secret {hook}")
}

fn headers_label(hook: WebhookId) -> String {
    format!("webhook headers {hook}")
}

/// Where requests go and what is in them.
pub(super) struct Target {
    pub(super) key: HookKey,
    /// The address, or why nothing is sent there.
    pub(super) url: Result<Url, Blocked>,
    /// Host and port, which share their places.
    pub(super) host: String,
    pub(super) headers: HeaderMap,
    pub(super) form: Form,
    pub(super) payload_only: bool,
    pub(super) ordered: bool,
    secret: Secret,
    former: Option<(Secret, UnixMs)>,
}

impl Target {
    pub(super) fn open(hook: &Webhook, seal: &SealKey, guard: &Guard) -> Result<Self, SecretError> {
        let id = hook.key.hook;
        let list = open_headers(seal, hook)?;
        let url = guard.check(&hook.url);
        let host = url
            .as_ref()
            .map(|url| format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default()));
        let former = hook.former.as_ref();
        Ok(Self {
            key: hook.key,
            host: host.unwrap_or_default(),
            url,
            form: headers::form(list.iter().map(|(name, value)| (name.as_str(), value.as_str()))),
            headers: header_map(&list),
            payload_only: hook.payload_only,
            ordered: hook.ordered,
            secret: open_secret(seal, id, &hook.secret)?,
            former: former.map(|(secret, until)| Ok::<_, SecretError>((open_secret(seal, id, secret)?, *until))).transpose()?,
        })
    }

    /// What requests are signed with now, the newest first.
    pub(super) fn secrets(&self, now: UnixMs) -> impl Iterator<Item = &Secret> {
        let former = self.former.as_ref().filter(|(_, until)| now < *until).map(|(secret, _)| secret);
        std::iter::once(&self.secret).chain(former)
    }

    /// Puts the mask over values of headers that a text repeats.
    pub(super) fn mask(&self, text: String) -> String {
        const SHORT: usize = 8;
        let values = self.headers.iter().filter(|(name, _)| **name != header::CONTENT_TYPE);
        let values = values.filter_map(|(_, value)| value.to_str().ok()).filter(|value| value.len() >= SHORT);
        values.fold(text, |text, value| if text.contains(value) { text.replace(value, headers::MASK) } else { text })
    }
}

/// The headers of a request; they were checked when they were configured.
fn header_map(list: &HeaderList) -> HeaderMap {
    let mut map = HeaderMap::new();
    map.insert(header::CONTENT_TYPE, HeaderValue::from_static(FORM));
    for (name, value) in list {
        if let (Ok(name), Ok(mut value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            value.set_sensitive(true);
            map.insert(name, value);
        }
    }
    map
}
