//! Alerts over the REST API: rules, raises within seconds and once over restarts, entries, webhooks, mutes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use iottly_cloud::{Cloud, clock};
use iottly_core::model::AlertFilter;
use serde_json::{Value, json};

use crate::presence::Device;
use crate::support::{TestCloud, eventually, start, start_config};

const ALERTS: &str = "/v1.0/project/<project id>/alerts";

async fn send(cloud: &TestCloud, method: &str, path: &str, body: &Value) -> crate::support::Answer {
    let path = cloud.path(&format!("{ALERTS}{path}"));
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    cloud
        .request(method, &path, &[&cloud.bearer()], body.as_bytes())
        .await
}

async fn add(cloud: &TestCloud, rule: &Value) -> String {
    let answer = send(cloud, "POST", "/rules", rule).await.ok();
    answer["rule"]["id"].as_str().expect("an id").to_owned()
}

async fn listed(cloud: &TestCloud, state: &str) -> Vec<Value> {
    let answer = send(cloud, "GET", &format!("?state={state}"), &Value::Null).await;
    answer.ok()["alerts"].as_array().expect("alerts").clone()
}

async fn becomes(cloud: &TestCloud, state: &str, count: usize) -> Vec<Value> {
    eventually(&format!("{count} {state}"), || async {
        listed(cloud, state).await.len() == count
    })
    .await;
    listed(cloud, state).await
}

