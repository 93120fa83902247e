//! A real HTTP server that responds as a test prescribes, and records the requests.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use iottly_core::webhooks::sign::Secret;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// Response of the receiver.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// The given text, whole.
    Raw(String),
    /// The given text, after a delay.
    Late(Duration, String),
    /// Success whose body has this many bytes.
    Huge(usize),
    /// Head of a success, half of its body, and the end of the connection.
    BreakOff,
    /// End of the connection without a response.
    Reset,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        Self::Raw(format!("HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\n\r\n"))
    }

    pub(crate) fn with(status: u16, header: &str, body: &str) -> Self {
        Self::Raw(format!(
            "HTTP/1.1 {status} Whatever\r\n{header}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }
}

/// Request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
    /// Number of requests in progress when it arrived, itself included.
    pub(crate) at_once: usize,
}

impl Request {
    pub(crate) fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    /// Checks the signature as an independent library does.
    pub(crate) fn verify(&self, secret: &str) -> bool {
        let mut headers = axum::http::HeaderMap::new();
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            headers.insert(name, self.headers[name].parse().expect("a value"));
        }
        let webhook = standardwebhooks::Webhook::new(secret).expect("a secret");
        webhook.verify(self.body.as_bytes(), &headers).is_ok()
    }

    /// Returns the message in a form body, parsed as a form.
    pub(crate) fn message(&self) -> serde_json::Value {
        let text = match self.body.strip_prefix("msg=") {
            Some(encoded) => decode(encoded),
            None => {
                return serde_json::from_str::<serde_json::Value>(&self.body).expect("JSON")["msg"].clone();
            }
        };
        serde_json::from_str(&text).expect("JSON")
    }
}

fn decode(encoded: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), encoded.bytes());
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next().expect("digit"), rest.next().expect("digit")];
                u8::from_str_radix(std::str::from_utf8(&digits).expect("ASCII"), 16).expect("hex")
            }
            other => other,
        });
    }
    String::from_utf8(bytes).expect("UTF-8")
}

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    replies: Vec<Reply>,
    always: Option<Reply>,
    under_way: usize,
    connections: usize,
}

/// Running receiver.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    scheme: &'static str,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        Self::start_on(None).await
    }

    pub(crate) async fn start_tls(tls: TlsAcceptor) -> Self {
        Self::start_on(Some(tls)).await
    }

    async fn start_on(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State::default()));
        let (shared, scheme) = (Arc::clone(&state), if tls.is_some() { "https" } else { "http" });
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (shared, tls) = (Arc::clone(&shared), tls.clone());
                shared.lock().expect("unpoisoned").connections += 1;
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, shared).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, shared).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            address,
            scheme,
            state,
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}/webhook/user", self.scheme, self.address)
    }

    /// Sets the responses to the next requests, the first one first; later requests succeed again, or get the
    /// response of [`always`](Self::always).
    pub(crate) fn next(&self, replies: impl IntoIterator<Item = Reply>) {
        self.state.lock().expect("unpoisoned").replies.extend(replies);
    }

    /// Sets the response to all requests from now on; `None` for successes.
    pub(crate) fn always(&self, reply: Option<Reply>) {
        self.state.lock().expect("unpoisoned").always = reply;
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.lock().expect("unpoisoned").requests.clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.state.lock().expect("unpoisoned").requests.len()
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.lock().expect("unpoisoned").connections
    }

    /// Waits until this many requests have arrived.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Request> {
        super::eventually(&format!("{count} requests"), async || self.count() >= count).await;
        self.requests()
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, state: Arc<Mutex<State>>) {
    let mut buffer = Vec::new();
    loop {
        let Some((request, rest)) = read(&mut stream, std::mem::take(&mut buffer)).await else {
            return;
        };
        buffer = rest;
        let reply = {
            let mut state = state.lock().expect("unpoisoned");
            state.under_way += 1;
            let at_once = state.under_way;
            state.requests.push(Request { at_once, ..request });
            if state.replies.is_empty() {
                state.always.clone().unwrap_or(Reply::status(200))
            } else {
                state.replies.remove(0)
            }
        };
        let open = answer(&mut stream, reply).await;
        state.lock().expect("unpoisoned").under_way -= 1;
        if !open {
            return;
        }
    }
}

async fn answer(stream: &mut (impl AsyncWrite + Unpin), reply: Reply) -> bool {
    match reply {
        Reply::Raw(text) => stream.write_all(text.as_bytes()).await.is_ok(),
        Reply::Late(wait, text) => {
            tokio::time::sleep(wait).await;
            stream.write_all(text.as_bytes()).await.is_ok()
        }
        Reply::Huge(bytes) => {
            let _ = stream
                .write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n").as_bytes())
                .await;
            let chunk = [b'x'; 8192];
            for _ in 0..bytes / chunk.len() {
                if stream.write_all(&chunk).await.is_err() {
                    return false;
                }
            }
            true
        }
        Reply::BreakOff => {
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
                .await;
            let _ = stream.shutdown().await;
            false
        }
        Reply::Reset => false,
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin), mut buffer: Vec<u8>) -> Option<(Request, Vec<u8>)> {
    let mut chunk = [0; 16 << 10];
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(buffer[..end].to_vec()).expect("a head");
            let mut lines = head.split("\r\n");
            let first = lines.next().expect("a request line");
            let headers: HashMap<_, _> = lines
                .map(|line| line.split_once(": ").expect("a header"))
                .map(|(k, v)| (k.to_lowercase(), v.to_owned()))
                .collect();
            let length: usize = headers["content-length"].parse().expect("a length");
            if buffer.len() >= end + 4 + length {
                let rest = buffer.split_off(end + 4 + length);
                let body = String::from_utf8(buffer[end + 4..].to_vec()).expect("text");
                let path = first.split(' ').nth(1).expect("a path").to_owned();
                assert!(first.starts_with("POST "), "{first}");
                return Some((
                    Request {
                        path,
                        headers,
                        body,
                        at_once: 0,
                    },
                    rest,
                ));
            }
        }
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => buffer.extend_from_slice(&chunk[..count]),
        }
    }
}

/// Returns true if a text is a secret from a response.
pub(crate) fn is_secret(text: &str) -> bool {
    Secret::from_text(text).is_some()
}
