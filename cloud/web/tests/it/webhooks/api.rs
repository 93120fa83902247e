//! REST API of webhooks: accepted and refused settings, and values that are never shown.

use iottly_core::model::Scopes;
use iottly_web::auth::mint_token;
use serde_json::{Value, json};

use super::receiver::Receiver;
use super::{cloud, eventually, hook, log, say, shown};

const HOOKS: &str = "/v1.0/project/<project id>/webhooks";

#[tokio::test]
async fn secrets_and_values_of_headers_are_written_only() {
    let cloud = cloud().await;
    let receiver = Receiver::start().await;
    let key = "Bearer abcdefghijklmnop";
    let (id, secret) = hook(
        &cloud,
        json!({"headers": {"Authorization": key, "X-Short": "1"}}),
        &receiver.url(),
    )
    .await;
    let path = format!("{HOOKS}/{id}");
    let mask = "********";
    assert_eq!(
        shown(&cloud, &id).await["headers"],
        json!({"Authorization": mask, "X-Short": mask})
    );
    // The receiver echoes the request.
    receiver.next([super::receiver::Reply::with(
        200,
        "X-A: 1",
        &format!("you sent {key}"),
    )]);
    cloud.post(&format!("{path}/test"), "").await.ok();
    eventually("it is logged", async || log(&cloud, &id).await.len() == 1).await;
    assert_eq!(log(&cloud, &id).await[0]["answer"], format!("you sent {mask}"));
    // The mask keeps a value, whatever the case of the name.
    let body = json!({"headers": {"authorization": mask, "X-New": "2"}}).to_string();
    let changed = cloud
        .request("PUT", &path, &[&cloud.bearer()], body.as_bytes())
        .await
        .ok();
    assert_eq!(changed["headers"], json!({"authorization": mask, "X-New": mask}));
    cloud.post(&format!("{path}/test"), "").await.ok();
    let sent = receiver.requests().pop().expect("a request");
    assert_eq!(
        (
            sent.headers["authorization"].as_str(),
            sent.headers["x-new"].as_str()
        ),
        (key, "2")
    );
    assert!(!sent.headers.contains_key("x-short"));
    for path in [
        HOOKS.to_owned(),
        path.clone(),
        format!("{path}/log"),
        "/v1.0/project/<project id>/auditlog".to_owned(),
    ] {
        let text = cloud.get(&path).await.text;
        assert!(!text.contains(key) && !text.contains(&secret), "{path}: {text}");
    }
    cloud.shutdown().await;
}

/// Tries every way of redirecting a webhook, with a token that may change webhooks and read no secrets.
#[tokio::test]
async fn values_of_headers_go_to_no_receiver_that_they_were_not_set_for() {
    let cloud = cloud().await;
    let (third_party, own) = (Receiver::start().await, Receiver::start().await);
    let key = "very-secret-key-of-third-party";
    let headers = json!({"X-Api-Key": key, "Content-Type": "application/json"});
    let (id, _) = hook(&cloud, json!({"headers": headers}), &third_party.url()).await;
    let path = format!("{HOOKS}/{id}");
    let minted = mint_token(
        cloud.tenant.scope.project,
        "w",
        Scopes::READ.with(Scopes::WRITE),
        None,
        1,
    )
    .expect("randomness");
    cloud
        .services
        .store
        .create_token(minted.hash, &minted.token)
        .await
        .expect("created");
    let writer = format!("Authorization: Bearer {}", minted.text.expose());
    let put = async |settings: Value| {
        cloud
            .request("PUT", &path, &[&writer], settings.to_string().as_bytes())
            .await
    };
    let port = third_party
        .url()
        .rsplit(':')
        .next()
        .expect("a port")
        .trim_end_matches('/')
        .to_owned();
    for url in [
        own.url(),
        format!("http://localhost:{port}/"),
        format!("https://127.0.0.1:{port}/"),
        "http://127.0.0.1/".into(),
    ] {
        let mask = "********";
        for settings in [
            json!({"url": url}),
            json!({"url": url, "headers": {"X-Api-Key": mask}}),
            json!({"url": url, "headers": {"x-api-key": mask, "X-More": "1"}}),
            json!({"url": url, "enabled": false}),
        ] {
            let refused = put(settings.clone()).await;
            let reason = refused.error(400);
            assert!(
                reason.contains("X-Api-Key") && !reason.contains("Content-Type"),
                "{settings}: {reason}"
            );
            assert_eq!(refused.json()["code"], "headers_required");
        }
    }
    for at in ["test", "secret/rotate"] {
        cloud
            .request("POST", &format!("{path}/{at}"), &[&writer], b"")
            .await
            .ok();
    }
    say(&cloud, 0..1).await;
    eventually("the message is sent", async || third_party.requests().len() == 2).await;
    assert!(own.requests().is_empty());
    assert!(
        third_party
            .requests()
            .iter()
            .all(|request| request.headers["x-api-key"] == key),
        "its own receiver gets it"
    );
    // Another path is the same receiver; another receiver gets the headers that are given for it.
    put(json!({"url": format!("{}other/path", third_party.url())}))
        .await
        .ok();
    put(json!({"url": own.url(), "headers": {}})).await.ok();
    cloud
        .request("POST", &format!("{path}/test"), &[&writer], b"")
        .await
        .ok();
    put(json!({"url": third_party.url()})).await.ok();
    put(json!({"url": own.url(), "headers": {"X-Api-Key": "mine"}}))
        .await
        .ok();
    cloud
        .request("POST", &format!("{path}/test"), &[&writer], b"")
        .await
        .ok();
    let sent = own.requests();
    assert!(!sent[0].headers.contains_key("x-api-key"));
    assert_eq!(sent[1].headers["x-api-key"], "mine");
    cloud.shutdown().await;
}

