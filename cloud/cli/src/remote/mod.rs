//! A client of the REST API, for the commands.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use iottly_filter::date;
use iottly_protocol::proxy::is_direct;
use iottly_protocol::{IdError, ProjectId, Secret};
use iottly_web::answers::{GroupDto, ProjectList};
use serde_json::Value;
use ureq::http::Response;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Body, BodyReader, Proxy, RequestBuilder, SendBody};

use crate::answer;
use crate::exit::Failure;
use crate::progress::Progress;
use crate::saved_logins::Logins;
use crate::similar;
use refused::text;

mod refused;

/// Longest wait for an answer; some wait for a build.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest silence of a stream of events: the cloud sends a sign of life every 15 s.
const STREAM_SILENCE: Duration = Duration::from_secs(40);
/// Longest silence of a download; a filter may examine many entries before the next that matches.
const DOWNLOAD_SILENCE: Duration = Duration::from_secs(600);
/// Maximum size of an answer, in bytes. Long lists come in pages that are far smaller.
const MAX_ANSWER: u64 = 64 << 20;

/// Address of the cloud, and credentials.
#[derive(Args)]
pub(crate) struct Remote {
    /// Address of the cloud [default: the one of the newest `iottly login`, or http://127.0.0.1:8080]
    #[arg(long, env = "IOTTLY_URL", value_name = "URL", value_parser = trimmed)]
    url: Option<String>,
    /// Token of the project [default: the one of `iottly login`]
    #[arg(long, env = "IOTTLY_TOKEN", value_name = "TOKEN", hide_env_values = true, value_parser = secret)]
    token: Option<Secret>,
    /// File of the authorities (PEM) that the cloud's certificate must come from, such as tls/ca.pem in the data folder
    /// of a cloud with its own [default: those of the public web]
    #[arg(long, env = "IOTTLY_CA", value_name = "FILE", value_parser = authorities)]
    ca: Option<Authorities>,
    /// Id of the project [default: the one of `iottly project use`, or the only one that the token reaches]
    #[arg(long, env = "IOTTLY_PROJECT", value_name = "ID", value_parser = project)]
    project: Option<ProjectId>,
}

/// Address of a cloud with which no option and no login names another.
const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// Place and credentials of a command: from options and environment, else from the file of `iottly login`.
pub(crate) struct Place {
    /// Address of the cloud, without a slash at the end.
    pub(crate) url: String,
    /// Token; none when the user is not signed in.
    pub(crate) token: Option<Secret>,
    /// True if the token is from the file of `iottly login`.
    pub(crate) is_saved: bool,
    /// Project, if it is known without asking the cloud.
    pub(crate) project: Option<ProjectId>,
}

impl Remote {
    /// Returns true if an option or the environment names a token.
    pub(crate) fn is_token_given(&self) -> bool {
        self.token.is_some()
    }

    /// Returns where the command acts.
    ///
    /// # Errors
    /// If the file of `iottly login` cannot be read, or others can read it.
    pub(crate) fn place(&self) -> Result<Place, Failure> {
        // With all of it given, the file is of no use, and need not be readable.
        let saved = match (&self.url, &self.token) {
            (Some(_), Some(_)) => Logins::default(),
            _ => Logins::read()?,
        };
        let url = self.url.as_deref().or(saved.current());
        let url = url.unwrap_or(DEFAULT_URL).trim_end_matches('/').to_owned();
        let login = saved.of(&url).filter(|_| self.token.is_none());
        Ok(Place {
            token: self.token.clone().or(login.map(|login| login.token.clone())),
            is_saved: login.is_some(),
            project: self.project.or(login.and_then(|login| login.project)),
            url,
        })
    }
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
    /// Command that signs in again; none for a token that was given.
    again: Option<String>,
}

/// Answer to a request without a token.
pub(crate) struct Probed {
    /// HTTP status.
    pub(crate) status: u16,
    /// Time of the cloud in Unix milliseconds, if it says one.
    pub(crate) date: Option<i64>,
    /// Reason for people, if there is one.
    pub(crate) reason: Option<String>,
}

