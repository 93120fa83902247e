//! Requests to a receiver: the documented bodies, byte for byte.

use serde_json::json;

use super::receiver::Receiver;
use super::{cloud, eventually, hook, log, logged, say, shown};

#[tokio::test]
async fn the_documented_form_is_signed_and_arrives_byte_for_byte() {
    let cloud = cloud().await;
    let receiver = Receiver::start().await;
    let (id, secret) = hook(
        &cloud,
        json!({"headers": {"X-Key": "a value of mine"}}),
        &receiver.url(),
    )
    .await;
    let at = cloud.services.webhooks.now() / 1000 * 1000 + 19;
    cloud
        .store(cloud.tenant.scope, at, &[r#"{"t":21.50, "a b":"ä&=+"}"#])
        .await;
    let requests = receiver.wait_for(1).await;
    let request = &requests[0];
    let scope = cloud.tenant.scope;
    // Written out as in the documentation, to be independent of the code that builds it.
    let day = |millis: i64| {
        let page = format!(
            "/v1.0/project/{}/device/{}/messages/paginated",
            scope.project, scope.device
        );
        let cloud = &cloud;
        async move {
            let page = cloud.get(&page).await.ok();
            let field = if millis == 0 {
                "timestamp"
            } else {
                "devicetimestamp"
            };
            page["messages"][0][field]
                .as_str()
                .expect("a date")
                .replace(':', "%3A")
        }
    };
    let expected = format!(
        "msg=%7B%22timestamp%22%3A%22{}%22%2C%22from%22%3A%22{}%22%2C%22to%22%3A%22{}%22%2C%22devicetimestamp%22%3A%22{}%22%2C\
         %22type%22%3A%22userdefined%22%2C%22payload%22%3A%7B%22t%22%3A21.50%2C+%22a+b%22%3A%22%C3%A4%26%3D%2B%22%7D%7D",
        day(0).await,
        scope.device,
        scope.project,
        day(1).await,
    );
    assert_eq!(request.body, expected);
    assert_eq!(request.path, "/webhook/user");
    assert_eq!(
        request.headers["content-type"],
        "application/x-www-form-urlencoded"
    );
    assert_eq!(request.headers["x-key"], "a value of mine");
    assert_eq!(
        request.headers["user-agent"],
        concat!("iottly/", env!("CARGO_PKG_VERSION"))
    );
    assert!(
        request.verify(&secret),
        "an independent library accepts the signature"
    );
    assert!(!request.verify("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
    let history = cloud
        .get("/v1.0/project/<project id>/messages/<device id>")
        .await
        .ok();
    assert_eq!(history["messages"][0]["_id"]["$oid"], request.id());
    let attempts = logged(&cloud, &id, 1).await;
    assert_eq!(
        (&attempts[0]["result"], &attempts[0]["attempt"]),
        (&json!("http_200"), &json!(1))
    );
    assert_eq!(attempts[0]["bytes"], request.body.len());
    eventually("nothing waits", async || shown(&cloud, &id).await["waiting"] == 0).await;
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_receiver_of_the_original_platform_gets_every_message_once() {
    let cloud = cloud().await;
    let receiver = Receiver::start().await;
    for (n, spelling) in ["Content-Type", "content-type", "CONTENT-TYPE"]
        .into_iter()
        .enumerate()
    {
        let value = [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
        ][n];
        hook(
            &cloud,
            json!({"type": "user", "headers": {spelling: value}}),
            &receiver.url(),
        )
        .await;
    }
    say(&cloud, 0..100).await;
    let requests = receiver.wait_for(300).await;
    for request in &requests {
        assert!(
            request.headers["content-type"]
                .to_lowercase()
                .starts_with("application/json")
        );
        let body: serde_json::Value = serde_json::from_str(&request.body).expect("JSON");
        for field in ["timestamp", "from", "to", "devicetimestamp", "type", "payload"] {
            assert!(body["msg"].get(field).is_some(), "{field}: {body}");
        }
        assert!(body["msg"].get("_id").is_none(), "{body}");
    }
    let mut ids: Vec<_> = requests.iter().map(|request| request.id().to_owned()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(
        (requests.len(), ids.len()),
        (300, 100),
        "each of three webhooks got each message once"
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn type_channel_filter_and_payload_only() {
    let cloud = cloud().await;
    let receivers = [
        Receiver::start().await,
        Receiver::start().await,
        Receiver::start().await,
        Receiver::start().await,
    ];
    for (receiver, settings) in receivers.iter().zip([
        json!({"type": "iottly"}),
        json!({"channel": "north"}),
        json!({"type": "user", "filter": {"t": {"$gt": 25}}}),
        json!({"payload_only": true, "channel": "north", "headers": {"content-type": "application/json"}}),
    ]) {
        hook(&cloud, settings, &receiver.url()).await;
    }
    let (scope, now) = (cloud.tenant.scope, cloud.services.webhooks.now());
    let kind = iottly_protocol::MessageKind::UserDefined;
    cloud
        .store_as(scope, now, kind, Some("north"), &[r#"{"t":1}"#])
        .await;
    cloud
        .store_as(scope, now, kind, Some("south"), &[r#"{"t":30}"#])
        .await;
    cloud
        .services
        .store
        .set_presence(scope, true, None, now)
        .await
        .expect("written");
    let mut bodies = Vec::new();
    for receiver in &receivers {
        bodies.push(receiver.wait_for(1).await[0].clone());
    }
    assert_eq!(
        bodies[0].message()["payload"],
        json!({"connectionstatus": "connected"})
    );
    assert_eq!(bodies[0].message()["type"], "iottlyagent");
    assert_eq!(
        (&bodies[1].message()["payload"], &bodies[1].message()["channel"]),
        (&json!({"t": 1}), &json!("north"))
    );
    assert_eq!(bodies[2].message()["payload"], json!({"t": 30}));
    assert_eq!(bodies[3].body, r#"{"msg":{"t":1}}"#);
    assert!(receivers.iter().all(|receiver| receiver.count() == 1));
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_test_is_sent_and_logged_as_one() {
    let cloud = cloud().await;
    let receiver = Receiver::start().await;
    let (id, secret) = hook(&cloud, json!({"enabled": false}), &receiver.url()).await;
    let answer = cloud
        .post(&format!("/v1.0/project/<project id>/webhooks/{id}/test"), "")
        .await
        .ok();
    assert_eq!(
        (&answer["delivered"], &answer["attempt"]["result"]),
        (&json!(true), &json!("http_200"))
    );
    let requests = receiver.requests();
    assert_eq!(requests[0].message()["payload"], json!({"test": {"webhook": id}}));
    assert!(requests[0].verify(&secret));
    assert_eq!(logged(&cloud, &id, 1).await[0]["device"], json!(null));
    assert_eq!(log(&cloud, &id).await.len(), 1);
    cloud.shutdown().await;
}
