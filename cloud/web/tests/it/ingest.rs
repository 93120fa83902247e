//! From a device's publish to the history, over a real broker and a real database.

use crate::device;
use std::sync::Arc;
use std::time::Duration;

use device::{Raw, eventually, message};
use iottly_cloud::clock;
use iottly_cloud::command::CommandRequest;
use iottly_cloud::live::{LiveEvent, Watch};
use iottly_cloud::{Cloud, CloudConfig, Services};
use iottly_core::command::seeded_definitions;
use iottly_core::model::{CommandStatus, Project, Scope, SecretHash, StoredMessage};
use iottly_protocol::{
    CommandResult, CommandState, DeviceId, Down, FirmwareReport, FirmwareState, GapReason, GroupId, Level,
    LogLine, MessageKind, ProjectId, Record, Report, StreamClass, StreamId, Up, encode_batch,
};
use iottly_store::{NewDevice, ScanBounds};
use serde_json::{Value, json};

const SECRET: &str = "a-secret-of-a-device";

async fn start(data: &std::path::Path) -> Cloud {
    let mut config = CloudConfig::new(data.to_owned(), "127.0.0.1:0".parse().expect("an address"));
    config.presence_grace = Duration::from_millis(200);
    Cloud::start(config).await.expect("the cloud starts")
}

async fn project(services: &Services, byte: u8) -> ProjectId {
    let project = Project {
        id: ProjectId::from_bytes([byte; 12]),
        name: format!("project {byte}"),
        created: 0,
        retention_days: None,
    };
    services
        .store
        .create_project(&project, GroupId::from_bytes([byte; 16]), &seeded_definitions())
        .await
        .expect("created");
    project.id
}

async fn new_device(services: &Services, project: ProjectId) -> Scope {
    let group = GroupId::from_bytes([project.as_bytes()[0]; 16]);
    let scope = Scope {
        project,
        device: DeviceId::random(),
    };
    let device = NewDevice {
        scope,
        name: "device".into(),
        group,
        secret: SecretHash::of(SECRET.as_bytes()),
    };
    services.store.create_device(&device).await.expect("created");
    scope
}

/// Returns the whole history, oldest first.
async fn history(services: &Services, scope: Scope) -> Vec<StoredMessage> {
    let mut all = services
        .store
        .scan(scope, ScanBounds::default(), 1_000_000)
        .await
        .expect("scans");
    all.reverse();
    all
}

fn numbers(history: &[StoredMessage], stream: StreamId) -> Vec<u64> {
    let mut numbers: Vec<u64> = history
        .iter()
        .filter_map(|m| m.origin)
        .filter(|(s, _)| *s == stream)
        .map(|(_, seq)| seq)
        .collect();
    numbers.sort_unstable();
    numbers
}

fn payloads(history: &[StoredMessage], kind: MessageKind) -> Vec<Value> {
    let of_kind = history.iter().filter(|message| message.kind == kind);
    of_kind
        .map(|message| serde_json::from_str(message.payload.get()).expect("JSON"))
        .collect()
}

struct Setup {
    cloud: Cloud,
    services: Services,
    scope: Scope,
    stream: StreamId,
    data: tempfile::TempDir,
}

async fn setup() -> Setup {
    let data = tempfile::tempdir().expect("a folder");
    let cloud = start(data.path()).await;
    let services = cloud.services();
    let tenant = project(&services, 1).await;
    let scope = new_device(&services, tenant).await;
    Setup {
        cloud,
        services,
        scope,
        stream: StreamId::random(),
        data,
    }
}

