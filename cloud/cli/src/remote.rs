//! A client of the REST API, for the commands.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use iottly_protocol::proxy::is_direct;
use iottly_protocol::{GroupId, IdError, ProjectId, Secret};
use serde::Deserialize;
use serde_json::Value;
use ureq::http::Response;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Body, BodyReader, Proxy, RequestBuilder};

use crate::exit::Failure;

/// Longest wait for an answer; some wait for a build.
const PATIENCE: Duration = Duration::from_secs(60);

/// Address of the cloud, and credentials.
#[derive(Args)]
pub(crate) struct Remote {
    /// Address of the cloud
    #[arg(long, env = "IOTTLY_URL", value_name = "URL", default_value = "http://127.0.0.1:8080", value_parser = trimmed)]
    url: String,
    /// Token of the project
    #[arg(long, env = "IOTTLY_TOKEN", value_name = "TOKEN", hide_env_values = true, value_parser = secret)]
    token: Secret,
    /// File of the authorities (PEM) that the cloud's certificate must come from, such as tls/ca.pem in the data folder
    /// of a cloud with its own [default: those of the public web]
    #[arg(long, env = "IOTTLY_CA", value_name = "FILE", value_parser = authorities)]
    ca: Option<Authorities>,
    /// Id of the project
    #[arg(long, env = "IOTTLY_PROJECT", value_name = "ID", value_parser = project)]
    project: ProjectId,
}

/// A deployment group as the API shows it.
#[derive(Debug, Deserialize)]
pub(crate) struct Group {
    pub(crate) id: GroupId,
    pub(crate) name: String,
    #[serde(rename = "boards")]
    pub(crate) devices: Vec<String>,
}

/// The cloud's REST API; cheap to clone.
#[derive(Clone)]
pub(crate) struct Api {
    agent: ureq::Agent,
    base: String,
    /// Value of the header; none when the token is malformed.
    authorization: Option<Secret>,
    /// Proxy of the requests, as words of an error.
    through: String,
}

/// Removes line ends and spaces, which files and shells leave at the ends of a value.
fn trimmed(text: &str) -> Result<String, Infallible> {
    Ok(text.trim().to_owned())
}

fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text.trim()))
}

/// Authorities of a file.
#[derive(Clone)]
struct Authorities(Arc<Vec<Certificate<'static>>>);

fn authorities(path: &str) -> anyhow::Result<Authorities> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {path}"))?;
    let mut found = Vec::new();
    for item in parse_pem(&text) {
        if let PemItem::Certificate(certificate) = item.with_context(|| format!("{path} is not PEM"))? {
            found.push(certificate);
        }
    }
    anyhow::ensure!(!found.is_empty(), "{path} contains no certificate");
    Ok(Authorities(Arc::new(found)))
}

fn project(text: &str) -> Result<ProjectId, IdError> {
    text.trim().parse()
}

impl Api {
    pub(crate) fn new(remote: &Remote) -> Self {
        let proxy = if is_direct(&remote.url) {
            None
        } else {
            Proxy::try_from_env()
        };
        let through = proxy
            .as_ref()
            .map(|proxy| format!(" through the proxy {}:{}", proxy.host(), proxy.port()));
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .proxy(proxy);
        let config = match &remote.ca {
            Some(Authorities(found)) => config.tls_config(
                TlsConfig::builder()
                    .root_certs(RootCerts::Specific(Arc::clone(found)))
                    .build(),
            ),
            None => config,
        };
        Self {
            through: through.unwrap_or_default(),
            agent: config.build().new_agent(),
            base: format!(
                "{}/v1.0/project/{}",
                remote.url.trim_end_matches('/'),
                remote.project
            ),
            authorization: remote
                .token
                .expose()
                .bytes()
                .all(|byte| byte.is_ascii_graphic())
                .then(|| Secret::new(format!("Bearer {}", remote.token.expose()))),
        }
    }

    /// Returns the address of the cloud.
    pub(crate) fn cloud(&self) -> &str {
        self.base.split("/v1.0/").next().unwrap_or_default()
    }

