//! Commands over real HTTP and a real MQTT connection: keys, waiting, cancelling, and the two other ways to
//! read a history.

use crate::device;
use crate::support;
use device::{Raw, eventually};
use iottly_core::model::CommandStatus;
use iottly_protocol::{Down, MessageKind, StreamClass, StreamId, encode_batch};
use serde_json::{Value, json};
use support::{TestCloud, start};

const DEVICE: &str = "/v1.0/project/<project id>/device/<device id>";
const ECHO: &str = r#"{"cmd_type": "echo", "values": {"echo.content": "hi"}}"#;

async fn connect(cloud: &TestCloud, stream: StreamId, next: u64) -> Raw {
    let mut device = Raw::connect(cloud.mqtt_addr(), cloud.tenant.scope.device, "device secret").await;
    device.hello(&[(stream, StreamClass::Control, 1, next)]).await;
    device
}

/// Reports the state of a command, as the record number `seq` of the control stream.
async fn report(device: &Raw, stream: StreamId, seq: u64, id: &str, state: &str) {
    let record = format!(r#"{{"result":{{"id":"{id}","state":"{state}","at_ms":1}}}}"#);
    device.up(encode_batch(stream, seq, [record.as_bytes()])).await;
}

#[tokio::test]
async fn a_repeated_request_sends_one_command() {
    let cloud = start().await;
    let path = format!("{DEVICE}/command");
    let post = async |key: &str, body: &str| {
        let key = format!("Idempotency-Key: {key}");
        cloud
            .request("POST", &path, &[&cloud.bearer(), &key], body.as_bytes())
            .await
    };
    let first = post("k1", ECHO).await.ok();
    // The same request with different white space.
    let again = post("k1", &ECHO.replace(": ", ":")).await.ok();
    assert_eq!(first["id"], again["id"]);
    assert_ne!(post("k2", ECHO).await.ok()["id"], first["id"]);
    let error = post("k1", r#"{"cmd_type": "echo", "values": {}}"#)
        .await
        .error(422);
    assert!(error.contains("another request"), "{error}");
    assert_eq!(
        cloud
            .services
            .store
            .open_commands(cloud.tenant.scope)
            .await
            .expect("reads")
            .len(),
        2
    );
    post(&"k".repeat(256), ECHO).await.error(400);
    // A refused request does not use up its key.
    post("k3", r#"{"cmd_type": "nope", "values": {}}"#)
        .await
        .error(400);
    post("k3", ECHO).await.ok();
    let concurrent = futures_util::future::join_all((0..8).map(|_| post("k4", ECHO))).await;
    let ids: std::collections::HashSet<_> = concurrent
        .iter()
        .map(|answer| answer.ok()["id"].to_string())
        .collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    cloud.shutdown().await;
}

#[tokio::test]
async fn waiting_ends_when_the_device_has_answered_or_the_time_is_over() {
    let cloud = start().await;
    let stream = StreamId::random();
    let mut device = connect(&cloud, stream, 1).await;
    let path = format!("{DEVICE}/command?wait=20s");
    let answer = async {
        loop {
            if let Down::Command(command) = device.down().await {
                report(&device, stream, 1, &command.id.to_string(), "delivered").await;
                report(&device, stream, 2, &command.id.to_string(), "done").await;
                return;
            }
        }
    };
    let (settled, ()) = tokio::join!(cloud.post(&path, ECHO), answer);
    let settled = settled.ok();
    assert_eq!(
        (&settled["state"], &settled["status"]),
        (&json!("answered"), &json!(200))
    );
    let one = cloud
        .get(&format!(
            "{DEVICE}/commands/{}",
            settled["id"].as_str().expect("an id")
        ))
        .await
        .ok();
    assert!(
        one["sent"]["$date"].is_i64() && one["delivered"]["$date"].is_i64(),
        "{one}"
    );
    let waiting = cloud
        .post(&format!("{DEVICE}/command?wait=100ms"), ECHO)
        .await
        .ok();
    assert_eq!(waiting["state"], "sent", "the device says nothing");
    cloud
        .post(&format!("{DEVICE}/command?wait=soon"), ECHO)
        .await
        .error(400);
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_command_that_nobody_has_is_cancelled_at_once_and_others_by_the_device() {
    let cloud = start().await;
    let (scope, stream) = (cloud.tenant.scope, StreamId::random());
    let queued = cloud.post(&format!("{DEVICE}/command"), ECHO).await.ok()["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let cancel = async |id: &str, query: &str| {
        cloud
            .post(&format!("{DEVICE}/commands/{id}/cancel{query}"), "")
            .await
    };
    assert_eq!(cancel(&queued, "").await.ok()["state"], "cancelled");
    cancel("a2792ce8-216f-477c-a5cc-4f7e9f407e29", "")
        .await
        .error(404);

    let mut device = connect(&cloud, stream, 1).await;
    let sent = cloud.post(&format!("{DEVICE}/command"), ECHO).await.ok()["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let obey = async {
        loop {
            match device.down().await {
                Down::Command(command) => {
                    assert_eq!(command.id.to_string(), sent, "the cancelled one never comes")
                }
                Down::Cancel(cancel) if cancel.id.to_string() == sent => break,
                _ => {}
            }
        }
        report(&device, stream, 1, &sent, "cancelled").await;
    };
    let (cancelled, ()) = tokio::join!(cancel(&sent, "?wait=20s"), obey);
    assert_eq!(cancelled.ok()["state"], "cancelled");

    // The command was sent, but the device went away before it arrived: after the reconnect, the device gets
    // the cancellation first, and that settles the command.
    let lost = cloud.post(&format!("{DEVICE}/command"), ECHO).await.ok()["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    device.kill().await;
    eventually("the connection is gone", || async {
        !cloud.services.broker.is_connected(scope.device).await
    })
    .await;
    let pending = cancel(&lost, "").await.ok();
    assert_eq!(
        (&pending["state"], &pending["cancelling"]),
        (&json!("sent"), &json!(true))
    );
    let mut device = connect(&cloud, stream, 2).await;
    loop {
        match device.down().await {
            Down::Cancel(cancel) if cancel.id.to_string() == lost => break,
            Down::Command(command) => panic!("{} came back", command.id),
            _ => {}
        }
    }
    let id = lost.parse().expect("an id");
    let is = |status| {
        move |record: Option<iottly_core::model::CommandRecord>| {
            record.is_some_and(|record| record.status == status)
        }
    };
    let settled = is(CommandStatus::Cancelled);
    eventually("it counts as cancelled", || async {
        settled(cloud.services.store.command(scope, id).await.expect("reads"))
    })
    .await;
    // The device's report corrects what the cloud presumed.
    report(&device, stream, 2, &lost, "done").await;
    let answered = is(CommandStatus::Answered);
    eventually("the device is believed", || async {
        answered(cloud.services.store.command(scope, id).await.expect("reads"))
    })
    .await;
    cloud.shutdown().await;
}

#[tokio::test]
async fn commands_are_listed_by_state_and_page() {
    let cloud = start().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(
            cloud.post(&format!("{DEVICE}/command"), ECHO).await.ok()["id"]
                .as_str()
                .expect("an id")
                .to_owned(),
        );
    }
    cloud
        .post(&format!("{DEVICE}/commands/{}/cancel", ids[0]), "")
        .await
        .ok();
    let (mut seen, mut before) = (Vec::new(), String::new());
    loop {
        let page = cloud
            .get(&format!("{DEVICE}/commands?numCommands=2{before}"))
            .await
            .ok();
        seen.extend(
            page["commands"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|c| c["id"].as_str().expect("an id").to_owned()),
        );
        let Some(next) = page["next"].as_str() else { break };
        before = format!("&before={next}");
    }
    seen.sort();
    ids.sort();
    assert_eq!(seen, ids, "every command once");
    let cancelled = cloud
        .get(&format!("{DEVICE}/commands?state=cancelled"))
        .await
        .ok();
    assert_eq!(cancelled["commands"].as_array().map(Vec::len), Some(1));
    for bad in ["state=nope", "before=x", "numCommands=0"] {
        cloud.get(&format!("{DEVICE}/commands?{bad}")).await.error(400);
    }
    cloud.shutdown().await;
}

#[tokio::test]
async fn numbered_pages_are_as_documented() {
    let cloud = start().await;
    let scope = cloud.tenant.scope;
    let at = 1_492_597_597_019;
    cloud
        .store(scope, at, &[r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":3}"#])
        .await;
    cloud
        .store_as(
            scope,
            at + 3,
            MessageKind::IottlyAgent,
            Some("c"),
            &[r#"{"n":4}"#],
        )
        .await;
    let path = format!("{DEVICE}/messages/paginated");
    let numbers = |json: &Value| -> Vec<i64> {
        json["messages"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|m| m["payload"]["n"].as_i64().expect("n"))
            .collect()
    };
    for (query, expected) in [
        ("", vec![4, 3, 2, 1]),
        ("?sort=asc", vec![1, 2, 3, 4]),
        ("?l=3&p=2", vec![1]),
        ("?type=iottlyagent", vec![4]),
        ("?type=userdefined&l=2", vec![3, 2]),
        (
            "?from=2017-04-19T10:26:37.020&to=2017-04-19T10:26:37.022",
            vec![3, 2],
        ),
    ] {
        assert_eq!(
            numbers(&cloud.get(&format!("{path}{query}")).await.ok()),
            expected,
            "{query}"
        );
    }
    let first = cloud.get(&format!("{path}?sort=asc&l=1")).await.ok()["messages"][0].clone();
    assert_eq!(first["timestamp"], "2017-04-19T10:26:37.019");
    assert_eq!(first["devicetimestamp"], "2017-04-19T10:26:37.014");
    assert!(first.get("_id").is_none());
    for empty in ["?p=2", "?to=2017-04-19T10:26:37.019"] {
        cloud.get(&format!("{path}{empty}")).await.error(404);
    }
    for bad in [
        "p=0",
        "p=10001",
        "l=0",
        "l=101",
        "l=x",
        "type=none",
        "sort=up",
        "from=soon",
    ] {
        cloud.get(&format!("{path}?{bad}")).await.error(400);
    }
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_history_is_exported_whole() {
    let cloud = start().await;
    let payloads: Vec<String> = (0..1201).map(|n| format!(r#"{{"n":{n}}}"#)).collect();
    let payloads: Vec<&str> = payloads.iter().map(String::as_str).collect();
    cloud.store(cloud.tenant.scope, 1_000_000, &payloads).await;
    let lines = async |query: &str| -> Vec<i64> {
        let answer = cloud.get(&format!("{DEVICE}/messages/export{query}")).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some("application/x-ndjson"))
        );
        let body = answer.unchunked();
        body.lines()
            .map(|line| {
                serde_json::from_str::<Value>(line).expect("a line of JSON")["payload"]["n"]
                    .as_i64()
                    .expect("n")
            })
            .collect()
    };
    assert_eq!(lines("").await, (0..1201).rev().collect::<Vec<_>>());
    assert_eq!(lines("?from=1000010&to=1000012").await, [11, 10]);
    assert_eq!(
        lines("?queryJson=%7B%22n%22%3A%7B%22%24lt%22%3A2%7D%7D").await,
        lines("?queryJson=n%3C2").await
    );
    assert_eq!(
        lines("?queryJson=%7B%22n%22%3A%7B%22%24lt%22%3A2%7D%7D").await,
        [1, 0]
    );
    cloud
        .get(&format!("{DEVICE}/messages/export?queryJson=%7B"))
        .await
        .error(400);
    cloud.shutdown().await;
}