/// Answer of the cloud that is not the requested one.
pub(crate) struct Refusal {
    /// Code for programs.
    pub(crate) code: String,
    /// Reason for people.
    pub(crate) reason: String,
    /// Time after which the program may ask again, in seconds.
    pub(crate) retry_s: Option<u64>,
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
    /// Returns a client for the project of the options.
    ///
    /// # Errors
    /// [`Failure::NotAuthorised`] when the user is not signed in, [`Failure::Invalid`] when the project is not clear.
    pub(crate) fn open(remote: &Remote) -> Result<Self, Failure> {
        let place = remote.place()?;
        let root = Self::root(remote, &place)?;
        let project = match place.project {
            Some(project) => project,
            None => only_project(&root)?,
        };
        Ok(Self {
            base: format!("{}/project/{project}", root.base),
            ..root
        })
    }

    /// Returns a client whose paths are below `/v1.0`, for what belongs to no project.
    ///
    /// # Errors
    /// [`Failure::NotAuthorised`] when the user is not signed in.
    pub(crate) fn root(remote: &Remote, place: &Place) -> Result<Self, Failure> {
        let url = &place.url;
        let token = place.token.as_ref().ok_or_else(|| {
            Failure::NotAuthorised(format!(
                "you are not signed in at {url}; type `iottly login --url {url}`, or set IOTTLY_TOKEN"
            ))
        })?;
        let mut api = Self::anonymous(remote, url);
        let is_plain = token.expose().bytes().all(|byte| byte.is_ascii_graphic());
        api.authorization = is_plain.then(|| Secret::new(format!("Bearer {}", token.expose())));
        api.again = place.is_saved.then(|| format!("iottly login --url {url}"));
        Ok(api)
    }

    /// Returns a client without a token, whose paths are below `/v1.0`.
    pub(crate) fn anonymous(remote: &Remote, url: &str) -> Self {
        let proxy = if is_direct(url) {
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
            base: format!("{url}/v1.0"),
            authorization: None,
            again: None,
        }
    }

    /// Posts JSON without a token, and returns the answer or the refusal with its code.
    ///
    /// # Errors
    /// [`Failure::Failed`] when the cloud cannot be reached.
    pub(crate) fn ask(&self, path: &str, body: &Value) -> Result<Result<Value, Refusal>, Failure> {
        let url = format!("{}{path}", self.base);
        let request = self.agent.post(&url).header("Content-Type", "application/json");
        let mut answer = request
            .send(body.to_string().as_bytes())
            .map_err(|error| self.unreachable(&url, error))?;
        let text = text(&mut answer, &url)?;
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        if answer.status() == 200 {
            return Ok(Ok(body));
        }
        let retry = answer.headers().get("retry-after");
        let text = |key: &str| body[key].as_str().map(str::to_owned);
        Ok(Err(Refusal {
            code: text("code").unwrap_or_default(),
            reason: text("error").unwrap_or_else(|| format!("{url} answered {}", answer.status())),
            retry_s: retry.and_then(|value| value.to_str().ok()?.parse().ok()),
        }))
    }

    /// Returns the answer to a GET of a whole address without a token.
    ///
    /// # Errors
    /// If nothing answers.
    pub(crate) fn probe(&self, url: &str) -> Result<Probed, ureq::Error> {
        let mut answer = self.agent.get(url).call()?;
        let date = answer.headers().get("date").and_then(|date| date.to_str().ok());
        let date = date.and_then(http_date);
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        Ok(Probed {
            status: answer.status().as_u16(),
            date,
            reason: body["error"].as_str().map(str::to_owned),
        })
    }

    /// Returns the address of the cloud.
    pub(crate) fn cloud(&self) -> &str {
        self.base.split("/v1.0").next().unwrap_or_default()
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

    /// Posts bytes as [`Api::send`] does, and shows on a terminal how far it is.
    ///
    /// # Errors
    /// A [`Failure`] according to the status of the answer.
    pub(crate) fn upload(&self, path: &str, kind: &str, body: &[u8]) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.base);
        let mut pieces = Uploaded {
            rest: body,
            progress: Progress::of_bytes("upload", Some(body.len() as u64)),
        };
        let answer = self
            .agent
            .post(&url)
            .header("Authorization", self.authorization()?)
            .header("Content-Type", kind)
            .header("Content-Length", body.len().to_string())
            .send(SendBody::from_reader(&mut pieces));
        drop(pieces);
        self.read(&url, answer)
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

