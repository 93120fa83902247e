//! The same conditions on devices and messages in streams, histories, webhooks, alerts and audit logs.

use iottly_core::model::Scope;
use iottly_protocol::DeviceId;
use iottly_store::NewDevice;
use serde_json::{Value, json};

use crate::support::{TestCloud, start};

const PROJECT: &str = "/v1.0/project/<project id>";
/// `tag:attic name:cold-* temp>30`.
const FILTER: &str = "tag%3Aattic%20name%3Acold-*%20temp%3E30";
const AT: i64 = 1_795_651_200_000;

/// Names the first device and adds another; returns the other.
async fn two_devices(cloud: &TestCloud) -> Scope {
    let named = json!({"name": "cold-1", "tags": ["attic", "new"]}).to_string();
    cloud
        .request(
            "PUT",
            &format!("{PROJECT}/device/<device id>/props"),
            &[&cloud.bearer()],
            named.as_bytes(),
        )
        .await
        .ok();
    let mut scope = cloud.tenant.scope;
    scope.device = DeviceId::random();
    let device = NewDevice {
        scope,
        name: "warm-1".to_owned(),
        group: cloud.tenant.group,
        secret: iottly_web::auth::hash_secret(b"warm-1"),
    };
    cloud
        .services
        .store
        .create_device(&device)
        .await
        .expect("a device");
    scope
}

