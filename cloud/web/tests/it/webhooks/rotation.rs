//! Rotation of a secret, without a request that the receiver has to refuse.

use serde_json::json;

use super::receiver::{Receiver, is_secret};
use super::{Ahead, cloud_with, hook, say, shown};

#[tokio::test]
async fn both_secrets_sign_for_a_day() {
    let ahead = Ahead::default();
    let cloud = cloud_with(|config| config.clock = ahead.clock()).await;
    let receiver = Receiver::start().await;
    let (id, old) = hook(&cloud, json!({}), &receiver.url()).await;
    let answer = cloud
        .post(
            &format!("/v1.0/project/<project id>/webhooks/{id}/secret/rotate"),
            "",
        )
        .await
        .ok();
    let new = answer["secret"].as_str().expect("text").to_owned();
    assert!(is_secret(&old) && is_secret(&new) && old != new);
    assert!(shown(&cloud, &id).await["former_secret_until"].is_object());
    say(&cloud, 0..1).await;
    let request = receiver.wait_for(1).await[0].clone();
    assert!(request.verify(&old) && request.verify(&new));
    assert_eq!(request.headers["webhook-signature"].split(' ').count(), 2);
    ahead.by(24 * 60 * 60 * 1000);
    say(&cloud, 1..2).await;
    let request = receiver.wait_for(2).await[1].clone();
    // The library uses the clock of this machine, so only the number of signatures is checked.
    assert_eq!(request.headers["webhook-signature"].split(' ').count(), 1);
    assert!(shown(&cloud, &id).await["former_secret_until"].is_null());
    cloud.shutdown().await;
}
