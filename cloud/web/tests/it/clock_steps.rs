//! The system's clock steps, by hours and by years, at every phase of devices' connections and of commands.

use crate::device;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use device::{Raw, eventually};
use iottly_cloud::clock;
use iottly_cloud::command::CommandRequest;
use iottly_cloud::{Cloud, CloudConfig, Services};
use iottly_core::command::seeded_definitions;
use iottly_core::model::{CommandStatus, Cursor, Project, Scope, SecretHash};
use iottly_protocol::{DeviceId, Down, GroupId, ProjectId, StreamClass, StreamId, encode_batch};
use iottly_store::{CommandQuery, NewDevice, ScanBounds};
use serde_json::json;

const SECRET: &str = "a-secret-of-a-device";
const HOUR: i64 = 60 * 60 * 1000;
const YEARS: i64 = 10 * 365 * 24 * HOUR;
const STEPS: [i64; 4] = [3 * HOUR, -3 * HOUR, YEARS, -YEARS];

struct Setup {
    cloud: Cloud,
    services: Services,
    scope: Scope,
    offset: Arc<AtomicI64>,
    data: tempfile::TempDir,
}

async fn start(data: tempfile::TempDir, offset: i64) -> Setup {
    let offset = Arc::new(AtomicI64::new(offset));
    let mut config = CloudConfig::new(data.path().to_owned(), "127.0.0.1:0".parse().expect("an address"));
    config.presence_grace = Duration::from_secs(3);
    let moved = Arc::clone(&offset);
    config.clock = Arc::new(move || clock::now() + moved.load(Ordering::Relaxed));
    let cloud = Cloud::start(config).await.expect("the cloud starts");
    let services = cloud.services();
    let scope = Scope {
        project: ProjectId::from_bytes([1; 12]),
        device: DeviceId::from_bytes([1; 16]),
    };
    Setup {
        cloud,
        services,
        scope,
        offset,
        data,
    }
}

async fn setup() -> Setup {
    let setup = start(tempfile::tempdir().expect("a folder"), 0).await;
    let store = &setup.services.store;
    let project = Project {
        id: setup.scope.project,
        name: "p".into(),
        created: 0,
        retention_days: Some(30),
    };
    let group = GroupId::from_bytes([1; 16]);
    store
        .create_project(&project, group, &seeded_definitions())
        .await
        .expect("created");
    let secret = SecretHash::of(SECRET.as_bytes());
    store
        .create_device(&NewDevice {
            scope: setup.scope,
            name: "d".into(),
            group,
            secret,
        })
        .await
        .expect("created");
    setup
}

impl Setup {
    fn step(&self, by: i64) {
        self.offset.store(by, Ordering::Relaxed);
    }

    async fn connect(&self) -> Raw {
        Raw::connect(
            self.cloud.mqtt_addr().expect("a listener"),
            self.scope.device,
            SECRET,
        )
        .await
    }

    async fn submit(&self, ttl_ms: Option<i64>) -> iottly_core::model::CommandRecord {
        let values = json!({"echo.content": "x"})
            .as_object()
            .expect("an object")
            .clone();
        let request = CommandRequest {
            cmd_type: "echo".into(),
            values,
            ttl_ms,
        };
        let now = self.services.time.received();
        self.services
            .commands
            .submit(self.scope, &request, now)
            .await
            .expect("accepted")
    }

