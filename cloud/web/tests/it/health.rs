//! Health of devices: reports at the broker, in the API and on the device's page.

use std::time::Duration;

use iottly_cloud::{Cloud, clock};
use iottly_protocol::Topic;
use iottly_protocol::health::{
    FirmwareHealth, HealthMessage, HealthReport, MAX_HEALTH_BYTES, StreamHealth, TAKES_HEALTH,
};
use rumqttc::QoS;
use serde_json::{Value, json};

use crate::device::Raw;
use crate::support::{TestCloud, eventually, start};

const PROPS: &str = "/v1.0/project/<project id>/device/<device id>/props";
const PAGE: &str = "/p/<project id>/devices/<device id>";

fn report(waiting: u64) -> HealthReport {
    HealthReport {
        up_ms: 3 * 3_600_000,
        queue_budget_bytes: 64 << 20,
        history: StreamHealth {
            waiting,
            bytes: 1 << 20,
            oldest_ms: (waiting > 0).then_some(3 * 3_600_000),
            lost: 7,
        },
        control: StreamHealth::default(),
        firmware: Some(FirmwareHealth {
            digest: "ab".repeat(32),
            memory_bytes: 3 << 20,
            memory_limit_bytes: 16 << 20,
            over_ms: 300_000,
            calls: 3000,
            longest_us: 4200,
            budget_permille: 42,
            traps: 0,
            restarts: 0,
            trapped_ms: None,
        }),
    }
}

async fn device(cloud: &TestCloud) -> Raw {
    let mut device = Raw::connect(cloud.mqtt_addr(), cloud.tenant.scope.device, "device secret").await;
    let welcome = device.hello_with(&[], &[]).await;
    assert_eq!(welcome.capabilities, [TAKES_HEALTH]);
    device
}

async fn say(device: &Raw, bytes: Vec<u8>) {
    let topic = Topic::Health(device.id).to_string();
    let sent = device.client.publish(topic, QoS::AtMostOnce, false, bytes);
    sent.await.expect("queued");
}

async fn health(cloud: &TestCloud) -> Value {
    cloud.get(PROPS).await.ok()["health"].clone()
}

async fn page(cloud: &TestCloud) -> String {
    let cookie = cloud.login(&cloud.tenant.token).await;
    let page = cloud.request("GET", PAGE, &[&cookie], b"").await;
    assert_eq!(page.status, 200, "{}", page.text);
    page.text
}