#[tokio::test]
async fn what_cannot_be_configured_is_refused_with_its_reason() {
    let cloud = cloud().await;
    for (settings, reason) in [
        (json!({}), "url is missing"),
        (
            json!({"url": "http://example.com/", "type": "mine"}),
            "type is not",
        ),
        (
            json!({"url": "http://example.com/", "filter": {"$where": "1"}}),
            "$where",
        ),
        (
            json!({"url": "http://example.com/", "filter": "text"}),
            "is no condition",
        ),
        (json!({"url": "http://example.com/", "secret": "mine"}), "secret"),
        (
            json!({"url": "http://example.com/", "description": "x".repeat(1025)}),
            "description",
        ),
        (
            json!({"url": "http://example.com/", "headers": {"X-A": "1\r\nX-B: 2"}}),
            "X-A",
        ),
        (
            json!({"url": "http://example.com/", "headers": {"X-A\r\nX-B": "2"}}),
            "not a token",
        ),
        (
            json!({"url": "http://example.com/", "headers": {"Host": "inside"}}),
            "platform",
        ),
        (
            json!({"url": "http://example.com/", "headers": {"Content-Length": "1"}}),
            "platform",
        ),
        (
            json!({"url": "http://example.com/", "headers": {"webhook-id": "1"}}),
            "platform",
        ),
        (
            json!({"url": "http://example.com/", "headers": {"Content-Type": "text/xml"}}),
            "content type",
        ),
        (
            json!({"url": "http://example.com/", "headers": {"A": "", "B": "", "C": "", "D": "", "E": "", "F": ""}}),
            "at most 5",
        ),
    ] {
        let error = cloud.post(HOOKS, &settings.to_string()).await.error(400);
        assert!(error.contains(reason), "{settings}: {error}");
    }
    assert_eq!(cloud.get(HOOKS).await.ok()["webhooks"], json!([]));
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_project_has_five_webhooks_at_most_and_can_change_and_remove_them() {
    let cloud = cloud().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(
            hook(
                &cloud,
                json!({"description": format!("number {n}")}),
                "http://example.com/",
            )
            .await
            .0,
        );
    }
    let error = cloud
        .post(HOOKS, r#"{"url":"http://example.com/"}"#)
        .await
        .error(409);
    assert!(error.contains("limit of 5"), "{error}");
    let path = format!("{HOOKS}/{}", ids[2]);
    let body =
        json!({"type": "user", "channel": "north", "filter": {"t": {"$gt": 5}}, "ordered": true}).to_string();
    let changed = cloud
        .request("PUT", &path, &[&cloud.bearer()], body.as_bytes())
        .await
        .ok();
    assert_eq!(changed["filter"], json!({"t": {"$gt": 5}}));
    assert_eq!(
        (&changed["type"], &changed["channel"], &changed["description"]),
        (&json!("user"), &json!("north"), &json!("number 2"))
    );
    let changed = cloud
        .request(
            "PUT",
            &path,
            &[&cloud.bearer()],
            br#"{"filter":null,"channel":"*"}"#,
        )
        .await
        .ok();
    assert_eq!(
        (&changed["filter"], &changed["channel"], &changed["ordered"]),
        (&Value::Null, &json!("*"), &json!(true))
    );
    cloud.request("DELETE", &path, &[&cloud.bearer()], b"").await.ok();
    cloud.get(&path).await.error(404);
    cloud
        .request("DELETE", &path, &[&cloud.bearer()], b"")
        .await
        .error(404);
    let left: Vec<_> = cloud.get(HOOKS).await.ok()["webhooks"]
        .as_array()
        .expect("a list")
        .clone();
    assert_eq!(
        left.iter()
            .map(|hook| hook["id"].as_str().expect("an id"))
            .collect::<Vec<_>>(),
        [&ids[0], &ids[1], &ids[3], &ids[4]]
    );
    hook(&cloud, json!({}), "http://example.com/").await;
    cloud.shutdown().await;
}

#[tokio::test]
async fn who_may_not_read_sends_no_messages_away() {
    let cloud = cloud().await;
    let minted =
        mint_token(cloud.tenant.scope.project, "writer", Scopes::WRITE, None, 1).expect("randomness");
    cloud
        .services
        .store
        .create_token(minted.hash, &minted.token)
        .await
        .expect("created");
    let writer = format!("Authorization: Bearer {}", minted.text.expose());
    cloud
        .request("POST", HOOKS, &[&writer], br#"{"url":"http://example.com/"}"#)
        .await
        .error(403);
    cloud.shutdown().await;
}

#[tokio::test]
async fn numbers_of_deliveries_are_in_the_metrics() {
    let cloud = cloud().await;
    let receiver = Receiver::start().await;
    receiver.next([super::receiver::Reply::status(500)]);
    let (id, _) = hook(&cloud, json!({}), &receiver.url()).await;
    say(&cloud, 0..3).await;
    eventually("three attempts", async || log(&cloud, &id).await.len() == 3).await;
    let metrics = cloud.get("/metrics").await.text;
    for line in [
        r#"iottly_webhook_attempts_total{result="http_2xx"} 2"#,
        r#"iottly_webhook_attempts_total{result="http_5xx"} 1"#,
        "iottly_webhook_waiting 1",
        "iottly_webhook_breakers_open 0",
        "iottly_webhook_dropped_total 0",
        "iottly_webhook_oldest_seconds ",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    cloud.shutdown().await;
}