async fn quick() -> TestCloud {
    start_config(|config| config.presence_grace = Duration::from_millis(200)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_stays_away_raises_one_alert_and_its_return_clears_it() {
    let cloud = quick().await;
    let hook = json!({"url": "https://receiver.example/", "type": "iottly", "filter": {"payload.alert.state": "raised"}});
    cloud
        .post("/v1.0/project/<project id>/webhooks", &hook.to_string())
        .await
        .ok();
    let rule = json!({"name": "away", "condition": "offline", "after_ms": 1000});
    let id = add(&cloud, &rule).await;
    let mut events = cloud
        .listen("/v1.0/project/<project id>/events", &[&cloud.bearer()])
        .await;
    drop(Device::connect(&cloud, 30).await);
    let began = Instant::now();
    let raised = becomes(&cloud, "raised", 1).await;
    eprintln!(
        "raised {:?} after the end of the connection, of which 1 s is the condition",
        began.elapsed()
    );
    assert_eq!(raised[0]["rule"], id.as_str());
    assert_eq!(raised[0]["device"], cloud.tenant.scope.device.to_string());
    assert_eq!(raised[0]["detail"], "offline for longer than 1 s");
    events.read_until(r#""alert":{"#).await;
    // Several evaluations later there is one entry and one delivery.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let hooks = cloud.get("/v1.0/project/<project id>/webhooks").await.ok();
    let hook = &hooks["webhooks"][0];
    let deliveries = hook["waiting"].as_u64().expect("a number") + hook["failed"].as_u64().expect("a number");
    assert_eq!(deliveries, 1, "{hook}");
    let device = Device::connect(&cloud, 30).await;
    let cleared = becomes(&cloud, "cleared", 1).await;
    assert!(listed(&cloud, "raised").await.is_empty());
    assert_eq!(cleared[0]["id"], raised[0]["id"]);
    drop(device);
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_and_muted_devices_bother_nobody() {
    let cloud = quick().await;
    drop(Device::connect(&cloud, 30).await);
    let absence = cloud.path("/v1.0/project/<project id>/device/<device id>/absence");
    let planned = json!({"until": clock::now() + 3_600_000, "reason": "moved"}).to_string();
    cloud
        .request("PUT", &absence, &[&cloud.bearer()], planned.as_bytes())
        .await
        .ok();
    let rule = add(
        &cloud,
        &json!({"name": "away", "condition": "offline", "after_ms": 1000}),
    )
    .await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(listed(&cloud, "all").await.is_empty());
    let until = json!({"until": clock::now() + 3_600_000});
    send(&cloud, "POST", &format!("/rules/{rule}/mute"), &until)
        .await
        .ok();
    cloud
        .request("DELETE", &absence, &[&cloud.bearer()], b"")
        .await
        .ok();
    becomes(&cloud, "raised", 1).await;
    let history = cloud
        .get("/v1.0/project/<project id>/messages/<device id>?numMessages=100")
        .await;
    assert!(!history.text.contains("\"alert\""), "a mute rule writes nothing");
    let alert = listed(&cloud, "raised").await[0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let muted = send(&cloud, "POST", &format!("/{alert}/mute"), &until).await.ok();
    assert!(muted["alert"]["muted_until"].is_object());
    send(&cloud, "DELETE", &format!("/{alert}/mute"), &Value::Null)
        .await
        .ok();
    send(&cloud, "DELETE", &format!("/rules/{rule}/mute"), &Value::Null)
        .await
        .ok();
    send(&cloud, "DELETE", &format!("/rules/{rule}"), &Value::Null)
        .await
        .ok();
    assert!(listed(&cloud, "raised").await.is_empty(), "its rule is gone");
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_without_data_and_an_old_certificate_raise() {
    let cloud = quick().await;
    let scope = cloud.tenant.scope;
    add(
        &cloud,
        &json!({"name": "silent", "condition": "no_data", "after_ms": 4000, "device": scope.device}),
    )
    .await;
    add(
        &cloud,
        &json!({"name": "tls", "condition": "certificate", "after_ms": 86_400_000}),
    )
    .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(listed(&cloud, "all").await.is_empty(), "it never sent anything");
    cloud.services.certificate.set(clock::now() + 3_600_000);
    let tls = becomes(&cloud, "raised", 1).await;
    assert_eq!(
        (&tls[0]["name"], &tls[0]["device"]),
        (&json!("tls"), &Value::Null)
    );
    cloud.services.certificate.set(clock::now() + 90 * 86_400_000);
    becomes(&cloud, "raised", 0).await;
    let mut device = Device::connect(&cloud, 30).await;
    device.send(1).await;
    let silent = becomes(&cloud, "raised", 1).await;
    assert_eq!(silent[0]["name"], "silent");
    device.send(2).await;
    becomes(&cloud, "raised", 0).await;
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_checked_by_name() {
    let cloud = start().await;
    let device = cloud.tenant.scope.device;
    for (rule, reason) in [
        (json!({"name": "", "condition": "gap"}), "name"),
        (json!({"name": "r", "condition": "sunset"}), "none of"),
        (json!({"name": "r", "condition": "offline"}), "after_ms"),
        (
            json!({"name": "r", "condition": "offline", "after_ms": 1}),
            "after_ms",
        ),
        (
            json!({"name": "r", "condition": "gap", "after_ms": 5000}),
            "after_ms",
        ),
        (json!({"name": "r", "condition": "value"}), "filter"),
        (
            json!({"name": "r", "condition": "value", "filter": {"$where": "1"}}),
            "$where",
        ),
        (
            json!({"name": "r", "condition": "gap", "filter": {"a": 1}}),
            "filter",
        ),
        (
            json!({"name": "r", "condition": "gap", "device": device, "deployment_group": cloud.tenant.group}),
            "not both",
        ),
        (
            json!({"name": "r", "condition": "gap", "mails": ["a@example.org"]}),
            "mails",
        ),
    ] {
        let refused = send(&cloud, "POST", "/rules", &rule).await.error(400);
        assert!(refused.contains(reason), "{rule}: {refused}");
    }
    let strange = json!({"name": "r", "condition": "gap", "device": iottly_protocol::DeviceId::random()});
    send(&cloud, "POST", "/rules", &strange).await.error(404);
    let late = json!({"until": 5});
    let unknown = iottly_core::model::AlertId::random();
    send(&cloud, "POST", &format!("/{unknown}/mute"), &late)
        .await
        .error(404);
    send(&cloud, "GET", &format!("/{unknown}"), &Value::Null)
        .await
        .error(404);
    let rules = send(&cloud, "GET", "/rules", &Value::Null).await.ok();
    assert_eq!(rules["rules"], json!([]));
    cloud.shutdown().await;
}

/// The condition holds before, during and after the restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_raises_nothing_again() {
    let cloud = quick().await;
    add(
        &cloud,
        &json!({"name": "away", "condition": "offline", "after_ms": 1000}),
    )
    .await;
    drop(Device::connect(&cloud, 30).await);
    becomes(&cloud, "raised", 1).await;
    let (config, scope, folder) = cloud.stop().await;
    let again = Cloud::start(config).await.expect("starts");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let alerts = again
        .services()
        .store
        .alerts(scope.project, AlertFilter::default(), 10)
        .await
        .expect("reads");
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    again.shutdown().await;
    drop(folder);
}

/// The condition is about to hold when the cloud goes down; devices have 30 s to return, and the alert does not wait for them.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_due_during_a_restart_is_raised_within_five_seconds() {
    let cloud = quick().await;
    for (name, after) in [("soon", 3000), ("late", 60_000)] {
        let rule = json!({"name": name, "condition": "offline", "after_ms": after});
        add(&cloud, &rule).await;
    }
    drop(Device::connect(&cloud, 30).await);
    let scope = cloud.tenant.scope;
    let store = Arc::clone(&cloud.services.store);
    eventually("offline", || async {
        let device = store.device(scope).await.expect("reads").expect("known");
        !device.online && device.online_since.is_some()
    })
    .await;
    tokio::time::sleep(Duration::from_millis(2200)).await;
    drop(store);
    let (mut config, scope, folder) = cloud.stop().await;
    config.presence_grace = iottly_cloud::PRESENCE_GRACE;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let began = Instant::now();
    let again = Cloud::start(config.clone()).await.expect("starts");
    let store = again.services().store;
    let alerts = async || {
        let found = store.alerts(scope.project, AlertFilter::default(), 10).await;
        found.expect("reads")
    };
    eventually("raised", || async { !alerts().await.is_empty() }).await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(alerts().await[0].rule_name, "soon");
    again.shutdown().await;
    // Once more: it is raised already.
    let third = Cloud::start(config).await.expect("starts");
    tokio::time::sleep(Duration::from_secs(4)).await;
    let store = third.services().store;
    let alerts = store.alerts(scope.project, AlertFilter::default(), 10).await;
    assert_eq!(alerts.expect("reads").len(), 1);
    third.shutdown().await;
    drop(folder);
}

/// A device that was connected when the cloud went down has time to return before its silence counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_expected_back_raises_nothing() {
    let cloud = quick().await;
    for condition in ["offline", "no_data"] {
        let rule = json!({"name": condition, "condition": condition, "after_ms": 2000});
        add(&cloud, &rule).await;
    }
    let mut device = Device::connect(&cloud, 30).await;
    device.send(1).await;
    let (store, scope) = (Arc::clone(&cloud.services.store), cloud.tenant.scope);
    eventually("stored", || async {
        !store.sent_times(scope, 1).await.expect("reads").is_empty()
    })
    .await;
    drop(store);
    let (mut config, scope, folder) = cloud.stop().await;
    config.presence_grace = Duration::from_secs(7);
    let again = Cloud::start(config).await.expect("starts");
    let store = again.services().store;
    let raised = async || {
        let found = store.alerts(scope.project, AlertFilter::default(), 10).await;
        found.expect("reads").len()
    };
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(raised().await, 0, "it may still return");
    eventually("both are raised", || async { raised().await == 2 }).await;
    drop(device);
    again.shutdown().await;
    drop(folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_form_is_a_filter_of_rules_webhooks_and_moves() {
    let cloud = start().await;
    let rule =
        json!({"name": "warm", "condition": "value", "filter": "temp>30 door:open", "clear": "temp<28"});
    let made = send(&cloud, "POST", "/rules", &rule).await.ok();
    assert_eq!(
        made["rule"]["filter"],
        json!({"temp": {"$gt": 30}, "door": "open"})
    );
    assert_eq!(made["rule"]["clear"], json!({"temp": {"$lt": 28}}));
    let wrong = json!({"name": "warm", "condition": "value", "filter": "temp>"});
    let refused = send(&cloud, "POST", "/rules", &wrong).await.error(400);
    assert!(refused.contains("is no condition"), "{refused}");
    let hook = json!({"url": "https://receiver.example/", "filter": "temp>30"});
    let made = cloud
        .post("/v1.0/project/<project id>/webhooks", &hook.to_string())
        .await
        .ok();
    assert_eq!(made["filter"], json!({"temp": {"$gt": 30}}));
    let path = format!(
        "/v1.0/project/<project id>/deploymentgroups/{}/devices?dry_run=true",
        cloud.tenant.group
    );
    let moved = cloud.post(&path, r#"{"filter": "name:board*"}"#).await.ok();
    assert_eq!(moved["filter"], json!({"name": {"$regex": "^board.*$"}}));
    assert_eq!(moved["affected"], 0, "it is there already");
    for body in [
        r#"{"filter": ""}"#,
        r#"{"filter": "channel:x"}"#,
        r#"{"filter": "name:a", "devices": []}"#,
        "{}",
    ] {
        cloud.post(&path, body).await.error(400);
    }
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_adds_mutes_and_removes_rules_without_scripts() {
    let cloud = quick().await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let base = cloud.path("/p/<project id>/alerts");
    let form = "Content-Type: application/x-www-form-urlencoded";
    let page = cloud.request("GET", &base, &[&cookie], b"").await;
    assert!(page.text.contains("Nothing is watched yet"), "{}", page.text);
    let post = async |path: &str, body: &str| {
        cloud
            .request(
                "POST",
                &format!("{base}{path}"),
                &[&cookie, form],
                body.as_bytes(),
            )
            .await
    };
    let refused = post("/rules", "name=away&condition=offline").await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert!(refused.text.contains("after_ms"));
    let added = post("/rules", "name=%3Cb%3Eaway&condition=offline&after=1").await;
    assert_eq!(added.status, 303, "{}", added.text);
    let page = cloud.request("GET", &base, &[&cookie], b"").await;
    assert!(page.text.contains("&lt;b&gt;away") && page.text.contains("Nothing is raised"));
    let rules = send(&cloud, "GET", "/rules", &Value::Null).await.ok();
    let id = rules["rules"][0]["id"].as_str().expect("an id");
    assert_eq!(post(&format!("/rules/{id}/mute"), "").await.status, 303);
    let rules = send(&cloud, "GET", "/rules", &Value::Null).await.ok();
    assert!(rules["rules"][0]["muted_until"].is_object());
    assert_eq!(post(&format!("/rules/{id}/remove"), "").await.status, 303);
    assert_eq!(post(&format!("/rules/{id}/remove"), "").await.status, 404);
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_firmware_are_grouped_by_place_on_their_page() {
    let cloud = start().await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let page = cloud.path("/p/<project id>/crashes");
    let empty = cloud.request("GET", &page, &[&cookie], b"").await;
    assert!(empty.text.contains("No failures"), "{}", empty.text);
    let failure = json!({"process": {"name": "MainProcess", "function": "loop", "status": {"error": "trap"},
        "description": "<i>boom", "firmware": "0123456789abcdef"}});
    let (scope, kind) = (cloud.tenant.scope, iottly_protocol::MessageKind::IottlyAgent);
    let text = failure.to_string();
    cloud
        .store_as(scope, clock::now(), kind, None, &[&text, &text])
        .await;
    let listed = cloud.get("/v1.0/project/<project id>/crashes").await.ok();
    let crash = &listed["crashes"][0];
    assert_eq!((&crash["function"], &crash["count"]), (&json!("loop"), &json!(2)));
    assert_eq!(crash["firmware"], "0123456789abcdef");
    assert_eq!(crash["devices"][0]["device"], scope.device.to_string());
    let shown = cloud.request("GET", &page, &[&cookie], b"").await.text;
    assert!(
        shown.contains("01234567") && shown.contains("&lt;i&gt;boom") && !shown.contains("<i>boom"),
        "{shown}"
    );
    assert!(shown.contains(r#"<td class="num">2</td>"#), "{shown}");
    cloud.shutdown().await;
}
