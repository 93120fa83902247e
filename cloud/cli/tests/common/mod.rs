//! Real processes and a plain HTTP client for the end-to-end tests.
#![allow(dead_code, reason = "each test program uses its share of these helpers")]

pub(crate) mod local;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

pub(crate) const IOTTLY: &str = env!("CARGO_BIN_EXE_iottly");
/// How long anything may take on a loaded machine before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The agent's program, which lies beside `iottly`.
pub(crate) fn agent_program() -> PathBuf {
    let path = Path::new(IOTTLY).with_file_name("iottly-agent");
    assert!(
        path.exists(),
        "{} is missing: build it with `cargo build --release --workspace`",
        path.display()
    );
    path
}

/// Polls until `check` gives something.
pub(crate) fn wait_for<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "waited {} s for {what}",
            PATIENCE.as_secs()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A child process that does not outlive its test.
pub(crate) struct Process {
    child: Child,
    name: String,
}

impl Process {
    pub(crate) fn start(name: &str, command: &mut Command) -> Self {
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self {
            child,
            name: name.to_owned(),
        }
    }

    /// Starts a program that prints one line of JSON when it is up.
    pub(crate) fn start_until_ready(name: &str, command: &mut Command) -> (Self, Value) {
        let mut process = Self::start(name, command.stdout(Stdio::piped()));
        let stdout = process.child.stdout.take().expect("piped");
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let line = receive
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| panic!("{name} was not ready in time"));
        let ready =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{name} printed {line:?}: {error}"));
        (process, ready)
    }

    /// The power goes out: SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    /// Asks to stop and waits; answers how long it took.
    pub(crate) fn terminate(mut self) -> Duration {
        let began = Instant::now();
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signal");
        let status = wait_for("the process to stop", || self.child.try_wait().expect("wait"));
        assert!(status.success(), "{} ended with {status}", self.name);
        began.elapsed()
    }

    /// Most memory that the process has ever had resident, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a process");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .expect("a peak");
        line.trim()
            .trim_end_matches(" kB")
            .parse::<u64>()
            .expect("a number")
            * 1024
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGHUP.
    pub(crate) fn hang_up(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("signal");
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A free local port. Another program may take it before its user does; tests that restart a server on one
/// port need it anyway.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}

/// One token's view of a cloud.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) url: String,
    pub(crate) token: String,
    pub(crate) project: String,
    agent: ureq::Agent,
}

impl Api {
    pub(crate) fn new(url: &str, token: &str, project: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .build();
        Self {
            url: url.to_owned(),
            token: token.to_owned(),
            project: project.to_owned(),
            agent: config.into(),
        }
    }

    /// Status and body of a GET below `/v1.0`; none when nobody answers.
    pub(crate) fn try_get(&self, path: &str) -> Option<(u16, Value)> {
        let request = self
            .agent
            .get(format!("{}/v1.0{path}", self.url))
            .header("Authorization", format!("Bearer {}", self.token));
        let mut response = request.call().ok()?;
        let status = response.status().as_u16();
        Some((
            status,
            serde_json::from_str(&response.body_mut().read_to_string().ok()?).ok()?,
        ))
    }

    pub(crate) fn get(&self, path: &str) -> (u16, Value) {
        self.try_get(path)
            .unwrap_or_else(|| panic!("GET {path} was not answered with json"))
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send(self.agent.post(format!("{}/v1.0{path}", self.url)), path, body)
    }

    pub(crate) fn put(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send(self.agent.put(format!("{}/v1.0{path}", self.url)), path, body)
    }

    fn send(
        &self,
        request: ureq::RequestBuilder<ureq::typestate::WithBody>,
        path: &str,
        body: &Value,
    ) -> (u16, Value) {
        let request = request.header("Authorization", format!("Bearer {}", self.token));
        let request = request.header("Content-Type", "application/json");
        let mut response = request
            .send(body.to_string())
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        let text = response.body_mut().read_to_string().expect("a text body");
        (
            response.status().as_u16(),
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path} answered {text:?}")),
        )
    }

    pub(crate) fn command(&self, device: &str, body: &Value) -> (u16, Value) {
        self.post(
            &format!("/project/{}/device/{device}/command", self.project),
            body,
        )
    }

    /// The whole history of a device, newest first, page by page.
    pub(crate) fn history(&self, device: &str) -> Vec<Value> {
        let (mut all, mut before) = (Vec::new(), String::new());
        loop {
            let (status, page) = self.get(&format!(
                "/project/{}/messages/{device}?numMessages=100{before}",
                self.project
            ));
            assert_eq!(status, 200, "{page}");
            all.extend(page["messages"].as_array().expect("messages").iter().cloned());
            match page["next"].as_str() {
                Some(next) => before = format!("&before={next}"),
                None => return all,
            }
        }
    }

    /// The newest entry of a device's history that passes, once there is one.
    pub(crate) fn wait_for_message(
        &self,
        device: &str,
        what: &str,
        passes: impl Fn(&Value) -> bool,
    ) -> Value {
        wait_for(what, || {
            let (_, page) = self.try_get(&format!(
                "/project/{}/messages/{device}?numMessages=100",
                self.project
            ))?;
            page["messages"]
                .as_array()?
                .iter()
                .find(|message| passes(message))
                .cloned()
        })
    }
}

/// Checks the first promise on a history: in every stream each number from 1 to the highest is one entry or
/// lies in one gap. Answers how many numbers the streams have.
pub(crate) fn every_seq_exactly_once(history: &[Value]) -> u64 {
    let mut streams: BTreeMap<String, BTreeMap<u64, u32>> = BTreeMap::new();
    for message in history {
        if let Some(gap) = message["payload"]
            .get("gap")
            .filter(|_| message["type"] == "iottlyagent")
        {
            let stream = streams
                .entry(gap["stream"].as_str().expect("stream").to_owned())
                .or_default();
            for seq in gap["from"].as_u64().expect("from")..=gap["to"].as_u64().expect("to") {
                *stream.entry(seq).or_default() += 1;
            }
        } else if let (Some(stream), Some(seq)) = (message["stream"].as_str(), message["seq"].as_u64()) {
            *streams
                .entry(stream.to_owned())
                .or_default()
                .entry(seq)
                .or_default() += 1;
        }
    }
    let mut total = 0;
    for (stream, seqs) in streams {
        let highest = *seqs.keys().next_back().expect("a stream has entries");
        for seq in 1..=highest {
            assert_eq!(
                seqs.get(&seq),
                Some(&1),
                "stream {stream}, seq {seq} of {highest}"
            );
        }
        total += highest;
    }
    total
}

/// Runs `iottly` to its end with `input` on standard input; exit code, standard output, standard error.
pub(crate) fn iottly(args: &[&str], input: &str) -> (Option<i32>, String, String) {
    use std::io::Write;
    let mut child = Command::new(IOTTLY)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("iottly starts");
    let mut stdin = child.stdin.take().expect("piped");
    // A program that refuses its arguments does not read.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("iottly ends");
    let text = |bytes| String::from_utf8(bytes).expect("utf-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}