#[tokio::test(flavor = "multi_thread")]
async fn name_group_and_tags_of_devices_select_messages() {
    let cloud = start().await;
    let (first, other) = (cloud.tenant.scope, two_devices(&cloud).await);
    let cookie = cloud.login(&cloud.tenant.token).await;
    let hook = json!({"url": "https://receiver.example/", "type": "user", "filter": "tag:attic name:cold-* temp>30"});
    let hook = cloud
        .post(&format!("{PROJECT}/webhooks"), &hook.to_string())
        .await
        .ok();
    assert_eq!(hook["filter"]["device.tags"], "attic", "{hook}");
    let rule = json!({"name": "warm", "condition": "value", "filter": "tag:attic temp>30"});
    cloud
        .post(&format!("{PROJECT}/alerts/rules"), &rule.to_string())
        .await
        .ok();

    let bearer = cloud.bearer();
    let mut project = cloud
        .listen(&format!("{PROJECT}/events?filter={FILTER}"), &[&bearer])
        .await;
    let mut device = cloud
        .listen(
            &format!("{PROJECT}/device/<device id>/events?filter={FILTER}"),
            &[&bearer],
        )
        .await;
    let mut page = cloud
        .listen(&format!("/p/<project id>/events?filter={FILTER}"), &[&cookie])
        .await;
    for stream in [&mut project, &mut device] {
        stream.read_until("watching").await;
    }
    page.read_until("event: beat").await;
    cloud.store(other, AT, &[r#"{"temp":33}"#]).await;
    cloud
        .store(first, AT + 10, &[r#"{"temp":20}"#, r#"{"temp":31}"#])
        .await;
    for stream in [&mut project, &mut device, &mut page] {
        let seen = stream.read_until("31}").await;
        assert!(
            !seen.contains("33}") && !seen.contains("20}") && !seen.contains("event: presence"),
            "{seen}"
        );
    }

    let messages = async |filter: &str| {
        let path = format!("{PROJECT}/messages/<device id>?queryJson={filter}");
        cloud.get(&path).await.ok()["messages"]
            .as_array()
            .expect("messages")
            .len()
    };
    assert_eq!(messages(FILTER).await, 1);
    assert_eq!(messages("tag%3Acellar").await, 0);
    assert_eq!(messages("-tag%3Acellar%20type%3Auserdefined").await, 2);
    let export = format!("{PROJECT}/device/<device id>/messages/export?queryJson={FILTER}");
    assert_eq!(cloud.get(&export).await.unchunked().lines().count(), 1);

    let hooks = cloud.get(&format!("{PROJECT}/webhooks")).await.ok();
    let hook = &hooks["webhooks"][0];
    let deliveries = hook["waiting"].as_u64().expect("a number") + hook["failed"].as_u64().expect("a number");
    assert_eq!(deliveries, 1, "{hook}");
    let alerts = cloud.get(&format!("{PROJECT}/alerts?state=all")).await.ok();
    assert_eq!(alerts["alerts"].as_array().map(Vec::len), Some(1), "{alerts}");
    assert_eq!(alerts["alerts"][0]["device"], first.device.to_string());
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_messages_or_devices_do_not_have_is_refused_with_the_reason() {
    let cloud = start().await;
    for path in [
        "/messages/<device id>?queryJson=offline%3E1h",
        "/events?filter=offline%3E1h",
        "/device/<device id>/events?filter=offline%3E1h",
    ] {
        let refused = cloud.get(&format!("{PROJECT}{path}")).await.error(400);
        assert!(refused.contains("a condition on devices"), "{path}: {refused}");
    }
    for (filter, reason) in [
        ("channel%3Ax", "for the stream"),
        ("%7B%22tag%22%3A1%7D", "no field of devices"),
        (
            "%7B%22%24or%22%3A%5B%7B%22tag%22%3A1%7D%5D%7D",
            "no field of devices",
        ),
    ] {
        let path = format!("{PROJECT}/devices/props?filter={filter}");
        let refused = cloud.get(&path).await.error(400);
        assert!(refused.contains(reason), "{filter}: {refused}");
    }
    let empty = json!({"name": "r", "condition": "value", "filter": ""});
    let refused = cloud
        .post(&format!("{PROJECT}/alerts/rules"), &empty.to_string())
        .await
        .error(400);
    assert!(refused.contains("filter"), "{refused}");
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_a_filter_cannot_decide_is_reported() {
    let cloud = start().await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let long = format!(r#"{{"s":"{}"}}"#, "01".repeat(100_000));
    // `{"s":{"$regex":"1[01]{200}x"}}`.
    let filter = "%7B%22s%22%3A%7B%22%24regex%22%3A%221%5B01%5D%7B200%7Dx%22%7D%7D";
    let mut api = cloud
        .listen(&format!("{PROJECT}/events?filter={filter}"), &[&cloud.bearer()])
        .await;
    let mut page = cloud
        .listen(&format!("/p/<project id>/events?filter={filter}"), &[&cookie])
        .await;
    api.read_until("watching").await;
    page.read_until("event: beat").await;
    cloud.store(cloud.tenant.scope, AT, &[&long]).await;
    api.read_until("event: undecided").await;
    page.read_until(r#""undecided":true"#).await;
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_is_filtered_paged_and_exported() {
    let cloud = start().await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    for n in 0..120 {
        let name = json!({ "name": format!("name {n}") }).to_string();
        cloud
            .request(
                "PUT",
                &format!("{PROJECT}/device/<device id>/props"),
                &[&cloud.bearer()],
                name.as_bytes(),
            )
            .await
            .ok();
    }
    let hook = json!({"url": "https://receiver.example/"});
    cloud
        .post(&format!("{PROJECT}/webhooks"), &hook.to_string())
        .await
        .ok();
    let log = async |query: &str| cloud.get(&format!("{PROJECT}/auditlog{query}")).await.ok();
    let count = |log: &Value| log["entries"].as_array().map_or(0, Vec::len);
    let hooks = log("?filter=action%3Awebhook.*%20who%3Atest").await;
    assert_eq!((count(&hooks), hooks["next"].is_null()), (1, true), "{hooks}");
    assert_eq!(count(&log("?filter=at%3C2020-01-01").await), 0);
    // The cursor of a page with a filter leads to the rest.
    let first = log("?filter=action%3Adevice.*&numEntries=100").await;
    assert_eq!(count(&first), 100);
    let rest = log(&format!(
        "?filter=action%3Adevice.*&numEntries=100&before={}",
        first["next"]
    ))
    .await;
    assert_eq!((count(&rest), rest["next"].is_null()), (20, true));
    cloud
        .get(&format!("{PROJECT}/auditlog?filter=offline%3E1h"))
        .await
        .error(400);

    let lines = cloud
        .get(&format!("{PROJECT}/auditlog/export?filter=name%207*"))
        .await
        .unchunked();
    assert_eq!(lines, "", "a lone word is a part of the target");
    let lines = cloud
        .get(&format!(
            "{PROJECT}/auditlog/export?filter=detail%3A%22name%207%22*%20action%3Adevice.*"
        ))
        .await
        .unchunked();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 11, "7 and 70 to 79");
    assert_eq!(lines[0]["detail"], "name 79");

    let page = async |path: &str| {
        cloud
            .request("GET", &format!("/p/<project id>{path}"), &[&cookie], b"")
            .await
    };
    let shown = page("/audit?filter=action%3Adevice.*").await.text;
    assert!(
        shown.contains("100 entries") && shown.contains(">Older<"),
        "{shown}"
    );
    let older = format!("/audit?filter=action%3Adevice.*&before={}", first["next"]);
    let shown = page(&older).await.text;
    assert!(
        shown.contains("20 entries") && !shown.contains(">Older<"),
        "{shown}"
    );
    assert!(
        shown.contains("--filter &#39;action:device.*&#39;") || shown.contains("--filter 'action:device.*'")
    );
    let wrong = page("/audit?filter=offline%3E1h").await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.text.contains("is no field here"));
    let file = page("/audit.jsonl?filter=action%3Awebhook.*").await.unchunked();
    assert_eq!(file.lines().count(), 1, "{file}");
    let csv = page("/csv/audit?filter=action%3Awebhook.*").await.unchunked();
    assert_eq!(csv.lines().count(), 2, "{csv}");
    let nothing = page("/audit?filter=who%3Anone").await.text;
    assert!(nothing.contains("No entry matches"));
    cloud.shutdown().await;
}
