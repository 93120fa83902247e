//! Lost records show up as gaps in the history, and messages of a deleted device are not stored.

use crate::device;
use crate::support;
use device::{Raw, eventually};
use iottly_protocol::{Gap, GapReason, StreamClass, StreamId, Up};
use iottly_store::ScanBounds;
use serde_json::{Value, json};

const SECRET: &str = "device secret";
const DEVICE: &str = "/v1.0/project/<project id>/device/<device id>";

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_gap_is_an_entry_of_the_agent_s_in_the_history() {
    let cloud = support::start().await;
    let mut device = Raw::connect(
        cloud.mqtt_addr().expect("a listener"),
        cloud.tenant.scope.device,
        SECRET,
    )
    .await;
    let stream = StreamId::random();
    device.hello(&[(stream, StreamClass::History, 1, 9)]).await;
    device.batch(stream, 1, 2).await;
    for _ in 0..2 {
        // Reported twice, as after a reconnect; it is one gap.
        device
            .up(Up::Gap(Gap {
                stream,
                from: 3,
                to: 7,
                reason: GapReason::Budget,
            })
            .encode())
            .await;
    }
    device.batch(stream, 8, 1).await;
    device.acked(stream, 8).await;

    let gap = json!({"gap": {"stream": stream, "from": 3, "to": 7, "count": 5, "reason": "budget"}});
    let gaps = |messages: &[Value]| {
        messages
            .iter()
            .filter(|m| m["payload"] == gap && m["type"] == "iottlyagent")
            .count()
    };
    let page = cloud
        .get("/v1.0/project/<project id>/messages/<device id>?numMessages=50")
        .await
        .ok();
    let messages = page["messages"].as_array().expect("messages");
    assert_eq!(gaps(messages), 1, "{page}");
    let numbers: Vec<_> = messages
        .iter()
        .rev()
        .filter_map(|message| message["seq"].as_u64())
        .collect();
    assert_eq!(numbers, [1, 2, 8]);

    let filter = "?queryJson=%7B%22gap.count%22%3A%7B%22%24gte%22%3A5%7D%7D";
    let page = cloud
        .get(&format!(
            "/v1.0/project/<project id>/messages/<device id>{filter}"
        ))
        .await
        .ok();
    assert_eq!(gaps(page["messages"].as_array().expect("messages")), 1, "{page}");
    let export = cloud.get(&format!("{DEVICE}/messages/export")).await.unchunked();
    let lines: Vec<Value> = export
        .lines()
        .map(|line| serde_json::from_str(line).expect("json"))
        .collect();
    assert_eq!(gaps(&lines), 1, "{export}");
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_device_is_disconnected_and_leaves_nothing() {
    let cloud = support::start().await;
    let scope = cloud.tenant.scope;
    let mut device = Raw::connect(cloud.mqtt_addr().expect("a listener"), scope.device, SECRET).await;
    let stream = StreamId::random();
    device.hello(&[(stream, StreamClass::History, 1, 1)]).await;
    device.batch(stream, 1, 10).await;
    device.acked(stream, 10).await;
    cloud
        .request("DELETE", DEVICE, &[&cloud.bearer()], b"")
        .await
        .ok();
    // The client may not have noticed yet: its further messages must not be kept.
    let _ = device.client.try_publish(
        format!("v1/{}/up", scope.device),
        rumqttc::QoS::AtLeastOnce,
        false,
        "{}",
    );
    device.ended().await;
    let text = scope.device.to_string();
    let login = device::Login {
        client_id: &text,
        user: &text,
        secret: SECRET,
        will_topic: None,
    };
    assert!(
        Raw::login(cloud.mqtt_addr().expect("a listener"), scope.device, &login)
            .await
            .is_none(),
        "its secret is worth nothing"
    );
    eventually("its data is gone", || async {
        cloud
            .services
            .store
            .scan(scope, ScanBounds::default(), 10)
            .await
            .expect("reads")
            .is_empty()
    })
    .await;
    cloud.shutdown().await;
}
