//! The agent as a separate process, with its log in a file.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use iottly_agent::outbox::{Pending, Queue, SledQueue};
use iottly_protocol::DeviceId;
use iottly_protocol::StreamClass::History;

use super::message;

/// Running agent; killed when dropped.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts the agent on the folder `data`, with its configuration and log in `beside`.
    pub(crate) fn start(beside: &Path, data: &Path, device: DeviceId, broker: SocketAddr) -> Self {
        let config = format!("device_id = \"{device}\"\nsecret = \"a secret\"\nbroker = \"{broker}\"\n");
        Self::start_with(beside, data, &config)
    }

    /// Starts the agent with a configuration, as [`start`](Self::start) does.
    pub(crate) fn start_with(beside: &Path, data: &Path, text: &str) -> Self {
        Self::start_under(beside, data, text, None)
    }

    /// Starts the agent as [`start_with`](Self::start_with) does, under a service manager that listens at `notify`.
    pub(crate) fn start_under(beside: &Path, data: &Path, text: &str, notify: Option<&Path>) -> Self {
        let config = beside.join("agent.toml");
        let log = beside.join("log");
        fs::write(&config, text).expect("written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_iottly-agent"));
        command
            .arg("run")
            .arg("--config")
            .arg(config)
            .arg("--data")
            .arg(data);
        let out = File::options().append(true).create(true).open(&log).expect("log");
        let child = command
            .env("IOTTLY_LOG", "info")
            .env_remove("NOTIFY_SOCKET")
            .envs(notify.map(|path| ("NOTIFY_SOCKET", path)))
            .env_remove("HTTPS_PROXY")
            .env_remove("https_proxy")
            .stderr(out)
            .spawn()
            .expect("the agent starts");
        Self { child, log }
    }

    /// Returns the log so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("read")
    }

    /// Returns the bytes that the process has written to the disk.
    pub(crate) fn written(&self) -> u64 {
        let io = fs::read_to_string(format!("/proc/{}/io", self.child.id())).expect("it runs");
        let line = io
            .lines()
            .find_map(|line| line.strip_prefix("write_bytes: "))
            .expect("a count");
        line.parse().expect("a number")
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        let done = Command::new("kill")
            .arg("-TERM")
            .arg(self.child.id().to_string())
            .status();
        assert!(done.expect("kill").success());
    }

    /// Waits at most `patience` for the end of the process.
    pub(crate) async fn ended(&mut self, patience: Duration) -> ExitStatus {
        let until = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < until, "the agent does not end: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Puts messages 1 to `last` into the queue of a stopped device.
pub(crate) fn fill(data: &Path, last: u64) {
    fs::create_dir_all(data).expect("folder");
    let (mut queue, _) = SledQueue::open(&data.join("queue")).expect("queue");
    let batch: Vec<_> = (1..=last)
        .map(|n| Pending {
            class: History,
            record: message(n),
        })
        .collect();
    for batch in batch.chunks(500) {
        queue.push_batch(batch).expect("stored");
    }
}
