//! A release repository behind a web server. Verifies nothing beyond the server's certificate.

use std::fmt;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use iottly_protocol::proxy::is_direct;
use iottly_protocol::tuf::{Fetch, FetchError, Place};
use ureq::http::StatusCode;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::typestate::WithoutBody;
use ureq::{Agent, Proxy, RequestBuilder};

use crate::pace::Watchman;

/// Longest time for resolving a name, for connecting, for the start of an answer and for its next byte.
const PATIENCE: Duration = Duration::from_secs(20);

/// Source of the value of the header `Authorization`, asked for each request, since a device's secret changes.
pub type Login = Arc<dyn Fn() -> String + Send + Sync>;

/// Repository behind a web server. Redirects are not followed: they could make the device request anything
/// that its network reaches.
#[derive(Clone)]
pub struct HttpRepository {
    agent: Agent,
    metadata: String,
    targets: String,
    watchman: Watchman,
    login: Option<Login>,
}

impl fmt::Debug for HttpRepository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRepository")
            .field("metadata", &self.metadata)
            .finish_non_exhaustive()
    }
}

impl HttpRepository {
    /// Returns the repository with metadata and targets at these addresses.
    #[must_use]
    pub fn new(metadata: &str, targets: &str) -> Self {
        Self::trusting(metadata, targets, RootCerts::WebPki)
    }

    /// As [`new`](Self::new), for servers whose certificate comes from these authorities.
    #[must_use]
    pub fn trusting(metadata: &str, targets: &str, roots: RootCerts) -> Self {
        let config = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .timeout_resolve(Some(PATIENCE))
            .timeout_connect(Some(PATIENCE))
            .timeout_send_request(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(if is_direct(metadata) {
                None
            } else {
                Proxy::try_from_env()
            });
        let slashed = |url: &str| format!("{}/", url.trim_end_matches('/'));
        let agent = config.build().new_agent();
        Self {
            agent,
            metadata: slashed(metadata),
            targets: slashed(targets),
            watchman: Watchman::new(),
            login: None,
        }
    }

    /// Returns the repository with a login for its server. The login must be for this very server: it is sent with every
    /// request.
    #[must_use]
    pub fn with_login(self, login: Login) -> Self {
        Self {
            login: Some(login),
            ..self
        }
    }

    fn get(&self, url: &str) -> RequestBuilder<WithoutBody> {
        let request = self.agent.get(url);
        match &self.login {
            Some(login) => request.header("Authorization", login()),
            None => request,
        }
    }

    pub(crate) fn watchman(&self) -> &Watchman {
        &self.watchman
    }

    /// Opens a file outside of metadata and targets.
    pub(crate) fn beside(&self, path: &str) -> Result<Box<dyn Read>, FetchError> {
        let base = self.metadata.trim_end_matches("metadata/");
        self.whole(&format!("{base}{path}"))
    }

    fn whole(&self, url: &str) -> Result<Box<dyn Read>, FetchError> {
        let answer = self
            .get(url)
            .call()
            .map_err(|e| FetchError::Failed(e.to_string()))?;
        self.watchman.came(0)?;
        if answer.status() != StatusCode::OK {
            return Err(refused(answer.status()));
        }
        Ok(self.watchman.over(answer.into_body().into_reader()))
    }

    /// Reads some bytes of a target, named by its encoded path.
    ///
    /// # Errors
    /// The server does not have the bytes or answers with anything else.
    pub fn range(&self, path: &str, from: u64, length: u64) -> Result<Box<dyn Read>, FetchError> {
        let last = from.saturating_add(length).saturating_sub(1);
        let url = format!("{}{path}", self.targets);
        let answer = self
            .get(&url)
            .header("Range", format!("bytes={from}-{last}"))
            .call();
        let answer = answer.map_err(|e| FetchError::Failed(e.to_string()))?;
        self.watchman.came(0)?;
        match answer.status() {
            StatusCode::PARTIAL_CONTENT => Ok(self.watchman.over(answer.into_body().into_reader())),
            // A server without range requests sends the whole file.
            StatusCode::OK => {
                let mut body = self.watchman.over(answer.into_body().into_reader());
                let skipped = std::io::copy(&mut body.by_ref().take(from), &mut std::io::sink());
                skipped.map_err(|e| FetchError::Failed(e.to_string()))?;
                Ok(body)
            }
            status => Err(refused(status)),
        }
    }
}

fn refused(status: StatusCode) -> FetchError {
    match status {
        // Storage services answer "forbidden" for a file that does not exist.
        StatusCode::NOT_FOUND | StatusCode::FORBIDDEN | StatusCode::GONE => FetchError::NotFound,
        StatusCode::UNAUTHORIZED => FetchError::Failed(
            "the server wants the login of a device of the project, and did not accept this device's"
                .to_owned(),
        ),
        status if status.is_redirection() => FetchError::Failed(format!(
            "the server answers {}, and redirects are not followed",
            status.as_u16()
        )),
        status => FetchError::Failed(format!("the server answers {}", status.as_u16())),
    }
}

impl Fetch for HttpRepository {
    fn open(&mut self, place: Place<'_>) -> Result<Box<dyn Read + '_>, FetchError> {
        match place {
            Place::Metadata(name) => self.whole(&format!("{}{name}", self.metadata)),
            Place::Target(path) => self.whole(&format!("{}{path}", self.targets)),
        }
    }
}
