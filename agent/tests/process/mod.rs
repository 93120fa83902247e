//! The agent as a process of its own, with its log in a file.
#![allow(dead_code, reason = "each test program uses its part")]

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use iottly_agent::outbox::{Pending, Queue, SledQueue};
use iottly_protocol::StreamClass::History;
use iottly_protocol::{DeviceId, Message, MessageKind, Record};

/// A running agent; killed when dropped.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts the agent on the folder `data`; its configuration and log lie in `beside`.
    pub(crate) fn start(beside: &Path, data: &Path, device: DeviceId, broker: SocketAddr) -> Self {
        let (config, log) = (beside.join("agent.toml"), beside.join("log"));
        fs::write(
            &config,
            format!("device_id = \"{device}\"\nsecret = \"a secret\"\nbroker = \"{broker}\"\n"),
        )
        .expect("written");
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
            .stderr(out)
            .spawn()
            .expect("the agent starts");
        Self { child, log }
    }

    /// What the agent has written into its log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("read")
    }

    /// Bytes that it has sent to the disk.
    pub(crate) fn written(&self) -> u64 {
        let io = fs::read_to_string(format!("/proc/{}/io", self.child.id())).expect("it runs");
        let line = io
            .lines()
            .find_map(|line| line.strip_prefix("write_bytes: "))
            .expect("a count");
        line.parse().expect("a number")
    }

    /// Asks it to stop.
    pub(crate) fn terminate(&self) {
        let done = Command::new("kill")
            .arg("-TERM")
            .arg(self.child.id().to_string())
            .status();
        assert!(done.expect("kill").success());
    }

    /// Waits for its end.
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

/// A message as a queue holds it.
pub(crate) fn message(n: u64) -> Vec<u8> {
    let payload = serde_json::value::RawValue::from_string(format!("{{\"n\":{n}}}")).expect("json");
    Record::Message(Message {
        kind: MessageKind::UserDefined,
        at_ms: n,
        at_error_ms: None,
        channel: None,
        payload: &payload,
    })
    .encode()
}

/// Puts messages 1 to `last` into the queue of a device that does not run.
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