    /// Returns the answer to a GET at a path below the project.
    ///
    /// # Errors
    /// A [`Failure`] according to the status of the answer.
    pub(crate) fn get(&self, path: &str) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.base);
        let answer = self
            .agent
            .get(&url)
            .header("Authorization", self.authorization()?)
            .call();
        self.read(&url, answer)
    }

    /// Posts JSON to a path below the project.
    ///
    /// # Errors
    /// A [`Failure`] according to the status of the answer.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.send(path, "application/json", body.to_string().as_bytes())
    }

    /// Posts bytes to a path below the project.
    ///
    /// # Errors
    /// A [`Failure`] according to the status of the answer.
    pub(crate) fn send(&self, path: &str, kind: &str, body: &[u8]) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.base);
        let request: RequestBuilder<_> = self
            .agent
            .post(&url)
            .header("Authorization", self.authorization()?);
        self.read(&url, request.header("Content-Type", kind).send(body))
    }

    /// Puts bytes at a path below the project.
    ///
    /// # Errors
    /// A [`Failure`] according to the status of the answer.
    pub(crate) fn put(&self, path: &str, kind: &str, body: &[u8]) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.base);
        let request: RequestBuilder<_> = self
            .agent
            .put(&url)
            .header("Authorization", self.authorization()?);
        self.read(&url, request.header("Content-Type", kind).send(body))
    }

    /// Opens a stream of events at a path below the project. It may last as long as the connection.
    ///
    /// # Errors
    /// A [`Failure`] according to the status of the answer.
    pub(crate) fn stream(&self, path: &str) -> Result<BodyReader<'static>, Failure> {
        self.long(path, "text/event-stream")
    }

    /// Opens a download of JSON lines at a path below the project, of any length.
    ///
    /// # Errors
    /// A [`Failure`] according to the status of the answer.
    pub(crate) fn download(&self, path: &str) -> Result<BodyReader<'static>, Failure> {
        self.long(path, "application/x-ndjson")
    }

    fn long(&self, path: &str, kind: &str) -> Result<BodyReader<'static>, Failure> {
        let url = format!("{}{path}", self.base);
        let request = self
            .agent
            .get(&url)
            .header("Authorization", self.authorization()?);
        let answer = request
            .config()
            .timeout_global(None)
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .build()
            .header("Accept", kind)
            .call()
            .with_context(|| format!("cannot reach {url}{}", self.through))?;
        if answer.status() == 200 {
            return Ok(answer.into_body().into_reader());
        }
        let refused = |_| Failure::Failed(anyhow!("{url} answered without a stream"));
        Err(read(answer, &url).map_or_else(|failure| failure, |_| refused(())))
    }

    /// Sends a DELETE to a path below the project.
    ///
    /// # Errors
    /// A [`Failure`] according to the status of the answer.
    pub(crate) fn delete(&self, path: &str) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.base);
        let answer = self
            .agent
            .delete(&url)
            .header("Authorization", self.authorization()?)
            .call();
        self.read(&url, answer)
    }

    fn authorization(&self) -> Result<&str, Failure> {
        let wrong = "the token (--token or IOTTLY_TOKEN) is empty or contains characters that no token has: spaces, line ends or control characters";
        self.authorization
            .as_ref()
            .map(Secret::expose)
            .filter(|text| *text != "Bearer ")
            .ok_or_else(|| Failure::Invalid(wrong.to_owned()))
    }

    fn read(&self, url: &str, answer: Result<Response<Body>, ureq::Error>) -> Result<Value, Failure> {
        read(
            answer.with_context(|| format!("cannot reach {url}{}", self.through))?,
            url,
        )
    }

    /// Returns a group by its name or id.
    ///
    /// # Errors
    /// [`Failure::NotFound`] when the project has no such group.
    pub(crate) fn group(&self, wanted: &str) -> Result<Group, Failure> {
        let groups = self.get("/deploymentgroups")?["deployment_groups"].take();
        let groups: Vec<Group> = serde_json::from_value(groups).map_err(anyhow::Error::from)?;
        let found = groups
            .into_iter()
            .find(|group| group.name == wanted || group.id.to_string() == wanted);
        found.ok_or_else(|| Failure::NotFound(format!("deployment group {wanted:?} does not exist")))
    }
}

fn read(mut answer: Response<Body>, url: &str) -> Result<Value, Failure> {
    let status = answer.status().as_u16();
    let text = answer
        .body_mut()
        .read_to_string()
        .with_context(|| format!("the answer of {url} is incomplete"))?;
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    let reason = || body["error"].as_str().unwrap_or("no reason given").to_owned();
    match status {
        200 => Ok(body),
        400 | 413 | 422 => Err(Failure::Invalid(reason())),
        401 | 403 => Err(Failure::NotAuthorised(reason())),
        404 => Err(Failure::NotFound(reason())),
        status => Err(Failure::Failed(anyhow!("{url} answered {status}: {}", reason()))),
    }
}

/// Escapes a text for a URL.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            other => write!(out, "%{other:02X}").expect("a string takes all"),
        }
    }
    out
}
