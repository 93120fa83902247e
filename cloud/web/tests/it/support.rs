//! A real cloud behind a real HTTP listener, and a client that sends requests exactly as written.

#![allow(dead_code, reason = "each test file uses its part")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use iottly_cloud::{Cloud, CloudConfig, Services};
use iottly_core::command::seeded_definitions;
use iottly_core::ingest::{Entry, Upload, UploadBody};
use iottly_core::model::{Project, Scope};
use iottly_protocol::{DeviceId, GroupId, MessageKind, ProjectId, StreamId};
use iottly_store::NewDevice;
use iottly_web::auth;
use iottly_web::http::Server;
use iottly_web::{OidcSettings, WebServices};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// Cloud with its HTTP server and one project with one device.
pub(crate) struct TestCloud {
    pub(crate) services: WebServices,
    pub(crate) address: SocketAddr,
    pub(crate) tenant: Tenant,
    cloud: Cloud,
    pub(crate) server: Server,
    _data: tempfile::TempDir,
}

/// Project with one device and a token.
pub(crate) struct Tenant {
    pub(crate) scope: Scope,
    pub(crate) group: GroupId,
    pub(crate) token: String,
}

pub(crate) async fn start() -> TestCloud {
    start_with(|_| {}).await
}

/// Starts a cloud whose services are changed before requests come.
pub(crate) async fn start_with(change: impl FnOnce(&mut Services)) -> TestCloud {
    start_both(|_| {}, change, |web| web).await
}

/// Starts a cloud with another configuration.
pub(crate) async fn start_config(change: impl FnOnce(&mut CloudConfig)) -> TestCloud {
    start_both(change, |_| {}, |web| web).await
}

/// Starts a cloud with an identity provider.
pub(crate) async fn start_provider(settings: OidcSettings) -> TestCloud {
    let with = |web: WebServices| web.with_provider(settings).expect("a client");
    start_both(|_| {}, |_| {}, with).await
}

async fn start_both(
    configure: impl FnOnce(&mut CloudConfig),
    change: impl FnOnce(&mut Services),
    dress: impl FnOnce(WebServices) -> WebServices,
) -> TestCloud {
    let data = tempfile::tempdir().expect("a folder");
    let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    let mut config = CloudConfig::new(data.path().to_owned(), any);
    configure(&mut config);
    let cloud = Cloud::start(config).await.expect("the cloud starts");
    let mut services = cloud.services();
    change(&mut services);
    let services = dress(WebServices::new(services));
    let listener = TcpListener::bind(any).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = Server::start(listener, services.clone());
    let tenant = tenant(&services, "My awesome project").await;
    TestCloud {
        services,
        address,
        tenant,
        cloud,
        server,
        _data: data,
    }
}

pub(crate) async fn tenant(services: &Services, name: &str) -> Tenant {
    let project = Project {
        id: project_id(),
        name: name.to_owned(),
        created: 0,
        retention_days: None,
    };
    let group = GroupId::random();
    services
        .store
        .create_project(&project, group, &seeded_definitions())
        .await
        .expect("created");
    let scope = Scope {
        project: project.id,
        device: DeviceId::random(),
    };
    let secret = auth::hash_secret(b"device secret");
    let device = NewDevice {
        scope,
        name: format!("board of {name}"),
        group,
        secret,
    };
    services.store.create_device(&device).await.expect("created");
    let token = auth::create_token(services.store.as_ref(), project.id, "test")
        .await
        .expect("created");
    Tenant { scope, group, token }
}

pub(crate) fn project_id() -> ProjectId {
    let random = *DeviceId::random().as_bytes();
    ProjectId::from_bytes(std::array::from_fn(|index| random[index]))
}

/// Repeats a check until it holds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, check: impl Fn() -> F) {
    let held = async {
        while !check().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(TIMEOUT, held).await.is_ok(), "never: {what}");
}

impl TestCloud {
    pub(crate) fn mqtt_addr(&self) -> SocketAddr {
        self.cloud.mqtt_addr().expect("a listener")
    }