impl Setup {
    async fn connect(&self) -> Raw {
        Raw::connect(
            self.cloud.mqtt_addr().expect("a listener"),
            self.scope.device,
            SECRET,
        )
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_number_is_stored_once_however_it_arrives() {
    let setup = setup().await;
    let mut device = setup.connect().await;
    let welcome = device
        .hello(&[(setup.stream, StreamClass::History, 1, 101)])
        .await;
    assert_eq!(
        welcome
            .streams
            .iter()
            .map(|position| position.upto)
            .collect::<Vec<_>>(),
        [0]
    );
    for first in [51, 1, 51, 26, 1, 76, 26] {
        device.batch(setup.stream, first, 25).await;
    }
    device.acked(setup.stream, 100).await;
    let history = history(&setup.services, setup.scope).await;
    assert_eq!(numbers(&history, setup.stream), (1..=100).collect::<Vec<_>>());
    for entry in history.iter().filter(|entry| entry.origin.is_some()) {
        let seq = entry.origin.expect("filtered").1;
        assert_eq!(
            (entry.payload.get(), entry.device_timestamp),
            (format!(r#"{{"n":{seq}}}"#).as_str(), seq as i64)
        );
    }
    assert!(
        history
            .windows(2)
            .all(|pair| (pair[0].timestamp, pair[0].id) < (pair[1].timestamp, pair[1].id))
    );
    setup.cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_record_is_refused_and_its_neighbours_stay() {
    let setup = setup().await;
    let mut device = setup.connect().await;
    device.hello(&[(setup.stream, StreamClass::History, 1, 4)]).await;
    let deep = format!(
        r#"{{"message":{{"type":"userdefined","at_ms":1,"payload":{}1{}}}}}"#,
        "[".repeat(33),
        "]".repeat(33)
    );
    device
        .up(encode_batch(
            setup.stream,
            1,
            [message(1).as_bytes(), deep.as_bytes(), message(3).as_bytes()],
        ))
        .await;
    let Down::Refuse(refuse) = device.down().await else {
        panic!("the refusal comes before the ack")
    };
    assert_eq!(
        (refuse.seq, refuse.reason.as_str()),
        (2, "the payload nests 33 levels deep, the limit is 32")
    );
    device.acked(setup.stream, 3).await;
    let history = history(&setup.services, setup.scope).await;
    assert_eq!(numbers(&history, setup.stream), [1, 3]);
    let gap = json!({"gap": {"stream": setup.stream, "from": 2, "to": 2, "count": 1, "reason": "refused"}});
    assert!(payloads(&history, MessageKind::IottlyAgent).contains(&gap));
    setup.cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gaps_of_the_device_and_of_a_restore_are_in_the_history() {
    let setup = setup().await;
    let mut device = setup.connect().await;
    let other = StreamId::random();
    let welcome = device
        .hello(&[
            (setup.stream, StreamClass::History, 1, 9),
            (other, StreamClass::History, 5, 5),
        ])
        .await;
    assert_eq!(
        welcome
            .streams
            .iter()
            .map(|position| position.upto)
            .collect::<Vec<_>>(),
        [0, 4]
    );
    device.batch(setup.stream, 1, 2).await;
    let gap = iottly_protocol::Gap {
        stream: setup.stream,
        from: 3,
        to: 8,
        reason: GapReason::Budget,
    };
    device.up(Up::Gap(gap).encode()).await;
    device.batch(setup.stream, 9, 1).await;
    device.acked(setup.stream, 9).await;
    let told = payloads(
        &history(&setup.services, setup.scope).await,
        MessageKind::IottlyAgent,
    );
    assert!(
        told.contains(
            &json!({"gap": {"stream": setup.stream, "from": 3, "to": 8, "count": 6, "reason": "budget"}})
        ),
        "{told:?}"
    );
    assert!(
        told.contains(
            &json!({"gap": {"stream": other, "from": 1, "to": 4, "count": 4, "reason": "restore"}})
        ),
        "{told:?}"
    );
    setup.cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_told_once_and_harms_nobody() {
    let setup = setup().await;
    let mut device = setup.connect().await;
    for garbage in [
        &b"\x00\xff not json"[..],
        b"{}",
        b"",
        b"{\"v\":1,\"launch\":{}}",
        b"[[[[[[",
        b"{\"v\":99,\"hello\":{}}",
    ] {
        device.up(garbage.to_vec()).await;
    }
    device.hello(&[(setup.stream, StreamClass::History, 1, 2)]).await;
    device.batch(setup.stream, 1, 1).await;
    device.acked(setup.stream, 1).await;
    let history = history(&setup.services, setup.scope).await;
    let errors: Vec<_> = payloads(&history, MessageKind::IottlyAgent)
        .into_iter()
        .filter(|told| !told["protocol"].is_null())
        .collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0]["protocol"]["error"]
            .as_str()
            .is_some_and(|reason| reason.contains("not valid"))
    );
    assert_eq!(numbers(&history, setup.stream), [1]);
    setup.cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_that_dies_keeps_what_it_acknowledged() {
    let setup = setup().await;
    let Setup {
        cloud,
        services,
        scope,
        stream,
        data,
    } = setup;
    let mut device = Raw::connect(cloud.mqtt_addr().expect("a listener"), scope.device, SECRET).await;
    device.hello(&[(stream, StreamClass::History, 1, 2001)]).await;
    for first in (1..=1000).step_by(100) {
        device.batch(stream, first, 100).await;
    }
    device.acked(stream, 100).await;
    // A copy of an open database is like the one that a killed process leaves.
    let copy = tempfile::tempdir().expect("a folder");
    for name in ["cloud.db-wal", "cloud.db"] {
        std::fs::copy(data.path().join(name), copy.path().join(name)).expect("copied");
    }
    cloud.shutdown().await;
    drop(services);
    device.kill().await;

    let cloud = start(copy.path()).await;
    let mut device = Raw::connect(cloud.mqtt_addr().expect("a listener"), scope.device, SECRET).await;
    let welcome = device.hello(&[(stream, StreamClass::History, 1, 2001)]).await;
    let upto = welcome.streams[0].upto;
    assert!((100..=1000).contains(&upto), "{upto}");
    for first in (upto + 1 - 50..=1900).step_by(100) {
        device.batch(stream, first, 100).await;
    }
    device.acked(stream, 1900).await;
    let history = history(&cloud.services(), scope).await;
    let stored = numbers(&history, stream);
    assert_eq!(stored, (1..=stored.len() as u64).collect::<Vec<_>>());
    assert!(stored.len() >= 1900);
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_is_told_once_per_change() {
    let setup = setup().await;
    let told = async |setup: &Setup| {
        let all = payloads(
            &history(&setup.services, setup.scope).await,
            MessageKind::IottlyAgent,
        );
        all.iter()
            .filter_map(|told| told["connectionstatus"].as_str().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    let online = |services: Services, scope: Scope, wanted: bool| async move {
        eventually("presence", || async {
            services
                .store
                .device(scope)
                .await
                .expect("reads")
                .is_some_and(|device| device.online == wanted)
        })
        .await;
    };
    let mut device = setup.connect().await;
    device.hello(&[]).await;
    online(setup.services.clone(), setup.scope, true).await;
    device.stop().await;
    online(setup.services.clone(), setup.scope, false).await;
    let mut device = setup.connect().await;
    device.hello(&[]).await;
    let mut newer = setup.connect().await;
    newer.hello(&[]).await;
    device.ended().await;
    newer.kill().await;
    online(setup.services.clone(), setup.scope, false).await;
    assert_eq!(
        told(&setup).await,
        ["connected", "disconnected", "connected", "disconnected"]
    );
    let device = setup
        .services
        .store
        .device(setup.scope)
        .await
        .expect("reads")
        .expect("exists");
    assert_eq!(device.agent_version.as_deref(), Some("9.9.9"));
    setup.cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_cloud_settles_who_is_gone() {
    let Setup {
        cloud,
        services,
        scope,
        data,
        ..
    } = setup().await;
    let other = new_device(&services, scope.project).await;
    let mut gone = Raw::connect(cloud.mqtt_addr().expect("a listener"), scope.device, SECRET).await;
    gone.hello(&[]).await;
    let mut back = Raw::connect(cloud.mqtt_addr().expect("a listener"), other.device, SECRET).await;
    back.hello(&[]).await;
    cloud.shutdown().await;
    drop(services);
    let cloud = start(data.path()).await;
    let services = cloud.services();
    let mut back = Raw::connect(cloud.mqtt_addr().expect("a listener"), other.device, SECRET).await;
    back.hello(&[]).await;
    eventually("the one that did not come back counts as gone", || async {
        !services
            .store
            .device(scope)
            .await
            .expect("reads")
            .expect("exists")
            .online
    })
    .await;
    assert!(
        services
            .store
            .device(other)
            .await
            .expect("reads")
            .expect("exists")
            .online
    );
    let told = payloads(&history(&services, other).await, MessageKind::IottlyAgent);
    assert_eq!(
        told,
        [json!({"connectionstatus": "connected"})],
        "a restart leaves no trace"
    );
    cloud.shutdown().await;
}

fn control(record: &Record<'_>) -> String {
    String::from_utf8(record.encode()).expect("JSON is text")
}

fn echo(content: &str) -> CommandRequest {
    let values = json!({"echo.content": content})
        .as_object()
        .expect("an object")
        .clone();
    CommandRequest {
        cmd_type: "echo".into(),
        values,
        ttl_ms: None,
    }
}

async fn next_command(device: &mut Raw) -> iottly_protocol::Command {
    loop {
        if let Down::Command(command) = device.down().await {
            return command;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_reach_the_device_and_their_results_come_back() {
    let setup = setup().await;
    let (services, scope) = (&setup.services, setup.scope);
    let early = services
        .commands
        .submit(scope, &echo("early"), clock::now())
        .await
        .expect("accepted");
    assert_eq!(early.status, CommandStatus::Queued);
    let mut device = setup.connect().await;
    let controls = StreamId::random();
    device.hello(&[(controls, StreamClass::Control, 1, 1)]).await;
    let resent = next_command(&mut device).await;
    assert_eq!(
        (resent.id, resent.values.get()),
        (early.id, r#"{"content":"early"}"#)
    );
    assert!(resent.ttl_ms > 23 * 3600 * 1000 && resent.ttl_ms <= 24 * 3600 * 1000);
    let live = services
        .commands
        .submit(scope, &echo("live"), clock::now())
        .await
        .expect("accepted");
    assert_eq!(next_command(&mut device).await.id, live.id);
    assert_eq!(live.status, CommandStatus::Sent);

    let result = |id, state, detail: Option<&str>| {
        control(&Record::Result(CommandResult {
            id,
            state,
            detail: detail.map(Into::into),
            at_ms: 5,
        }))
    };
    let records = [
        result(early.id, CommandState::Delivered, None),
        result(early.id, CommandState::Failed, Some("no handler")),
        result(early.id, CommandState::Done, None),
        result(early.id, CommandState::Delivered, None),
        result(live.id, CommandState::Delivered, None),
    ];
    device
        .up(encode_batch(controls, 1, records.iter().map(String::as_bytes)))
        .await;
    device.acked(controls, 5).await;
    let status = async |id| {
        services
            .store
            .command(scope, id)
            .await
            .expect("reads")
            .expect("exists")
    };
    let failed = status(early.id).await;
    assert_eq!(
        (failed.status, failed.detail.as_deref()),
        (CommandStatus::Failed, Some("no handler")),
        "final stays final"
    );
    assert_eq!(status(live.id).await.status, CommandStatus::Delivered);

    device.kill().await;
    let mut device = setup.connect().await;
    device.hello(&[(controls, StreamClass::Control, 6, 6)]).await;
    assert_eq!(
        next_command(&mut device).await.id,
        live.id,
        "only the open one comes again"
    );
    assert_eq!(
        history(services, scope)
            .await
            .iter()
            .filter(|entry| entry.origin.is_some())
            .count(),
        0,
        "control records are not in the history"
    );
    setup.cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_nobody_took_expires_and_the_devices_word_corrects_it() {
    let setup = setup().await;
    let (services, scope) = (&setup.services, setup.scope);
    let request = CommandRequest {
        ttl_ms: Some(1),
        ..echo("short")
    };
    let command = services
        .commands
        .submit(scope, &request, clock::now())
        .await
        .expect("accepted");
    assert_eq!(
        services
            .store
            .expire_commands(command.expires - 1)
            .await
            .expect("writes"),
        0
    );
    services
        .store
        .expire_commands(command.expires)
        .await
        .expect("writes");
    let status = async || {
        services
            .store
            .command(scope, command.id)
            .await
            .expect("reads")
            .expect("exists")
            .status
    };
    assert_eq!(status().await, CommandStatus::Expired);
    let mut device = setup.connect().await;
    let controls = StreamId::random();
    device.hello(&[(controls, StreamClass::Control, 1, 2)]).await;
    let done = control(&Record::Result(CommandResult {
        id: command.id,
        state: CommandState::Done,
        detail: None,
        at_ms: 5,
    }));
    device.up(encode_batch(controls, 1, [done.as_bytes()])).await;
    device.acked(controls, 1).await;
    assert_eq!(status().await, CommandStatus::Answered);
    setup.cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_and_logs_update_the_device_and_stay_bounded() {
    let setup = setup().await;
    let (services, scope) = (&setup.services, setup.scope);
    let mut device = setup.connect().await;
    let controls = StreamId::random();
    device.hello(&[(controls, StreamClass::Control, 1, 1)]).await;
    let report = FirmwareReport {
        state: FirmwareState::Running,
        digest: "ab".repeat(32),
        detail: None,
        at_ms: 7,
    };
    let first = control(&Record::Report(Report::Firmware(report.clone())));
    device.up(encode_batch(controls, 1, [first.as_bytes()])).await;
    for batch in 0..3u64 {
        let line = |n: u64| {
            control(&Record::Log(LogLine {
                level: Level::Warn,
                text: format!("line {n}"),
                at_ms: n,
                firmware: None,
            }))
        };
        let lines: Vec<_> = (0..500).map(|n| line(batch * 500 + n)).collect();
        device
            .up(encode_batch(
                controls,
                2 + batch * 500,
                lines.iter().map(String::as_bytes),
            ))
            .await;
    }
    device.acked(controls, 1501).await;
    assert_eq!(
        services
            .store
            .device(scope)
            .await
            .expect("reads")
            .expect("exists")
            .firmware,
        Some(report)
    );
    let logs = services.store.logs(scope, 5000).await.expect("reads");
    assert_eq!(
        (logs.len(), logs[0].text.as_str(), logs[999].text.as_str()),
        (1000, "line 1499", "line 500")
    );
    assert_eq!(logs[0].level, Level::Warn);
    setup.cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tenants_share_nothing() {
    let setup = setup().await;
    let services = &setup.services;
    let foreign_project = project(services, 2).await;
    let foreign = new_device(services, foreign_project).await;
    let mut mine = setup.connect().await;
    let mut theirs = Raw::connect(
        setup.cloud.mqtt_addr().expect("a listener"),
        foreign.device,
        SECRET,
    )
    .await;
    let mut watch = services
        .live
        .watch(Watch {
            project: foreign_project,
            device: None,
        })
        .expect("admitted");
    // Even the same stream id belongs to each device alone.
    for device in [&mut mine, &mut theirs] {
        device.hello(&[(setup.stream, StreamClass::History, 1, 1)]).await;
    }
    mine.batch(setup.stream, 1, 7).await;
    mine.acked(setup.stream, 7).await;
    theirs.batch(setup.stream, 1, 3).await;
    theirs.acked(setup.stream, 3).await;
    assert_eq!(
        numbers(&history(services, setup.scope).await, setup.stream).len(),
        7
    );
    assert_eq!(numbers(&history(services, foreign).await, setup.stream).len(), 3);
    for crossed in [
        Scope {
            project: foreign_project,
            ..setup.scope
        },
        Scope {
            device: foreign.device,
            ..setup.scope
        },
    ] {
        assert!(history(services, crossed).await.is_empty());
        assert!(services.store.device(crossed).await.expect("reads").is_none());
        assert!(
            services
                .commands
                .submit(crossed, &echo("x"), clock::now())
                .await
                .is_err()
        );
    }
    for _ in 0..3 {
        let scope = match watch.recv().await {
            LiveEvent::Message(message) => message.scope,
            LiveEvent::Presence(change) => change.scope,
            other => panic!("nothing is skipped: {other:?}"),
        };
        assert_eq!(scope, foreign);
    }
    setup.cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_data_folder_has_one_cloud() {
    let setup = setup().await;
    let config = CloudConfig::new(
        setup.data.path().to_owned(),
        "127.0.0.1:0".parse().expect("an address"),
    );
    let Err(error) = Cloud::start(config).await else {
        panic!("a second cloud must not start")
    };
    assert!(error.to_string().contains("another process uses it"), "{error}");
    setup.cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_devices_at_once_lose_nothing() {
    let setup = setup().await;
    let services = Arc::new(setup.services.clone());
    let mut devices = Vec::new();
    for _ in 0..20 {
        devices.push(new_device(&services, setup.scope.project).await);
    }
    let address = setup.cloud.mqtt_addr().expect("a listener");
    let tasks: Vec<_> = devices
        .iter()
        .map(|&scope| {
            tokio::spawn(async move {
                let stream = StreamId::random();
                let mut device = Raw::connect(address, scope.device, SECRET).await;
                device.hello(&[(stream, StreamClass::History, 1, 1)]).await;
                for first in (1..=500).step_by(20) {
                    device.batch(stream, first, 20).await;
                }
                device.acked(stream, 500).await;
                stream
            })
        })
        .collect();
    for (scope, task) in devices.iter().zip(tasks) {
        let stream = task.await.expect("the device finishes");
        assert_eq!(
            numbers(&history(&services, *scope).await, stream),
            (1..=500).collect::<Vec<_>>()
        );
    }
    setup.cloud.shutdown().await;
}
