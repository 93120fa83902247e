//! MQTT and HTTP of an attacker: bytes on a socket, without a library that keeps to the rules.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio::runtime::Runtime;

use crate::site::Tenant;

fn text(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a short text");
    [&length.to_be_bytes()[..], bytes].concat()
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![kind];
    let mut length = body.len();
    loop {
        let low = u8::try_from(length % 128).expect("seven bits");
        length /= 128;
        packet.push(low | if length > 0 { 0x80 } else { 0 });
        if length == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

/// Returns an MQTT 3.1.1 CONNECT with a name and a password.
pub(crate) fn connect(client: &[u8], user: &str, secret: &str) -> Vec<u8> {
    let mut body = text(b"MQTT");
    body.extend([4, 0b1100_0010, 0, 60]);
    for part in [client, user.as_bytes(), secret.as_bytes()] {
        body.extend(text(part));
    }
    packet(0x10, &body)
}

/// Returns the beginning of an MQTT 5 CONNECT with `count` user properties, which never ends.
pub(crate) fn endless_connect(count: usize) -> Vec<u8> {
    let property = [vec![0x26], text(b"k"), text(b"v")].concat();
    let properties = property.repeat(count);
    let mut body = text(b"MQTT");
    body.extend([5, 0b1100_0010, 0, 60]);
    let mut length = packet(0, &properties);
    length.remove(0);
    body.extend(length);
    let mut whole = packet(0x10, &[&body[..], &[0; 64]].concat());
    whole.truncate(whole.len() - 64);
    whole
}

/// Connection of a device; everything received is dropped.
pub(crate) struct Device {
    stream: TcpStream,
    id: String,
    packets: u16,
}

impl Device {
    pub(crate) fn login(tenant: &Tenant) -> Option<Self> {
        let mut stream = from_elsewhere(tenant.mqtt).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        stream
            .write_all(&connect(tenant.device.as_bytes(), &tenant.device, &tenant.secret))
            .ok()?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).ok()?;
        if answer[3] != 0 {
            return None;
        }
        let mut reader = stream.try_clone().ok()?;
        reader.set_read_timeout(None).ok()?;
        std::thread::spawn(move || {
            let mut sink = [0; 64 << 10];
            while reader.read(&mut sink).is_ok_and(|read| read > 0) {}
        });
        Some(Self {
            stream,
            id: tenant.device.clone(),
            packets: 0,
        })
    }

    /// Publishes to the own `up` topic; false when the connection is gone.
    pub(crate) fn up(&mut self, payload: &[u8]) -> bool {
        self.packets = self.packets.checked_add(1).unwrap_or(1);
        let mut body = text(format!("v1/{}/up", self.id).as_bytes());
        body.extend(self.packets.to_be_bytes());
        body.extend(payload);
        self.stream.write_all(&packet(0x32, &body)).is_ok()
    }
}

/// Returns a numbered record of a stream.
pub(crate) fn batch(stream: &str, seq: u64, record: &str) -> Vec<u8> {
    format!(r#"{{"v":1,"batch":{{"stream":"{stream}","first":{seq},"records":[{record}]}}}}"#).into_bytes()
}

/// Returns a message of the firmware.
pub(crate) fn message(payload: &str) -> String {
    format!(r#"{{"message":{{"type":"userdefined","at_ms":1,"payload":{payload}}}}}"#)
}

/// Returns a hello that announces streams.
pub(crate) fn hello(version: &str, streams: &[(String, &str)]) -> Vec<u8> {
    let streams: Vec<Value> = streams
        .iter()
        .map(|(id, class)| json!({"stream": id, "class": class, "oldest": 1, "next": 1}))
        .collect();
    let hello = json!({
        "boot": random_id(), "conn": random_id(), "capabilities": [], "directive_counter": 0, "streams": streams,
        "versions": {"agent": version, "runtime": "none", "firmware_abi": "none"},
    });
    json!({"v": 1, "hello": hello}).to_string().into_bytes()
}

/// Returns an id in the form of the wire.
pub(crate) fn random_id() -> String {
    iottly_protocol::StreamId::random().to_string()
}

/// Connects from an address other than the one of the tenant that is watched: clients behind one address
/// share its limits.
fn from_elsewhere(address: SocketAddr) -> io::Result<TcpStream> {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .expect("a runtime")
    });
    let stream = RUNTIME.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from(([127, 0, 0, 2], 0)))?;
        socket.connect(address).await?.into_std()
    })?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Connects a socket and sends `bytes`.
pub(crate) fn open(address: SocketAddr, bytes: &[u8]) -> Option<TcpStream> {
    let mut stream = from_elsewhere(address).ok()?;
    stream.set_write_timeout(Some(Duration::from_secs(2))).ok()?;
    if !bytes.is_empty() {
        stream.write_all(bytes).ok()?;
    }
    Some(stream)
}

/// A client of the REST API with a tenant's token.
pub(crate) struct Rest {
    agent: ureq::Agent,
    tenant: Tenant,
}

impl Rest {
    pub(crate) fn new(tenant: &Tenant) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0);
        let agent = config
            .timeout_global(Some(Duration::from_secs(30)))
            .build()
            .into();
        Self {
            agent,
            tenant: tenant.clone(),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}/v1.0/project/{}{path}", self.tenant.url, self.tenant.project)
    }

    /// Returns status and body; status 0 without an answer.
    pub(crate) fn get(&self, path: &str) -> (u16, Value) {
        let request = self
            .agent
            .get(self.url(path))
            .header("Authorization", format!("Bearer {}", self.tenant.token));
        answer(request.call())
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.post_bytes(path, "application/json", body.to_string().as_bytes())
    }

    pub(crate) fn post_bytes(&self, path: &str, kind: &str, body: &[u8]) -> (u16, Value) {
        let request = self
            .agent
            .post(self.url(path))
            .header("Authorization", format!("Bearer {}", self.tenant.token));
        answer(request.header("Content-Type", kind).send(body))
    }

    pub(crate) fn put(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self
            .agent
            .put(self.url(path))
            .header("Authorization", format!("Bearer {}", self.tenant.token));
        answer(
            request
                .header("Content-Type", "application/json")
                .send(body.to_string()),
        )
    }

    pub(crate) fn delete(&self, path: &str) -> (u16, Value) {
        let request = self
            .agent
            .delete(self.url(path))
            .header("Authorization", format!("Bearer {}", self.tenant.token));
        answer(request.call())
    }

    /// Logs in by form; returns the cookie of the session.
    pub(crate) fn login(&self) -> Option<String> {
        let form = format!("token={}", self.tenant.token);
        let request = self
            .agent
            .post(format!("{}/login", self.tenant.url))
            .header("Origin", &self.tenant.url);
        let answer = request
            .header("Content-Type", "application/x-www-form-urlencoded")
            .send(form)
            .ok()?;
        let cookie = answer.headers().get("set-cookie")?.to_str().ok()?;
        cookie.split(';').next().map(ToOwned::to_owned)
    }
}

fn answer(result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> (u16, Value) {
    let Ok(mut response) = result else {
        return (0, Value::Null);
    };
    let body = response.body_mut().read_to_string().unwrap_or_default();
    (
        response.status().as_u16(),
        serde_json::from_str(&body).unwrap_or(Value::Null),
    )
}
