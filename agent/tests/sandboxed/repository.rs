//! A signed repository, and a web server for it that can misbehave on request.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use iottly_cloud::releases::{
    KeyFolder, Lifetimes, NewDirective, NewRelease, OfferedEngine, ReleaseRepository,
};
use iottly_protocol::release::{Action, Audience, HealthRules};
use iottly_protocol::tuf::{Instant, SigningKey, sign_value};
use iottly_protocol::{DeviceId, ProjectId};

/// Behaviour of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Correct answers.
    Right,
    /// A byte per second, forever.
    Drip,
    /// No answer.
    Silent,
    /// A redirect to another path of the server.
    Redirect,
}

/// Behaviour of the server, and the paths requested so far.
#[derive(Debug)]
struct State {
    mode: Mode,
    asked: Vec<String>,
}

/// Repository of a project, served over HTTP.
pub(crate) struct Releases {
    pub(crate) address: SocketAddr,
    pub(crate) path: PathBuf,
    pub(crate) project: ProjectId,
    repository: ReleaseRepository,
    keys: KeyFolder,
    state: Arc<Mutex<State>>,
    /// Lead of the signer's clock over the machine's, in seconds.
    ahead_s: i64,
    /// Pause between a release and its directive.
    pub(crate) pause: Duration,
}

impl Releases {
    pub(crate) fn new(dir: &Path, ahead_s: i64) -> Self {
        let path = dir.join("repository");
        let repository = ReleaseRepository::new(&path, Lifetimes::default());
        let keys = KeyFolder::new(&dir.join("keys"), None);
        let state = Arc::new(Mutex::new(State {
            mode: Mode::Right,
            asked: Vec::new(),
        }));
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = listener.local_addr().expect("address");
        let folder = path.clone();
        let served = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let folder = folder.clone();
                let state = Arc::clone(&served);
                std::thread::spawn(move || while serve(&stream, &folder, &state).is_some() {});
            }
        });
        let releases = Self {
            address,
            path,
            project: ProjectId::from_bytes([7; 12]),
            repository,
            keys,
            state,
            ahead_s,
            pause: Duration::ZERO,
        };
        releases
            .repository
            .init(&releases.keys, 1, releases.now())
            .expect("repository");
        releases
    }

    fn now(&self) -> Instant {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .expect("after 1970")
            .as_secs();
        Instant::from_unix(now.saturating_add_signed(self.ahead_s))
    }

    /// Signs a second version of root, which names a key for developer orders.
    pub(crate) fn add_developer(&self, key: &SigningKey) {
        let first = std::fs::read(self.root()).expect("root");
        let mut root: serde_json::Value = serde_json::from_slice(&first).expect("json");
        let signed = &mut root["signed"];
        let id = key.public().id();
        signed["version"] = 2.into();
        signed["keys"][&id] = serde_json::to_value(key.public()).expect("json");
        signed["x-iottly-roles"]["developer"] = serde_json::json!({"keyids": [id], "threshold": 1});
        let signers = self.keys.of("root").expect("keys");
        let second = sign_value(signed, &signers.iter().collect::<Vec<_>>()).expect("signed");
        std::fs::write(self.path.join("metadata/2.root.json"), second).expect("root");
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.path.join("metadata/1.root.json")
    }

    pub(crate) fn mode(&self, mode: Mode) {
        self.state.lock().expect("lock").mode = mode;
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.state.lock().expect("lock").asked.clone()
    }

    /// Publishes a component with a directive for a device. Returns its digest.
    pub(crate) fn release(&self, device: DeviceId, content: &[u8], grace_ms: u64) -> String {
        self.release_with(device, content, grace_ms, None)
    }

    /// Publishes a component as [`Releases::release`] does, with an engine beside it.
    pub(crate) fn release_with(
        &self,
        device: DeviceId,
        content: &[u8],
        grace_ms: u64,
        engine: Option<OfferedEngine>,
    ) -> String {
        let new = NewRelease {
            branch: "main".to_owned(),
            content: content.to_vec(),
            version: "1".to_owned(),
            boards: Vec::new(),
            security_floor: 0,
            capabilities: Vec::new(),
            health: HealthRules {
                grace_ms,
                min_ok: 1,
                max_memory: 0,
            },
            engine,
        };
        let added = self.repository.add(&new, &self.keys, self.now()).expect("added");
        std::thread::sleep(self.pause);
        let directive = NewDirective {
            project: self.project,
            audience: Audience::Device(device),
            action: Action::Install,
            target: added.path,
            valid_s: 86_400,
            deadline_s: 3_600,
            window: None,
            max_bps: 0,
            force_retry: false,
            approved: Vec::new(),
        };
        let now_ms = self.now().unix() * 1000;
        self.repository
            .sign_directive(directive, &self.keys, self.now(), now_ms)
            .expect("directed");
        added.sha256
    }
}

/// Serves one request; `None` if the connection has ended.
fn serve(stream: &TcpStream, folder: &Path, state: &Mutex<State>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut from = None;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok().filter(|count| *count > 0)?;
        let header = header.trim_end().to_ascii_lowercase();
        if let Some(range) = header.strip_prefix("range: bytes=") {
            let (first, last) = range.split_once('-')?;
            from = Some((first.parse::<usize>().ok()?, last.parse::<usize>().ok()?));
        }
        if header.is_empty() {
            break;
        }
    }
    let mode = {
        let mut state = state.lock().expect("lock");
        state.asked.push(path.clone());
        state.mode
    };
    let mut out = stream;
    match mode {
        Mode::Right => {}
        Mode::Silent => std::thread::sleep(Duration::from_secs(3600)),
        Mode::Drip => {
            out.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\n")
                .ok()?;
            loop {
                out.write_all(b" ").ok()?;
                std::thread::sleep(Duration::from_secs(1));
            }
        }
        Mode::Redirect if path.starts_with("/internal") => {}
        Mode::Redirect => {
            return out
                .write_all(
                    b"HTTP/1.1 302 Found\r\nlocation: /internal/admin?reboot=1\r\ncontent-length: 0\r\n\r\n",
                )
                .ok();
        }
    }
    let file = folder.join(path.trim_start_matches('/').replace("%2F", "/"));
    let Ok(bytes) = std::fs::read(file) else {
        return out
            .write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
            .ok();
    };
    let (status, body) = match from {
        Some((first, last)) => (
            "206 Partial Content",
            &bytes[first.min(bytes.len())..(last + 1).min(bytes.len())],
        ),
        None => ("200 OK", &bytes[..]),
    };
    out.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes())
        .ok()?;
    out.write_all(body).ok()
}
