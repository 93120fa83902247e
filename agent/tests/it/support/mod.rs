//! Helpers of the agent's tests: the other end of the wire, a cloud behind TLS, the agent as a process, mounted file systems.

pub(crate) mod mount;
pub(crate) mod peer;
pub(crate) mod process;
pub(crate) mod site;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use iottly_agent::outbox::Outbox;
use iottly_agent::{Agent, AgentConfig, AgentError, AgentHandle, AgentStatus, DataDirError, LinkState};
use iottly_protocol::StreamClass::History;
use iottly_protocol::{DeviceId, Message, MessageKind, Record, Secret};
use serde_json::value::RawValue;

use self::peer::{PATIENCE, Store};

/// Configuration of an agent without firmware on the data folder `dir`.
pub(crate) fn config(dir: &Path, device: DeviceId, broker: SocketAddr) -> AgentConfig {
    AgentConfig::new(device, Secret::new("a secret"), broker.into(), dir.to_owned())
}

/// An empty folder, a new device, and an empty store for its peer.
pub(crate) fn fresh() -> (tempfile::TempDir, DeviceId, Arc<Mutex<Store>>) {
    (
        tempfile::tempdir().expect("dir"),
        DeviceId::random(),
        Arc::default(),
    )
}

/// Starts an agent. The folder of one that was dropped is free only once its last thread has ended.
pub(crate) async fn start(dir: &Path, device: DeviceId, broker: SocketAddr) -> AgentHandle {
    for _ in 0..600 {
        match Agent::start(config(dir, device, broker)).await {
            Err(AgentError::DataDir(DataDirError::InUse(_))) => {
                tokio::time::sleep(Duration::from_millis(50)).await
            }
            started => return started.expect("the agent starts"),
        }
    }
    panic!("the data folder stays locked");
}

/// Waits until the agent's status satisfies `condition`.
pub(crate) async fn until_status(agent: &AgentHandle, what: &str, condition: impl Fn(&AgentStatus) -> bool) {
    let mut status = agent.status();
    tokio::time::timeout(PATIENCE, status.wait_for(condition))
        .await
        .unwrap_or_else(|_| panic!("{what} did not happen in time"))
        .expect("the agent lives");
}

/// Waits until the cloud has welcomed the agent.
pub(crate) async fn online(agent: &AgentHandle) {
    until_status(agent, "online", |status| status.link == LinkState::Online).await;
}

/// Message `n` with a payload, dated `at_ms`.
fn encoded(at_ms: u64, payload: String) -> Vec<u8> {
    let payload = RawValue::from_string(payload).expect("json");
    Record::Message(Message {
        kind: MessageKind::UserDefined,
        at_ms,
        at_error_ms: None,
        channel: None,
        payload: &payload,
        firmware: None,
    })
    .encode()
}

/// Message `n` as a queue holds it, dated `n`.
pub(crate) fn message(n: u64) -> Vec<u8> {
    encoded(n, format!("{{\"n\":{n}}}"))
}

/// Message `n` with 20 kB of payload, to fill a queue sooner.
pub(crate) fn large_message(n: u64) -> Vec<u8> {
    encoded(n, format!("{{\"n\":{n},\"fill\":\"{}\"}}", "x".repeat(20_000)))
}

/// Message `n` as firmware sends it, dated by the queue.
pub(crate) fn dated_message(outbox: &Outbox, n: u64) -> Vec<u8> {
    encoded(outbox.now_ms(), format!("{{\"n\":{n}}}"))
}

/// Offers the messages of a range to a queue.
pub(crate) fn push(outbox: &Outbox, range: std::ops::RangeInclusive<u64>) {
    for n in range {
        outbox.offer(History, message(n)).expect("room");
    }
}

/// Date of this machine, in unix milliseconds.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("a date")
}
