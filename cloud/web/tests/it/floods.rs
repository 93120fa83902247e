//! Floods of one device, or one tenant, do not affect the others.

use crate::device;
use crate::support;
use std::collections::HashSet;
use std::time::{Duration, Instant};

use device::{Raw, eventually};
use iottly_cloud::command::{CommandRequest, SubmitError};
use iottly_core::command::MAX_OPEN_BYTES;
use iottly_protocol::{
    BootId, CommandId, ConnId, Down, Hello, StreamClass, StreamId, StreamInfo, Topic, Up, Versions,
    encode_batch,
};
use rumqttc::QoS;
use serde_json::json;
use support::{TestCloud, start, tenant};

const SECRET: &str = "device secret";
const ECHO: &str = r#"{"cmd_type": "echo", "values": {"echo.content": "hi"}}"#;
const COMMAND: &str = "/v1.0/project/<project id>/device/<device id>/command";

fn hello(version: u32) -> (ConnId, Vec<u8>) {
    let conn = ConnId::random();
    let info = || StreamInfo {
        stream: StreamId::random(),
        class: StreamClass::History,
        oldest: 1,
        next: 1,
    };
    let hello = Hello {
        boot: BootId::random(),
        conn,
        versions: Versions {
            agent: version.to_string(),
            runtime: "none".into(),
            firmware_abi: "none".into(),
        },
        capabilities: (0..100).map(|n| format!("ability {n}")).collect(),
        directive_counter: 0,
        hardware: None,
        streams: std::iter::repeat_with(info).take(16).collect(),
    };
    (conn, Up::Hello(hello).encode())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_hellos_is_answered_now_and_then_and_the_newest_counts() {
    const FLOOD: u32 = 2_000;
    let cloud = start().await;
    let other = tenant(&cloud.services, "other").await;
    let mut hostile = Raw::connect(cloud.mqtt_addr(), cloud.tenant.scope.device, SECRET).await;
    let mut honest = Raw::connect(cloud.mqtt_addr(), other.scope.device, SECRET).await;
    let stream = StreamId::random();
    honest.hello(&[(stream, StreamClass::History, 1, 1)]).await;
    let (began, topic) = (Instant::now(), Topic::Up(hostile.id).to_string());
    let mut last = None;
    for version in 0..FLOOD {
        let (conn, bytes) = hello(version);
        last = Some(conn);
        hostile
            .client
            .publish(&topic, QoS::AtLeastOnce, false, bytes)
            .await
            .expect("queued");
        if version % 200 == 0 {
            let seq = u64::from(version / 200) + 1;
            honest.batch(stream, seq, 1).await;
            honest.acked(stream, seq).await;
        }
    }
    let mut welcomes = 0;
    loop {
        if let Down::Welcome(welcome) = hostile.down().await {
            welcomes += 1;
            if Some(welcome.conn) == last {
                break;
            }
        }
    }
    let allowed = 4 + began.elapsed().as_secs() + 1;
    assert!(
        welcomes <= allowed,
        "{welcomes} welcomes in {:?}",
        began.elapsed()
    );
    let device = cloud
        .services
        .store
        .device(cloud.tenant.scope)
        .await
        .expect("reads")
        .expect("exists");
    assert_eq!(device.agent_version, Some((FLOOD - 1).to_string()));
    cloud.shutdown().await;
}

/// Returns the commands that arrive until none comes for a while.
async fn arriving(device: &mut Raw, quiet: Duration) -> Vec<CommandId> {
    let mut found = Vec::new();
    while let Ok(down) = tokio::time::timeout(quiet, device.down()).await {
        if let Down::Command(command) = down {
            found.push(command.id);
        }
    }
    found
}

async fn fill(cloud: &TestCloud, commands: u64, bytes: usize) {
    let values = json!({"echo.content": "x".repeat(bytes)});
    let values = values.as_object().expect("an object").clone();
    let request = CommandRequest {
        cmd_type: "echo".into(),
        values,
        ttl_ms: None,
    };
    for _ in 0..commands {
        let now = cloud.services.time.received();
        cloud
            .services
            .commands
            .submit(cloud.tenant.scope, &request, now)
            .await
            .expect("accepted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn open_commands_come_page_by_page_as_their_device_takes_them() {
    const COMMANDS: u64 = 60;
    const BYTES: usize = 60_000;
    let cloud = start().await;
    fill(&cloud, COMMANDS, BYTES).await;
    let mut device = Raw::connect(cloud.mqtt_addr(), cloud.tenant.scope.device, SECRET).await;
    let controls = StreamId::random();
    device.hello(&[(controls, StreamClass::Control, 1, 1)]).await;
    // A device that does not report about them gets one page, however often it says hello.
    let first = arriving(&mut device, Duration::from_secs(2)).await;
    assert!(
        (1..=9).contains(&first.len()),
        "{} commands of {BYTES} bytes",
        first.len()
    );
    for _ in 0..3 {
        device.hello(&[(controls, StreamClass::Control, 1, 1)]).await;
    }
    let again = arriving(&mut device, Duration::from_secs(2)).await;
    assert!(
        again.len() <= 3 * 9 && again.iter().all(|id| first.contains(id)),
        "{} more",
        again.len()
    );
    // A device that reports gets all of them.
    let (mut seen, mut seq) = (HashSet::new(), 0);
    let mut news: Vec<CommandId> = again.into_iter().chain(first).collect();
    while seen.len() < COMMANDS as usize {
        for id in std::mem::take(&mut news) {
            if seen.insert(id) {
                seq += 1;
                let record = format!(r#"{{"result":{{"id":"{id}","state":"delivered","at_ms":1}}}}"#);
                device.up(encode_batch(controls, seq, [record.as_bytes()])).await;
            }
        }
        if seen.len() < COMMANDS as usize
            && let Down::Command(command) = device.down().await
        {
            news.push(command.id);
        }
    }
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_device_is_bounded_in_bytes_and_a_repeated_request_finds_its_command() {
    let cloud = start().await;
    let key = "Idempotency-Key: k1";
    let post = async || {
        cloud
            .request("POST", COMMAND, &[&cloud.bearer(), key], ECHO.as_bytes())
            .await
    };
    let first = post().await.ok();
    fill(&cloud, MAX_OPEN_BYTES / 60_500, 60_000).await;
    let values = json!({"echo.content": "x".repeat(60_000)})
        .as_object()
        .expect("an object")
        .clone();
    let request = CommandRequest {
        cmd_type: "echo".into(),
        values,
        ttl_ms: None,
    };
    let now = cloud.services.time.received();
    let mut refused = Ok(());
    for _ in 0..2 {
        refused = cloud
            .services
            .commands
            .submit(cloud.tenant.scope, &request, now)
            .await
            .map(drop);
    }
    assert!(matches!(refused, Err(SubmitError::TooManyOpen)), "{refused:?}");
    assert_eq!(
        post().await.ok()["id"],
        first["id"],
        "a repeated request returns the accepted command, though there is no room for more"
    );
    // Also when the definition has changed since.
    let path = "/v1.0/project/<project id>/messagedefinitions/echo";
    cloud.request("DELETE", path, &[&cloud.bearer()], b"").await.ok();
    assert_eq!(post().await.ok()["id"], first["id"]);
    let strange = r#"{"cmd_type": "a\u0001b", "values": {}}"#;
    assert!(
        cloud
            .post(COMMAND, strange)
            .await
            .error(400)
            .contains("not defined")
    );
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_comes_and_goes_leaves_few_entries_and_the_right_last_one() {
    let cloud = start().await;
    let scope = cloud.tenant.scope;
    let mut device = Raw::connect(cloud.mqtt_addr(), scope.device, SECRET).await;
    let topic = Topic::Status(scope.device).to_string();
    let stream = StreamId::random();
    device.hello(&[(stream, StreamClass::History, 1, 1)]).await;
    drop(device);
    for _ in 0..40 {
        let one = Raw::connect(cloud.mqtt_addr(), scope.device, SECRET).await;
        one.publish(
            &topic,
            iottly_protocol::Status::new(one.conn, true).encode(),
            true,
        )
        .await;
        one.kill().await;
        eventually("the connection is gone", || async {
            !cloud.services.broker.is_connected(scope.device).await
        })
        .await;
    }
    let mut last = Raw::connect(cloud.mqtt_addr(), scope.device, SECRET).await;
    last.hello(&[(stream, StreamClass::History, 1, 1)]).await;
    eventually("it counts as online", || async {
        cloud
            .services
            .store
            .device(scope)
            .await
            .expect("reads")
            .expect("exists")
            .online
    })
    .await;
    let history = cloud
        .services
        .store
        .scan(scope, iottly_store::ScanBounds::default(), 1000)
        .await
        .expect("reads");
    assert!(history.len() <= 16, "{} entries", history.len());
    assert!(history[0].payload.get().contains(r#""connected""#));
    assert!(
        history
            .windows(2)
            .all(|pair| pair[0].payload.get() != pair[1].payload.get()),
        "each entry is a change"
    );
    cloud.shutdown().await;
}
