//! Calls the identity provider: without redirects, with limits on time and on the size of answers.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use iottly_cloud::outbound;
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use tokio::sync::Semaphore;

use super::settings::is_protected;

/// Maximum time to connect.
const CONNECT: Duration = Duration::from_secs(5);
/// Maximum time of a call.
const TOTAL: Duration = Duration::from_secs(10);
/// Maximum size of an answer, in bytes: descriptions, keys and tokens are far smaller.
pub(super) const MAX_ANSWER_BYTES: usize = 256 * 1024;
/// Maximum number of simultaneous calls. Further ones are refused: strangers can cause calls.
const MAX_CALLS: usize = 16;

/// Reason for a failed call.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("failed to reach {host}: {reason}")]
    Http { host: String, reason: String },
    #[error("the answer of {0} is longer than {MAX_ANSWER_BYTES} bytes")]
    TooLong(String),
    #[error("{0} is not an https: address")]
    Clear(String),
    #[error("too many calls to the identity provider are under way")]
    Busy,
    #[error("the request to {0} is invalid")]
    Invalid(String),
}

/// HTTP client for one provider.
#[derive(Debug)]
pub(super) struct Caller {
    http: reqwest::Client,
    calls: Semaphore,
}

impl Caller {
    /// # Errors
    /// If the initialisation of TLS fails.
    pub(super) fn new(tls: rustls::ClientConfig) -> Result<Self, reqwest::Error> {
        let http = outbound::client(tls)
            .connect_timeout(CONNECT)
            .timeout(TOTAL)
            .build()?;
        Ok(Self {
            http,
            calls: Semaphore::new(MAX_CALLS),
        })
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, CallError> {
        let _call = self.calls.try_acquire().map_err(|_| CallError::Busy)?;
        let host = request.uri().host().unwrap_or_default().to_owned();
        let request = reqwest::Request::try_from(request).map_err(|_| CallError::Invalid(host.clone()))?;
        // The provider's description names further addresses.
        if !is_protected(request.url()) {
            return Err(CallError::Clear(request.url().to_string()));
        }
        let failed = |error: reqwest::Error| CallError::Http {
            host: host.clone(),
            reason: reason(error),
        };
        let mut response = self.http.execute(request).await.map_err(failed)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(CallError::TooLong(host));
            }
            body.extend_from_slice(&chunk);
        }
        let mut answer = HttpResponse::new(body);
        *answer.status_mut() = response.status();
        *answer.headers_mut() = std::mem::take(response.headers_mut());
        Ok(answer)
    }
}

/// Returns the innermost cause of an error, which says the most.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

impl<'c> AsyncHttpClient<'c> for Caller {
    type Error = CallError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, CallError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}