#[tokio::test]
async fn a_report_is_in_the_api_and_on_the_page_also_after_a_restart() {
    let cloud = start().await;
    let raw = device(&cloud).await;
    assert_eq!(health(&cloud).await, Value::Null);
    assert!(
        page(&cloud).await.contains("Not reported: "),
        "as with an old agent"
    );
    let cookie = cloud.login(&cloud.tenant.token).await;
    let events = cloud.path("/p/<project id>/events?device=<device id>");
    let mut live = cloud.listen(&events, &[&cookie]).await;
    say(&raw, HealthMessage::Report(report(412)).encode()).await;
    live.read_until(r#"{"parts":["health"]}"#).await;
    let shown = health(&cloud).await;
    assert_eq!(shown["waiting"], 412, "{shown}");
    assert_eq!(shown["oldest_ms"], 10_800_000);
    assert_eq!(
        (&shown["lost"], &shown["queue_nearly_full"]),
        (&json!(7), &json!(false))
    );
    assert_eq!(shown["firmware"]["memory_bytes"], 3 << 20);
    assert_eq!(shown["firmware"].get("trapped"), None);
    let at = shown["at"]["$date"].as_i64().expect("a time");
    assert!((clock::now() - at).abs() < 60_000, "the time of receipt: {at}");
    let body = page(&cloud).await;
    for text in [
        "412</span> <small>messages",
        "oldest 3 h",
        "1 MiB</span>",
        "of 64 MiB; <b>7 lost</b> since the start",
        "3 MiB</span>",
        "of 16 MiB, 18 %",
        "3 h after the agent's start",
        "4.2 ms",
        "4 % of the budget of a call; 3000 calls in 5 min",
    ] {
        assert!(body.contains(text), "{text}: {body}");
    }
    assert!(!body.contains("of its budget."), "no warning");
    let list = cloud.get("/v1.0/project/<project id>/devices/props").await.ok();
    assert_eq!(list["devices"][0].get("health"), None, "left out in lists");
    let (config, scope, _folder) = cloud.stop().await;
    let again = Cloud::start(config).await.expect("starts");
    let stored = again.services().health.of(scope).await.expect("reads");
    assert_eq!(stored.expect("stored").report, report(412));
    again.shutdown().await;
}

#[tokio::test]
async fn a_full_queue_and_a_trap_are_warned_of() {
    let cloud = start().await;
    let raw = device(&cloud).await;
    let mut full = report(5000);
    full.history.bytes = 60 << 20;
    let firmware = full.firmware.as_mut().expect("firmware");
    (firmware.traps, firmware.restarts, firmware.trapped_ms) = (2, 1, Some(240_000));
    say(&raw, HealthMessage::Report(full.clone()).encode()).await;
    eventually("the report is stored", || async {
        health(&cloud).await != Value::Null
    })
    .await;
    let shown = health(&cloud).await;
    assert_eq!(shown["queue_nearly_full"], true);
    let trapped = shown["firmware"]["trapped"]["$date"].as_i64().expect("a time");
    assert!((clock::now() - 240_000 - trapped).abs() < 60_000, "{trapped}");
    let body = page(&cloud).await;
    assert!(body.contains("<b>93 %</b> of its budget"), "{body}");
    assert!(body.contains("The sandbox stopped the firmware"), "{body}");
    assert!(body.contains("1 restart since"), "{body}");
    // A trap of yesterday is counted and not warned of.
    full.firmware.as_mut().expect("firmware").trapped_ms = Some(86_400_000);
    full.history.bytes = 1 << 20;
    say(&raw, HealthMessage::Report(full).encode()).await;
    eventually("the report is stored", || async {
        health(&cloud).await["queue_nearly_full"] == false
    })
    .await;
    let body = page(&cloud).await;
    assert!(!body.contains("The sandbox stopped the firmware"), "{body}");
}

#[tokio::test]
async fn hostile_reports_change_nothing_and_a_flood_is_slow() {
    let cloud = start().await;
    let raw = device(&cloud).await;
    let huge = [
        HealthMessage::Report(report(1)).encode(),
        vec![b' '; MAX_HEALTH_BYTES],
    ]
    .concat();
    let mut absurd = report(1);
    absurd.history.waiting = u64::MAX;
    for bytes in [
        huge,
        HealthMessage::Report(absurd).encode(),
        br#"{"v":1,"health":{"up_ms":"now"}}"#.to_vec(),
        br#"{"v":9,"health":{}}"#.to_vec(),
        b"\xff\x00".to_vec(),
        Vec::new(),
    ] {
        say(&raw, bytes).await;
    }
    say(&raw, HealthMessage::Report(report(5)).encode()).await;
    eventually("the whole one is stored", || async {
        health(&cloud).await["waiting"] == 5
    })
    .await;
    for waiting in 100..200 {
        say(&raw, HealthMessage::Report(report(waiting)).encode()).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let waiting = health(&cloud).await["waiting"].as_u64().expect("a number");
    assert!(
        (5..112).contains(&waiting),
        "12 reports a minute at most: {waiting}"
    );
}

#[tokio::test]
async fn the_report_of_a_deleted_device_is_gone() {
    let cloud = start().await;
    let raw = device(&cloud).await;
    say(&raw, HealthMessage::Report(report(5)).encode()).await;
    eventually("the report is stored", || async {
        health(&cloud).await != Value::Null
    })
    .await;
    let path = PROPS.strip_suffix("/props").expect("a path of a device");
    let deleted = cloud.request("DELETE", path, &[&cloud.bearer()], b"").await;
    assert_eq!(deleted.status, 200, "{}", deleted.text);
    let store = &cloud.services.store;
    assert_eq!(
        store.device_health(cloud.tenant.scope).await.expect("reads"),
        None
    );
}