    pub(crate) fn http_addr(&self) -> SocketAddr {
        self.address
    }

    /// Stops the cloud; returns what starts it again on its data.
    pub(crate) async fn stop(self) -> (CloudConfig, Scope, tempfile::TempDir) {
        let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        let mut config = CloudConfig::new(self._data.path().to_owned(), any);
        config.presence_grace = Duration::from_millis(200);
        let (scope, data) = (self.tenant.scope, self._data);
        self.server.shutdown().await;
        self.cloud.shutdown().await;
        (config, scope, data)
    }

    /// Stops the cloud, and starts it again on its data and on other ports.
    pub(crate) async fn restart(self) -> Self {
        let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        let Tenant { group, token, .. } = &self.tenant;
        let (group, token) = (*group, token.clone());
        let (config, scope, data) = self.stop().await;
        let cloud = Cloud::start(config).await.expect("the cloud starts again");
        let services = WebServices::new(cloud.services());
        let listener = TcpListener::bind(any).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        Self {
            server: Server::start(listener, services.clone()),
            services,
            address,
            tenant: Tenant { scope, group, token },
            cloud,
            _data: data,
        }
    }

    pub(crate) async fn shutdown(self) {
        self.server.shutdown().await;
        self.cloud.shutdown().await;
    }

    /// Stores firmware messages, the first with number 1, one millisecond apart from `at` on; returns the
    /// reasons of refusals.
    pub(crate) async fn store(&self, scope: Scope, at: i64, payloads: &[&str]) -> Vec<String> {
        self.store_as(scope, at, MessageKind::UserDefined, None, payloads)
            .await
    }

    pub(crate) async fn store_as(
        &self,
        scope: Scope,
        at: i64,
        kind: MessageKind,
        channel: Option<&str>,
        payloads: &[&str],
    ) -> Vec<String> {
        let stream = StreamId::random();
        let entry = |payload: &&str| {
            let payload = RawValue::from_string((*payload).to_owned()).expect("JSON");
            Ok(Entry::Message {
                kind,
                at: at - 5,
                channel: channel.map(str::to_owned),
                payload,
                firmware: None,
            })
        };
        let uploads = (0i64..)
            .zip(1u64..)
            .zip(payloads)
            .map(|((offset, first), payload)| Upload {
                scope,
                stream,
                received: at + offset,
                body: UploadBody::Records {
                    first,
                    records: vec![entry(payload)],
                },
            });
        let outcomes = self
            .services
            .store
            .ingest(uploads.collect())
            .await
            .expect("stored");
        for message in outcomes.iter().flat_map(|outcome| &outcome.stored) {
            self.services.live.publish(message);
        }
        outcomes
            .into_iter()
            .flat_map(|outcome| outcome.refused)
            .map(|refuse| refuse.reason)
            .collect()
    }

    /// Returns a path with the tenant's ids instead of the documentation's placeholders.
    pub(crate) fn path(&self, path: &str) -> String {
        path.replace("<project id>", &self.tenant.scope.project.to_string())
            .replace("<device id>", &self.tenant.scope.device.to_string())
    }

    /// Returns the page that the dashboard opens with, after its redirect.
    pub(crate) async fn home(&self, cookie: &str) -> String {
        let first = self.request("GET", "/", &[cookie], b"").await;
        match first.header("location") {
            Some(location) => self.request("GET", location, &[cookie], b"").await.text,
            None => first.text,
        }
    }