    /// Returns the device's messages in the order of the history's pages, newest first.
    async fn paged(&self, size: usize) -> Vec<u64> {
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let bounds = ScanBounds {
                before,
                ..ScanBounds::default()
            };
            let page = self
                .services
                .store
                .scan(self.scope, bounds, size)
                .await
                .expect("reads");
            let Some(last) = page.last() else { return found };
            before = Some(Cursor {
                timestamp: last.timestamp,
                id: last.id,
            });
            found.extend(page.iter().filter_map(|entry| entry.origin).map(|(_, seq)| seq));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_stay_in_the_order_of_receipt() {
    let setup = setup().await;
    let mut device = setup.connect().await;
    let stream = StreamId::random();
    device.hello(&[(stream, StreamClass::History, 1, 1)]).await;
    let mut seq = 0;
    let mut send = async |device: &mut Raw| {
        seq += 3;
        device.batch(stream, seq - 2, 3).await;
        device.acked(stream, seq).await;
        seq
    };
    for by in STEPS.into_iter().chain([0]) {
        // Between two messages, between a message and its ack, and back.
        for offset in [by, 0, by] {
            setup.step(offset);
            send(&mut device).await;
        }
        setup.step(0);
        let last = send(&mut device).await;
        let expected: Vec<u64> = (1..=last).rev().collect();
        assert_eq!(setup.paged(4).await, expected, "after a step of {by} ms");
        let newest = setup
            .services
            .store
            .scan(setup.scope, ScanBounds::default(), 1)
            .await
            .expect("reads");
        let off = (newest[0].timestamp - clock::now()).abs();
        assert!(
            off <= 3 * HOUR + 60_000,
            "a step of {by} ms leaves messages dated {off} ms wrong"
        );
    }
    setup.cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_live_as_long_as_they_were_given_and_keep_their_order() {
    for by in STEPS {
        let setup = setup().await;
        let store = &setup.services.store;
        let expire = async || {
            store
                .expire_commands(setup.services.time.deadline())
                .await
                .expect("expires")
        };
        let status = async |id| {
            store
                .command(setup.scope, id)
                .await
                .expect("reads")
                .expect("exists")
                .status
        };
        let (first, short) = (setup.submit(None).await, setup.submit(Some(3_000)).await);
        setup.step(by);
        assert_eq!(expire().await, 0, "a step of {by} ms expires nothing");
        let second = setup.submit(None).await;
        setup.step(0);
        let third = setup.submit(None).await;
        let list = store
            .commands(
                setup.scope,
                &CommandQuery {
                    limit: 10,
                    ..CommandQuery::default()
                },
            )
            .await
            .expect("lists");
        let ids: Vec<_> = list.iter().map(|command| command.id).collect();
        assert!(ids.iter().position(|id| *id == first.id) > ids.iter().position(|id| *id == second.id));
        // Sent while the clock is off: the device gets the remaining time.
        setup.step(by);
        let mut device = setup.connect().await;
        let controls = StreamId::random();
        device.hello(&[(controls, StreamClass::Control, 1, 1)]).await;
        let mut got = Vec::new();
        while got.len() < 3 {
            if let Down::Command(command) = device.down().await
                && command.id != short.id
            {
                assert!(
                    (23 * HOUR as u64..=24 * HOUR as u64).contains(&command.ttl_ms),
                    "{} after {by}",
                    command.ttl_ms
                );
                got.push(command.id);
            }
        }
        assert_eq!(got[0], first.id);
        assert!(got.contains(&third.id));
        eventually("the short one expires by its own time", || async {
            expire().await;
            status(short.id).await == CommandStatus::Expired
        })
        .await;
        assert_eq!(status(first.id).await, CommandStatus::Sent);
        // Waiting for an answer, over a step back.
        let wait = setup
            .services
            .commands
            .settled(setup.scope, first.id, Duration::from_secs(20));
        let answer = async {
            setup.step(-by);
            let record = format!(r#"{{"result":{{"id":"{}","state":"done","at_ms":1}}}}"#, first.id);
            device.up(encode_batch(controls, 1, [record.as_bytes()])).await;
        };
        let (settled, ()) = tokio::join!(wait, answer);
        assert_eq!(
            settled.expect("reads").expect("exists").status,
            CommandStatus::Answered
        );
        setup.cloud.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_has_its_grace_whatever_the_clock_says_at_the_restart() {
    for by in STEPS {
        let before = setup().await;
        let mut device = before.connect().await;
        let stream = StreamId::random();
        device.hello(&[(stream, StreamClass::History, 1, 1)]).await;
        before.step(by);
        let command = before.submit(None).await;
        before.cloud.shutdown().await;
        let after = start(before.data, by).await;
        let online = async || {
            after
                .services
                .store
                .device(after.scope)
                .await
                .expect("reads")
                .expect("exists")
                .online
        };
        assert!(online().await, "a device that may still come back");
        after.step(0);
        let mut device = after.connect().await;
        device.hello(&[(stream, StreamClass::History, 1, 1)]).await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert!(online().await);
        let history = after
            .services
            .store
            .scan(after.scope, ScanBounds::default(), 100)
            .await
            .expect("reads");
        let said = history
            .iter()
            .filter(|entry| entry.payload.get().contains("disconnected"))
            .count();
        assert_eq!(said, 0, "the restart leaves no trace after a step of {by} ms");
        after.step(-by);
        device.kill().await;
        eventually("its end is noticed", || async { !online().await }).await;
        // Decisions made before the step are based on the earlier clock: no command lives longer than it may.
        let longest = iottly_core::command::MAX_TTL_MS;
        after
            .services
            .store
            .expire_commands(after.services.time.deadline())
            .await
            .expect("expires");
        let record = after
            .services
            .store
            .command(after.scope, command.id)
            .await
            .expect("reads")
            .expect("exists");
        assert!(
            record.expires <= after.services.time.deadline() + longest,
            "after a step of {by} ms"
        );
        after.cloud.shutdown().await;
    }
}
