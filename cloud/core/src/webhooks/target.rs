//! Target of a webhook's requests, with its secrets unsealed. Masks them in logged responses.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use iottly_protocol::limits::clip;
use url::Url;

use super::body::{FORM, Form};
use super::guard::{Blocked, Guard};
use super::headers;
use super::secrets::{HeaderList, SecretError, open_headers, open_secret};
use super::sign::Secret;
use crate::model::{UnixMs, Webhook, WebhookKey};
use crate::seal::SealKey;

/// Minimum length of a header value that is masked in receivers' responses, in bytes: shorter values are not
/// secret and occur in any text.
const SHORT_VALUE: usize = 4;

/// Receiver of requests, with what is in them.
pub struct Target {
    /// Project and id of the webhook.
    pub key: WebhookKey,
    /// URL of the receiver, or the reason why requests to it are blocked.
    pub url: Result<Url, Blocked>,
    /// Host and port; webhooks with the same ones share slots.
    pub host: String,
    /// Headers that the author of the webhook set, unsealed.
    pub headers: HeaderMap,
    /// Encoding of the body.
    pub form: Form,
    /// True if the body holds only the payload of a message, without its metadata.
    pub payload_only: bool,
    /// True to deliver sequentially, in the order of the messages' ids.
    pub ordered: bool,
    secret: Secret,
    former: Option<(Secret, UnixMs)>,
}

impl Target {
    /// Unseals the secrets and headers of a webhook, and checks its URL. A blocked URL is not an error; it is
    /// kept in [`url`](Self::url).
    ///
    /// # Errors
    /// When a secret or header cannot be unsealed with `seal`.
    pub fn open(hook: &Webhook, seal: &SealKey, guard: &Guard) -> Result<Self, SecretError> {
        let id = hook.key.hook;
        let list = open_headers(seal, hook)?;
        let url = guard.check(&hook.url);
        let host = url.as_ref().map(|url| {
            format!(
                "{}:{}",
                url.host_str().unwrap_or_default(),
                url.port_or_known_default().unwrap_or_default()
            )
        });
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
            former: former
                .map(|(secret, until)| Ok::<_, SecretError>((open_secret(seal, id, secret)?, *until)))
                .transpose()?,
        })
    }

    /// Returns the secrets with which requests are signed at present, the newest first.
    pub fn secrets(&self, now: UnixMs) -> impl Iterator<Item = &Secret> {
        let former = self
            .former
            .as_ref()
            .filter(|(_, until)| now < *until)
            .map(|(secret, _)| secret);
        std::iter::once(&self.secret).chain(former)
    }

    /// Returns the first `kept` bytes of a receiver's response, with header values in it masked, plain or
    /// escaped as in JSON.
    pub fn masked(&self, answer: &str, kept: usize) -> String {
        let values = self
            .headers
            .iter()
            .filter(|(name, _)| **name != header::CONTENT_TYPE);
        let values = values
            .filter_map(|(_, value)| value.to_str().ok())
            .filter(|value| value.len() >= SHORT_VALUE);
        let mut values: Vec<_> = values
            .flat_map(|value| [value.to_owned(), in_json(value)])
            .collect();
        // One value may be the beginning of another, so longer values are searched first.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        let mut shown = String::new();
        let mut rest = answer;
        while let Some(next) = rest.chars().next().filter(|_| answer.len() - rest.len() < kept) {
            let repeated = values.iter().find_map(|value| repeated(rest, value));
            match repeated {
                Some(_) => shown.push_str(headers::MASK),
                None => shown.push(next),
            }
            rest = &rest[repeated.unwrap_or(next.len_utf8())..];
        }
        clip(&shown, kept).to_owned()
    }
}

/// Returns the length of a value at the beginning of a text, or of the part of a value that is cut off by the
/// text's end.
fn repeated(text: &str, value: &str) -> Option<usize> {
    let cut = text.len() >= SHORT_VALUE && value.starts_with(text);
    (cut || text.starts_with(value)).then(|| text.len().min(value.len()))
}

/// Returns a value as it is escaped in JSON.
fn in_json(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', r#"\""#)
}

/// Returns the headers of a request; they were checked when they were set.
fn header_map(list: &HeaderList) -> HeaderMap {
    let mut map = HeaderMap::new();
    map.insert(header::CONTENT_TYPE, HeaderValue::from_static(FORM));
    for (name, value) in list {
        if let (Ok(name), Ok(mut value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_str(value),
        ) {
            value.set_sensitive(true);
            map.insert(name, value);
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::WebhookId;

    fn target(values: &[&str]) -> Target {
        let list: HeaderList = (0..)
            .zip(values)
            .map(|(n, value)| (format!("X-{n}"), (*value).to_owned()))
            .collect();
        Target {
            key: WebhookKey {
                project: iottly_protocol::ProjectId::from_bytes([1; 12]),
                hook: WebhookId::from_bytes([1; 16]),
            },
            url: Err(Blocked::Credentials),
            host: String::new(),
            headers: header_map(&list),
            form: Form::Json,
            payload_only: false,
            ordered: false,
            secret: Secret::new([7; 32]),
            former: None,
        }
    }

    #[test]
    fn no_answer_shows_a_value_or_the_begin_of_one() {
        let key = "k3y-".repeat(256);
        let target = target(&["pass\"word\\", "pass\"word\\-and-more", &key, "1"]);
        for (answer, shown) in [
            ("you sent pass\"word\\!", "you sent ********!"),
            ("you sent pass\"word\\-and-more!", "you sent ********!"),
            (r#"{"sent":"pass\"word\\"}"#, r#"{"sent":"********"}"#),
            ("cut: pass\"wo", "cut: ********"),
            ("pas", "pas"),
            ("1 of 1", "1 of 1"),
            ("größer pass\"word\\ größer", "größer ******** größer"),
        ] {
            assert_eq!(target.masked(answer, 1024), shown, "{answer}");
        }
        for before in [0, 1000, 1010, 1020, 1023] {
            let answer = format!("{}{key}{key}{}", "x".repeat(before), &key[..100]);
            let shown = target.masked(&answer, 1024);
            assert!(
                !shown.contains("k3y-") && shown.len() <= 1024,
                "{before}: {shown}"
            );
        }
    }
}