    /// Sends a GET with the tenant's token.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[&self.bearer()], b"").await
    }

    /// Returns the cloud's data folder.
    pub(crate) fn data(&self) -> &std::path::Path {
        self._data.path()
    }

    /// Sends a POST with the tenant's token.
    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.request(
            "POST",
            path,
            &[&self.bearer(), "Content-Type: application/json"],
            body.as_bytes(),
        )
        .await
    }

    pub(crate) fn bearer(&self) -> String {
        format!("Authorization: Bearer {}", self.tenant.token)
    }

    pub(crate) async fn request(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        let mut text = format!(
            "{method} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
            self.path(path),
            self.address
        );
        for header in headers {
            text.push_str(&format!("{header}\r\n"));
        }
        let chunked = headers
            .iter()
            .any(|header| header.starts_with("Transfer-Encoding"));
        if !body.is_empty() && !chunked {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await.expect("connected");
            stream.write_all(text.as_bytes()).await.expect("sent");
            // The server may respond and close before it has read a body that is too long.
            let _ = stream.write_all(body).await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            Answer::parse(&answer)
        };
        tokio::time::timeout(TIMEOUT, exchange)
            .await
            .expect("an answer in time")
    }

    /// Opens an event stream; `read_until` continues to read it.
    pub(crate) async fn listen(&self, path: &str, headers: &[&str]) -> EventReader {
        let mut text = format!("GET {} HTTP/1.1\r\nHost: {}\r\n", self.path(path), self.address);
        for header in headers {
            text.push_str(&format!("{header}\r\n"));
        }
        text.push_str("\r\n");
        let mut stream = TcpStream::connect(self.address).await.expect("connected");
        stream.write_all(text.as_bytes()).await.expect("sent");
        EventReader {
            stream,
            seen: String::new(),
        }
    }

    /// Logs in to the dashboard and returns the cookie header.
    pub(crate) async fn login(&self, token: &str) -> String {
        let form = format!("token={token}");
        let answer = self
            .request(
                "POST",
                "/login",
                &["Content-Type: application/x-www-form-urlencoded"],
                form.as_bytes(),
            )
            .await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        answer.cookie()
    }
}

/// Event stream as it arrives.
pub(crate) struct EventReader {
    stream: TcpStream,
    pub(crate) seen: String,
}

impl EventReader {
    /// Reads until `wanted` has arrived.
    pub(crate) async fn read_until(&mut self, wanted: &str) -> &str {
        let read = async {
            let mut buffer = [0; 4096];
            while !self.seen.contains(wanted) {
                let count = self.stream.read(&mut buffer).await.expect("readable");
                assert!(count > 0, "the stream ended before {wanted:?}: {}", self.seen);
                self.seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        };
        tokio::time::timeout(TIMEOUT, read)
            .await
            .unwrap_or_else(|_| panic!("{wanted:?} did not come"));
        &self.seen
    }

    /// Reads to the end of the stream.
    pub(crate) async fn read_to_end(&mut self) {
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(TIMEOUT, self.stream.read_to_end(&mut rest))
            .await
            .expect("the stream ends");
    }
}

/// HTTP response.
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) text: String,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("no HTTP answer: {text:?}"));
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .expect("a status line");
        Self {
            status,
            head: head.to_owned(),
            text: body.to_owned(),
        }
    }

    /// Returns the body of a chunked response.
    pub(crate) fn unchunked(&self) -> String {
        assert_eq!(self.header("transfer-encoding"), Some("chunked"));
        let (mut rest, mut body) = (self.text.as_str(), String::new());
        while let Some((size, after)) = rest.split_once("\r\n") {
            let size = usize::from_str_radix(size, 16).expect("a chunk's size");
            body.push_str(&after[..size]);
            rest = after[size..].strip_prefix("\r\n").expect("a chunk's end");
            if size == 0 {
                return body;
            }
        }
        panic!("the answer broke off: {} bytes", body.len())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    pub(crate) fn cookie(&self) -> String {
        let cookie = self
            .header("set-cookie")
            .expect("a cookie")
            .split(';')
            .next()
            .expect("a value")
            .to_owned();
        format!("Cookie: {cookie}")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Checks that the status is 200 and returns the JSON.
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()
    }

    /// Checks status, shape and request id of an error and returns its text.
    pub(crate) fn error(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text);
        let json = self.json();
        assert_eq!(
            json["request_id"].as_str(),
            self.header("x-request-id"),
            "{}",
            self.text
        );
        assert!(json["code"].is_string(), "{}", self.text);
        json["error"].as_str().expect("error is text").to_owned()
    }
}
