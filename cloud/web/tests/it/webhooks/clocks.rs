//! Clocks that step at every phase of a delivery: waiting deliveries continue soon after the clock is right
//! again.

use std::time::Duration;

use serde_json::json;

use super::receiver::{Receiver, Reply};
use super::{Ahead, cloud_with, eventually, hook, logged, say, shown};

const HOUR: i64 = 60 * 60 * 1000;
const YEARS: i64 = 10 * 365 * 24 * HOUR;

/// Steps, and the time after them in which deliveries have to continue.
const STEPS: [(&[i64], i64); 6] = [
    (&[3 * HOUR], 0),
    (&[-3 * HOUR], 4 * HOUR),
    (&[YEARS], 0),
    (&[YEARS, -YEARS], 4 * HOUR),
    (&[-YEARS], 4 * HOUR),
    (&[-YEARS, YEARS], 4 * HOUR),
];

#[tokio::test]
async fn a_delivery_that_waits_for_its_next_attempt() {
    for (steps, later) in STEPS {
        let ahead = Ahead::default();
        let cloud = cloud_with(|config| config.clock = ahead.clock()).await;
        let receiver = Receiver::start().await;
        receiver.next([Reply::status(500)]);
        let (id, _) = hook(&cloud, json!({}), &receiver.url()).await;
        say(&cloud, 0..1).await;
        logged(&cloud, &id, 1).await;
        for step in steps {
            ahead.by(*step);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        ahead.by(later);
        eventually("it is delivered", async || {
            shown(&cloud, &id).await["waiting"] == 0
        })
        .await;
        assert_eq!(
            (receiver.count(), &shown(&cloud, &id).await["enabled"]),
            (2, &json!(true)),
            "{steps:?}"
        );
        cloud.shutdown().await;
    }
}

#[tokio::test]
async fn an_attempt_that_fails_while_the_clock_is_ahead() {
    let ahead = Ahead::default();
    let cloud = cloud_with(|config| config.clock = ahead.clock()).await;
    let receiver = Receiver::start().await;
    // A failure, a receiver that asks for a pause, and a breaker that opens: each stores a time in ten years.
    for replies in [
        vec![Reply::status(500)],
        vec![Reply::with(429, "Retry-After: 3600", "")],
        vec![Reply::status(500); 12],
    ] {
        let failures = replies.len();
        ahead.by(YEARS);
        receiver.next(replies);
        let (id, _) = hook(&cloud, json!({}), &receiver.url()).await;
        say(&cloud, 0..failures as u64).await;
        logged(&cloud, &id, failures.min(10)).await;
        ahead.by(-YEARS);
        ahead.by(HOUR);
        eventually("everything is delivered", async || {
            ahead.by(HOUR);
            tokio::time::sleep(Duration::from_millis(500)).await;
            shown(&cloud, &id).await["waiting"] == 0
        })
        .await;
        assert_eq!(
            (
                &shown(&cloud, &id).await["enabled"],
                &shown(&cloud, &id).await["failed"]
            ),
            (&json!(true), &json!(0))
        );
        receiver.always(None);
    }
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_step_of_years_between_two_failures_is_not_five_days_of_failing() {
    let ahead = Ahead::default();
    let cloud = cloud_with(|config| config.clock = ahead.clock()).await;
    let receiver = Receiver::start().await;
    receiver.next([Reply::status(500), Reply::status(500), Reply::status(500)]);
    let (id, _) = hook(&cloud, json!({}), &receiver.url()).await;
    say(&cloud, 0..1).await;
    logged(&cloud, &id, 1).await;
    ahead.by(YEARS);
    logged(&cloud, &id, 2).await;
    ahead.by(-YEARS);
    ahead.by(HOUR);
    logged(&cloud, &id, 3).await;
    assert_eq!(shown(&cloud, &id).await["enabled"], true);
    ahead.by(HOUR);
    eventually("it is delivered", async || {
        shown(&cloud, &id).await["waiting"] == 0
    })
    .await;
    cloud.shutdown().await;
}