    /// Opens a stream of events at a path below the project. It may last as long as the connection; reading it fails when
    /// the cloud is silent for longer than its signs of life allow, as after a cut without an end of the connection.
    ///
    /// # Errors
    /// A [`Failure`] according to the status of the answer.
    pub(crate) fn stream(&self, path: &str) -> Result<BodyReader<'static>, Failure> {
        self.long(path, "text/event-stream", STREAM_SILENCE)
    }

    /// Opens a download of JSON lines at a path below the project, of any length.
    ///
    /// # Errors
    /// A [`Failure`] according to the status of the answer.
    pub(crate) fn download(&self, path: &str) -> Result<BodyReader<'static>, Failure> {
        self.long(path, "application/x-ndjson", DOWNLOAD_SILENCE)
    }

    fn long(&self, path: &str, kind: &str, silence: Duration) -> Result<BodyReader<'static>, Failure> {
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
            .timeout_per_read(Some(silence))
            .build()
            .header("Accept", kind)
            .call()
            .map_err(|error| self.unreachable(&url, error))?;
        if answer.status() == 200 {
            return Ok(answer.into_body().into_reader());
        }
        let refused = |_| Failure::Failed(anyhow!("{url} answered without a stream"));
        Err(self
            .read(&url, Ok(answer))
            .map_or_else(|failure| failure, |_| refused(())))
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
        let answer = answer.map_err(|error| self.unreachable(url, error))?;
        refused::read(answer, url, self.cloud(), self.again.as_deref())
    }

    /// Returns the failure of a request that got no answer, with what to type next.
    fn unreachable(&self, url: &str, error: ureq::Error) -> Failure {
        let (through, cloud) = (&self.through, self.cloud());
        Failure::Failed(anyhow::Error::new(error).context(format!(
            "cannot reach {url}{through}; check that the cloud at {cloud} runs (`iottly doctor` looks for the cause), or name \
             another with --url or IOTTLY_URL"
        )))
    }

    /// Returns a group by its name or id.
    ///
    /// # Errors
    /// [`Failure::NotFound`] when the project has no such group; names those with similar names.
    pub(crate) fn group(&self, wanted: &str) -> Result<GroupDto, Failure> {
        let groups = self.get("/deploymentgroups?limit=1")?["deployment_groups"].take();
        let groups: Vec<GroupDto> = answer::read(&groups)?;
        let names: Vec<String> = groups.iter().map(|group| group.name.clone()).collect();
        let found = groups
            .into_iter()
            .find(|group| group.name == wanted || group.id.to_string() == wanted);
        found.ok_or_else(|| {
            Failure::NotFound(format!(
                "deployment group {wanted:?} does not exist; {}",
                similar::hint(wanted, &names, "iottly group list")
            ))
        })
    }
}

/// Bytes of an upload, which count themselves as they are read.
struct Uploaded<'a> {
    rest: &'a [u8],
    progress: Progress,
}

impl Read for Uploaded<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.rest.read(into)?;
        self.progress.add(read as u64);
        Ok(read)
    }
}

/// Returns the only project that the caller reaches.
fn only_project(root: &Api) -> Result<ProjectId, Failure> {
    let ProjectList { projects, .. } = answer::read(&root.get("/projects")?)?;
    match &projects[..] {
        [only] => Ok(only.id),
        [] => Err(Failure::NotFound(
            "you reach no project; ask an owner of your organization for a role".to_owned(),
        )),
        _ => Err(Failure::Invalid(
            "several projects can be meant; `iottly project list` shows them, and `iottly project use NAME` chooses one (or give --project ID)"
                .to_owned(),
        )),
    }
}

/// Returns the time of a header such as `Fri, 27 Nov 2026 17:59:10 GMT`, in Unix milliseconds.
fn http_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let mut parts = text.split_once(", ")?.1.split(' ');
    let (day, month, year, time) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    date::parse(&format!("{year}-{month:02}-{day}T{time}Z")).ok()
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

#[cfg(test)]
mod tests;
