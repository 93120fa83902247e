//! Filters that are too expensive while their messages are stored: decided later, or visibly not at all.

use std::time::Duration;

use serde_json::json;

use super::receiver::Receiver;
use super::{cloud, eventually, hook, log, say, shown};

/// Returns a text of a million digits with a letter at its end.
fn digits(end: &str) -> String {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        if state >> 62 & 1 == 1 { '1' } else { '0' }
    };
    format!(r#"{{"s":"{}{end}"}}"#, (0..700_000).map(next).collect::<String>())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_that_is_too_expensive_is_recorded_and_delays_nobody() {
    let cloud = cloud().await;
    let (bad, good) = (Receiver::start().await, Receiver::start().await);
    let (expensive, _) = hook(
        &cloud,
        json!({"type": "user", "filter": {"s": {"$regex": "1[01]{200}x"}}}),
        &bad.url(),
    )
    .await;
    let (_other, _) = hook(&cloud, json!({"type": "user", "filter": {"n": 7}}), &good.url()).await;
    let long = digits("");
    let three = [long.as_str(); 3];
    let storing = cloud.store(cloud.tenant.scope, cloud.services.webhooks.now(), &three);
    let refused = tokio::time::timeout(Duration::from_secs(10), storing)
        .await
        .expect("storing does not wait for filters");
    assert!(refused.is_empty(), "{refused:?}");
    say(&cloud, 0..10).await;
    assert_eq!(
        good.wait_for(1).await.len(),
        1,
        "another webhook of the same messages continues"
    );
    eventually("the messages are kept as failed", async || {
        shown(&cloud, &expensive).await["failed"] == 3
    })
    .await;
    let entries = log(&cloud, &expensive).await;
    assert!(
        entries.iter().all(|entry| entry["result"] == "not_matched"),
        "{entries:?}"
    );
    let answer = entries[0]["answer"].as_str().expect("a text");
    assert_eq!(answer, "filter is too expensive for this document (at payload.s)");
    assert_eq!(
        (shown(&cloud, &expensive).await["waiting"].clone(), bad.count()),
        (json!(0), 0)
    );
    assert_eq!(
        shown(&cloud, &expensive).await["enabled"],
        true,
        "three are not too many"
    );

    let ten = [long.as_str(); 10];
    let storing = cloud.store(cloud.tenant.scope, cloud.services.webhooks.now(), &ten);
    assert!(storing.await.is_empty());
    eventually("it is switched off", async || {
        shown(&cloud, &expensive).await["enabled"] == false
    })
    .await;
    let reason = shown(&cloud, &expensive).await["disabled_reason"]
        .as_str()
        .expect("a reason")
        .to_owned();
    assert!(reason.starts_with("filter is too expensive"), "{reason}");
    cloud.shutdown().await;
}

#[tokio::test]
async fn what_is_not_decided_while_it_is_stored_is_decided_before_it_is_sent() {
    for ordered in [false, true] {
        let cloud = cloud().await;
        let receiver = Receiver::start().await;
        let settings = json!({"type": "user", "ordered": ordered, "filter": {"$or": [{"s": {"$regex": "x$"}}, {"n": {"$gte": 0}}]}});
        let (id, _) = hook(&cloud, settings, &receiver.url()).await;
        let (matching, other) = (digits("x"), digits("y"));
        let payloads = [
            r#"{"n":0}"#,
            &other,
            &matching,
            r#"{"n":1}"#,
            &other,
            r#"{"n":2}"#,
        ];
        assert!(
            cloud
                .store(cloud.tenant.scope, cloud.services.webhooks.now(), &payloads)
                .await
                .is_empty()
        );
        eventually("all is done", async || shown(&cloud, &id).await["waiting"] == 0).await;
        let mut taken: Vec<_> = receiver
            .requests()
            .iter()
            .map(|request| request.body.len() > 1000)
            .collect();
        if !ordered {
            taken.sort_unstable();
            assert_eq!(taken, [false, false, false, true]);
        } else {
            assert_eq!(taken, [false, true, false, false]);
        }
        assert_eq!(shown(&cloud, &id).await["failed"], 0);
        cloud.shutdown().await;
    }
}

#[tokio::test]
async fn a_message_that_was_never_matched_is_matched_when_it_is_made_again() {
    let cloud = cloud().await;
    let receiver = Receiver::start().await;
    let (id, _) = hook(
        &cloud,
        json!({"type": "user", "filter": {"s": {"$regex": "1[01]{200}x"}}}),
        &receiver.url(),
    )
    .await;
    let (matching, other) = (digits("x"), digits("y"));
    assert!(
        cloud
            .store(
                cloud.tenant.scope,
                cloud.services.webhooks.now(),
                &[&matching, &other]
            )
            .await
            .is_empty()
    );
    eventually("both are kept as failed", async || {
        shown(&cloud, &id).await["failed"] == 2
    })
    .await;
    let path = format!("/v1.0/project/<project id>/webhooks/{id}");
    let headers = [&*cloud.bearer(), "Content-Type: application/json"];
    let body = json!({"url": receiver.url(), "type": "user", "filter": {"s": {"$regex": "x$"}}}).to_string();
    let changed = cloud.request("PUT", &path, &headers, body.as_bytes()).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    let replayed = cloud
        .post(&format!("{path}/replay"), r#"{"failed_since":0}"#)
        .await;
    assert!(replayed.status < 300, "{}", replayed.text);
    eventually("both are decided", async || {
        let shown = shown(&cloud, &id).await;
        shown["waiting"] == 0 && shown["failed"] == 0
    })
    .await;
    assert_eq!(receiver.count(), 1, "only the one that matches was sent");
    cloud.shutdown().await;
}
