//! Replays of deliveries.

use serde_json::json;

use super::receiver::{Receiver, Reply};
use super::{Ahead, cloud, cloud_with, eventually, hook, logged, say, shown};

#[tokio::test]
async fn a_delivered_message_is_sent_again_under_its_id() {
    let cloud = cloud().await;
    let receiver = Receiver::start().await;
    let (id, secret) = hook(&cloud, json!({}), &receiver.url()).await;
    say(&cloud, 0..3).await;
    receiver.wait_for(3).await;
    logged(&cloud, &id, 3).await;
    let first = receiver.requests()[1].clone();
    let replay = format!("/v1.0/project/<project id>/webhooks/{id}/replay");
    let answer = cloud
        .post(&replay, &json!({"message": first.id()}).to_string())
        .await
        .ok();
    assert_eq!(answer["replayed"], 1);
    let again = receiver.wait_for(4).await[3].clone();
    assert_eq!((again.id(), &again.body), (first.id(), &first.body));
    assert!(again.verify(&secret));
    cloud
        .post(&replay, r#"{"message":"000000000000000000000000"}"#)
        .await
        .error(404);
    for bad in [
        "{}",
        r#"{"message":"x"}"#,
        r#"{"message":"000000000000000000000000","failed_since":1}"#,
    ] {
        cloud.post(&replay, bad).await.error(400);
    }
    cloud.shutdown().await;
}

#[tokio::test]
async fn what_failed_or_was_skipped_is_recovered() {
    let ahead = Ahead::default();
    let cloud = cloud_with(|config| config.clock = ahead.clock()).await;
    let receiver = Receiver::start().await;
    receiver.always(Some(Reply::status(500)));
    let (id, _) = hook(&cloud, json!({}), &receiver.url()).await;
    let began = cloud.services.webhooks.now();
    say(&cloud, 0..1).await;
    for attempt in 1..=8 {
        logged(&cloud, &id, attempt).await;
        ahead.by(13 * 60 * 60 * 1000);
    }
    eventually("it has failed", async || shown(&cloud, &id).await["failed"] == 1).await;
    let path = format!("/v1.0/project/<project id>/webhooks/{id}");
    cloud
        .request("PUT", &path, &[&cloud.bearer()], br#"{"enabled":false}"#)
        .await
        .ok();
    assert_eq!(
        shown(&cloud, &id).await["disabled_reason"],
        "switched off by hand"
    );
    say(&cloud, 1..50).await;
    eventually("they are skipped", async || {
        shown(&cloud, &id).await["failed"] == 50
    })
    .await;
    receiver.always(None);
    cloud
        .request("PUT", &path, &[&cloud.bearer()], br#"{"enabled":true}"#)
        .await
        .ok();
    let before = receiver.count();
    let body = json!({"failed_since": began}).to_string();
    let answer = cloud.post(&format!("{path}/replay"), &body).await.ok();
    assert_eq!(answer["replayed"], 50);
    receiver.wait_for(before + 50).await;
    eventually("nothing is left", async || {
        let shown = shown(&cloud, &id).await;
        shown["waiting"] == 0 && shown["failed"] == 0
    })
    .await;
    let audit = cloud.get("/v1.0/project/<project id>/auditlog").await.ok();
    assert_eq!(audit["entries"][0]["action"], "webhook.replay");
    cloud.shutdown().await;
}
