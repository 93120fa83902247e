//! Makes a delivery attempt: sends a signed request and keeps the beginning of the response.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iottly_protocol::limits::clip;
use rustls::pki_types::CertificateDer;
use tracing::Span;

use super::SetupError;
use super::resolver::GuardedResolver;
use crate::clock::Clock;
use crate::outbound;
use iottly_core::model::{MessageId, StoredMessage, UnixMs, WebhookAttempt, WebhookKey};
use iottly_core::webhooks::guard::Blocked;
use iottly_core::webhooks::headers::MAX_VALUE_BYTES;
use iottly_core::webhooks::schedule;
use iottly_core::webhooks::schedule::Outcome;
use iottly_core::webhooks::target::Target;
use iottly_core::webhooks::{body, sign};

/// Maximum time to connect.
const CONNECT: Duration = Duration::from_secs(5);
/// Maximum time from the connection to the end of the response.
pub(super) const TOTAL: Duration = Duration::from_secs(15);
/// Maximum time for which the rest of a response is read after its status, which decides the outcome: other
/// requests wait for the slot.
const ANSWER: Duration = Duration::from_secs(2);
/// Maximum size of a response that is kept, in bytes.
const KEPT_BYTES: usize = 1024;
/// Maximum size of a response that is read, in bytes: large enough that a repeated header value which begins
/// in the kept part is complete and can be masked. Each byte of a value may be two bytes in JSON.
const MAX_ANSWER_BYTES: usize = KEPT_BYTES + 2 * MAX_VALUE_BYTES;
/// Number of idle connections to a host that are kept, and the time for which they are.
const IDLE_PER_HOST: usize = 10;
const IDLE: Duration = Duration::from_secs(30);

/// Result of an attempt.
#[derive(Debug, Clone)]
pub struct Attempted {
    /// Outcome that decides about the next attempt.
    pub outcome: Outcome,
    /// Time until which the receiver asked to wait.
    pub retry_after: Option<UnixMs>,
    /// Log entry, without its number.
    pub record: WebhookAttempt,
}

/// Sends requests to webhooks.
pub(super) struct Client {
    http: reqwest::Client,
    clock: Clock,
}

impl Client {
    /// Creates a client that only connects to addresses from `resolver`.
    ///
    /// # Errors
    /// If the initialisation of TLS fails.
    pub(super) fn new(
        resolver: GuardedResolver,
        roots: &[CertificateDer<'static>],
        clock: Clock,
    ) -> Result<Self, SetupError> {
        let http = outbound::client(outbound::tls(roots)?)
            .dns_resolver(Arc::new(resolver))
            .connect_timeout(CONNECT)
            .timeout(TOTAL)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .pool_idle_timeout(IDLE)
            .build()?;
        Ok(Self { http, clock })
    }

    /// Makes attempt number `attempt`, counted from 1. Takes at most 15 s. Callers run it in the [`span`]
    /// of the attempt.
    pub(super) async fn attempt(&self, target: &Target, message: &StoredMessage, attempt: u32) -> Attempted {
        let (at, began) = ((self.clock)(), Instant::now());
        let body = body::body(message, target.form, target.payload_only);
        let bytes = body.len() as u64;
        let (result, answer, retry_after) = match self.send(target, message, body, at).await {
            Ok(answer) => answer,
            Err(failure) => (Err(failure.kind), failure.reason, None),
        };
        let (outcome, result) = match result {
            Ok(status) => (Outcome::Answered(status), format!("http_{status}")),
            Err(kind) => (Outcome::Unanswered, kind.to_owned()),
        };
        let record = WebhookAttempt {
            number: 0,
            at,
            message: message.id,
            device: Some(message.scope.device),
            attempt,
            result,
            millis: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            bytes,
            answer: target.masked(&answer, KEPT_BYTES),
        };
        tracing::debug!(
            attempt.result = record.result,
            elapsed_ms = record.millis,
            size_bytes = bytes,
            "made an attempt to deliver a message"
        );
        Attempted {
            outcome,
            retry_after,
            record,
        }
    }

    async fn send(
        &self,
        target: &Target,
        message: &StoredMessage,
        body: String,
        at: UnixMs,
    ) -> Result<Answer, Failure> {
        let url = target.url.clone()?;
        let (id, seconds) = (message.id.to_string(), at.div_euclid(1000));
        let signature = sign::signatures(target.secrets(at), &id, seconds, &body);
        let request = self
            .http
            .post(url)
            .headers(target.headers.clone())
            .header("webhook-id", id);
        let request = request
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", signature)
            .body(body);
        let mut response = request.send().await?;
        let status = response.status().as_u16();
        let asked = response
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok());
        let retry_after = asked.and_then(|value| schedule::retry_after(value, (self.clock)()));
        // The status decides the outcome; a response that breaks off later is only shorter.
        let mut answer = Vec::new();
        let reading = async {
            while answer.len() < MAX_ANSWER_BYTES
                && let Ok(Some(chunk)) = response.chunk().await
            {
                answer.extend_from_slice(&chunk[..chunk.len().min(MAX_ANSWER_BYTES - answer.len())]);
            }
        };
        let _ = tokio::time::timeout(ANSWER, reading).await;
        Ok((
            Ok(status),
            String::from_utf8_lossy(&answer).into_owned(),
            retry_after,
        ))
    }
}

/// Returns the span of an attempt and of the decision about its delivery.
pub(super) fn span(key: WebhookKey, message: MessageId, attempt: u32) -> Span {
    tracing::error_span!("webhook_attempt", webhook.id = %key.hook, message.id = %message, attempt)
}

type Answer = (Result<u16, &'static str>, String, Option<UnixMs>);

/// Reason for a missing response: a code for the log, and a text for people.
struct Failure {
    kind: &'static str,
    reason: String,
}

impl From<Blocked> for Failure {
    fn from(blocked: Blocked) -> Self {
        Self {
            kind: "blocked_address",
            reason: blocked.to_string(),
        }
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let causes: Vec<_> =
            std::iter::successors(Some(&error as &(dyn StdError + 'static)), |error| inner(*error)).collect();
        if let Some(blocked) = causes.iter().find_map(|cause| cause.downcast_ref::<Blocked>()) {
            return blocked.clone().into();
        }
        let kind = if causes.iter().any(|cause| cause.is::<rustls::Error>()) {
            "tls"
        } else if error.is_timeout() {
            "timeout"
        } else if error.is_dns() {
            "dns"
        } else if error.is_connect() {
            "connect"
        } else {
            "connection"
        };
        let reason = causes.last().map(ToString::to_string).unwrap_or_default();
        Self {
            kind,
            reason: clip(&reason, KEPT_BYTES).to_owned(),
        }
    }
}

/// Returns the cause of an error; an I/O error may wrap another error that is not its source.
fn inner<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e (dyn StdError + 'static)> {
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    wrapped
        .map(|wrapped| wrapped as &(dyn StdError + 'static))
        .or_else(|| error.source())
}
