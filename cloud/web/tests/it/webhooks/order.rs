//! Strict order: one delivery after the other, whatever happens to one of them.

use std::time::Duration;

use serde_json::{Value, json};

use super::receiver::{Receiver, Reply};
use super::{Ahead, cloud, cloud_with, eventually, hook, logged, say, shown};

fn numbers(receiver: &Receiver) -> Vec<u64> {
    let messages = receiver.requests().into_iter().map(|request| request.message());
    messages
        .filter_map(|message: Value| message["payload"]["n"].as_u64())
        .collect()
}

#[tokio::test]
async fn ordered_deliveries_are_never_two_at_a_time() {
    let cloud = cloud().await;
    let receiver = Receiver::start().await;
    let (id, _) = hook(&cloud, json!({"ordered": true}), &receiver.url()).await;
    for first in (0..300).step_by(50) {
        say(&cloud, first..first + 50).await;
    }
    receiver.wait_for(300).await;
    assert_eq!(numbers(&receiver), (0..300).collect::<Vec<_>>());
    assert!(receiver.requests().iter().all(|request| request.at_once == 1));
    eventually("nothing waits", async || shown(&cloud, &id).await["waiting"] == 0).await;
    cloud.shutdown().await;
}

#[tokio::test]
async fn one_that_fails_holds_the_others_back() {
    let ahead = Ahead::default();
    let cloud = cloud_with(|config| config.clock = ahead.clock()).await;
    let receiver = Receiver::start().await;
    receiver.next([
        Reply::status(200),
        Reply::status(200),
        Reply::status(500),
        Reply::Reset,
    ]);
    let (id, _) = hook(&cloud, json!({"ordered": true}), &receiver.url()).await;
    say(&cloud, 0..10).await;
    logged(&cloud, &id, 3).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(numbers(&receiver), [0, 1, 2]);
    ahead.by(10_000);
    logged(&cloud, &id, 4).await;
    ahead.by(400_000);
    receiver.wait_for(12).await;
    assert_eq!(numbers(&receiver), [0, 1, 2, 2, 2, 3, 4, 5, 6, 7, 8, 9]);
    cloud.shutdown().await;
}
