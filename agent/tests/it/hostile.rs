//! A cloud, or an attacker in its place, that floods a device: log, disk and queue stay within their limits.

use std::time::{Duration, Instant};

use iottly_protocol::StreamClass::History;
use iottly_protocol::{CommandId, DeviceConfig, Down, Refuse, Report, SignedDirective};
use serde_json::value::RawValue;

use crate::support::fresh;
use crate::support::peer::{Broker, PATIENCE, Peer, Store};
use crate::support::process::{Process, fill};

const BACKLOG: u64 = 300;
/// Maximum size of the log that a flood may cause, in bytes.
const LOG_BYTES: usize = 64 << 10;
/// Maximum number of bytes that a flood may make the device write after its start.
const DISK_BYTES: u64 = 24 << 20;

struct Scene {
    _dir: tempfile::TempDir,
    _broker: Broker,
    peer: Peer,
    agent: Process,
}

/// A device with a backlog, welcomed by a cloud that acknowledges nothing.
async fn scene() -> Scene {
    let (dir, device, store) = fresh();
    store.lock().expect("lock").silent = true;
    let data = dir.path().join("data");
    fill(&data, BACKLOG);
    let broker = Broker::start().await;
    let mut peer = Peer::start(broker.address, device, store).await;
    let agent = Process::start(dir.path(), &data, device, broker.address);
    peer.until("the backlog", |store| store.of(History).len() as u64 >= BACKLOG)
        .await;
    Scene {
        _dir: dir,
        _broker: broker,
        peer,
        agent,
    }
}

impl Scene {
    /// Sends `count` messages as fast as the broker accepts them.
    async fn flood(&self, count: u64, make: impl Fn(u64) -> Vec<u8>) {
        for n in 0..count {
            self.peer.raw(&make(n));
            if n % 200 == 199 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Waits until the device has processed all messages sent, by the result of a command sent after them.
    async fn processed(&mut self) {
        let id = CommandId::random();
        let began = Instant::now();
        // A broker may drop messages that a client does not accept fast enough.
        while !self
            .peer
            .with(|store| store.results().iter().any(|result| result.id == id))
        {
            assert!(
                began.elapsed() < PATIENCE,
                "the device does not answer: {}",
                self.agent.log()
            );
            self.peer.command(id, "echo");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Stops the device, which must end cleanly and in the usual time.
    async fn stop(mut self) {
        self.agent.terminate();
        let status = self.agent.ended(Duration::from_secs(20)).await;
        let log = self.agent.log();
        assert!(
            status.success() && !log.contains("did not stop in time"),
            "{status}: {log}"
        );
        assert!(log.len() < LOG_BYTES, "{} bytes of log", log.len());
        assert!(
            log.lines().all(|line| line.len() < 1000),
            "a foreign text is not cut"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_messages_refusals_and_directives_fill_neither_log_nor_disk() {
    let mut scene = scene().await;
    let before = scene.agent.written();
    scene
        .flood(4_000, |n| {
            format!("{{\"v\":1,\"{}\":{n}}}", "odd".repeat(30)).into_bytes()
        })
        .await;
    let stream = scene.peer.with(|store| {
        *store
            .classes
            .iter()
            .find(|(_, class)| **class == History)
            .expect("a stream")
            .0
    });
    let refuse = |n: u64, reason: String| {
        Down::Refuse(Refuse {
            stream,
            seq: 1 + n % BACKLOG,
            reason,
        })
        .encode()
    };
    scene.flood(100, |n| refuse(n, "r".repeat(100_000))).await;
    scene
        .flood(8_000, |n| refuse(n, format!("reason {n} {}", "r".repeat(200))))
        .await;
    let document = |n: u64| RawValue::from_string(format!("{{\"n\":{n}}}")).expect("json");
    scene
        .flood(4_000, |n| {
            Down::Directive(SignedDirective {
                document: document(n),
            })
            .encode()
        })
        .await;
    scene.processed().await;
    let written = scene.agent.written() - before;
    assert!(written < DISK_BYTES, "{written} bytes were written");
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_written_once_a_second_at_most() {
    let mut scene = scene().await;
    let before = scene.agent.written();
    let text = "x".repeat(30_000);
    let began = Instant::now();
    // Spread over some seconds, so that a disk could keep up with writing each of them.
    for n in 0..3_000u64 {
        let values = RawValue::from_string(format!("{{\"n\":{n},\"text\":\"{text}\"}}")).expect("json");
        scene.peer.send(&Down::Config(DeviceConfig {
            version: n + 1,
            values,
        }));
        if n % 10 == 9 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    scene.processed().await;
    scene
        .peer
        .until_report(
            "the report of the latest settings",
            |report| matches!(report, Report::Config(report) if report.version == 3000),
        )
        .await;
    let written = scene.agent.written() - before;
    let seconds = began.elapsed().as_secs() + 2;
    assert!(
        written < seconds * (512 << 10),
        "{written} bytes were written in {seconds} s"
    );
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_that_is_always_ahead_gets_one_new_stream_and_long_pauses() {
    let mut scene = scene().await;
    let before = scene.agent.written();
    let hellos = scene.peer.with(|store| {
        store.beyond = true;
        store.hellos.len()
    });
    // The next hello follows with a new connection.
    scene.peer.disconnect_device().await;
    scene
        .peer
        .until("a new stream", |store| store.hellos.len() >= hellos + 2)
        .await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    scene.peer.with(|store| {
        assert!(
            store.hellos.len() - hellos < 30,
            "{} hellos",
            store.hellos.len() - hellos
        );
        let streams: std::collections::BTreeSet<_> = store
            .hellos
            .iter()
            .flat_map(|hello| hello.streams.iter().map(|info| info.stream.to_string()))
            .collect();
        assert!(streams.len() <= 4, "{} streams", streams.len());
        (store.beyond, store.silent) = (false, false);
    });
    let written = scene.agent.written() - before;
    assert!(written < DISK_BYTES, "{written} bytes were written");
    let payload = format!("{{\"n\":{BACKLOG}}}");
    let arrived = |store: &Store| {
        let newest = store.hellos.last().expect("hellos").streams[0].stream;
        store
            .records
            .get(&newest)
            .is_some_and(|records| records.values().any(|text| text.contains(&payload)))
    };
    tokio::time::timeout(
        2 * PATIENCE,
        scene.peer.until("the backlog in the new stream", arrived),
    )
    .await
    .expect("in time");
    scene.stop().await;
}
