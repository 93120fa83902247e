//! Receivers that fail in every way, and the effect on others.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::receiver::{Receiver, Reply};
use super::{Ahead, cloud, cloud_with, eventually, hook, log, logged, nobody, say, shown};

const HOUR: i64 = 60 * 60 * 1000;

#[tokio::test]
async fn attempts_follow_the_schedule_and_end_as_failed() {
    let ahead = Ahead::default();
    let cloud = cloud_with(|config| config.clock = ahead.clock()).await;
    let receiver = Receiver::start().await;
    receiver.always(Some(Reply::with(500, "X-A: 1", "out of order")));
    let (id, _) = hook(&cloud, json!({}), &receiver.url()).await;
    say(&cloud, 0..1).await;
    for (attempt, wait) in [0, 5, 300, 1800, 7200, 18_000, 36_000, 36_000]
        .into_iter()
        .enumerate()
    {
        // The longest wait with jitter, and not a second before the shortest.
        ahead.by(wait * 1200 + 1000);
        let attempts = logged(&cloud, &id, attempt + 1).await;
        assert_eq!(attempts.len(), attempt + 1);
        assert_eq!(
            (&attempts[0]["attempt"], &attempts[0]["result"]),
            (&json!(attempt + 1), &json!("http_500"))
        );
        assert_eq!(attempts[0]["answer"], "out of order");
        if let Some(next) = shown(&cloud, &id).await["next_attempt"]["$date"].as_i64() {
            let waits = next - attempts[0]["at"]["$date"].as_i64().expect("a date");
            let published = [5, 300, 1800, 7200, 18_000, 36_000, 36_000][attempt] * 1000;
            assert!(
                (published * 8 / 10..=published * 12 / 10 + 60_000).contains(&waits),
                "{attempt}: {waits}"
            );
        }
    }
    eventually("the delivery is kept as failed", async || {
        shown(&cloud, &id).await["failed"] == 1
    })
    .await;
    ahead.by(100 * HOUR);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(
        (receiver.count(), &shown(&cloud, &id).await["waiting"]),
        (8, &json!(0)),
        "and that was all"
    );
    let ids: std::collections::HashSet<_> = receiver
        .requests()
        .iter()
        .map(|request| request.id().to_owned())
        .collect();
    assert_eq!(ids.len(), 1, "one id over all attempts");
    cloud.shutdown().await;
}

#[tokio::test]
async fn every_failure_has_its_name() {
    let cloud = cloud().await;
    let receiver = Receiver::start().await;
    let (id, _) = hook(&cloud, json!({"ordered": true}), &receiver.url()).await;
    let test = async || {
        cloud
            .post(&format!("/v1.0/project/<project id>/webhooks/{id}/test"), "")
            .await
            .ok()
    };
    for (reply, delivered, result) in [
        (Reply::status(204), true, "http_204"),
        (Reply::status(500), false, "http_500"),
        (
            Reply::with(301, "Location: http://127.0.0.1:1/", ""),
            false,
            "http_301",
        ),
        (
            Reply::with(302, &format!("Location: {}", receiver.url()), ""),
            false,
            "http_302",
        ),
        (
            Reply::with(429, "Retry-After: 120", "slow down"),
            false,
            "http_429",
        ),
        (Reply::Raw("nonsense\r\n\r\n".into()), false, "connection"),
        (Reply::Reset, false, "connection"),
        (Reply::BreakOff, true, "http_200"),
        (Reply::Huge(10 << 20), true, "http_200"),
    ] {
        let before = receiver.count();
        receiver.next([reply.clone()]);
        let answer = test().await;
        assert_eq!(
            (&answer["delivered"], &answer["attempt"]["result"]),
            (&json!(delivered), &json!(result)),
            "{reply:?}"
        );
        assert!(answer["attempt"]["answer"].as_str().expect("text").len() <= 1024);
        assert_eq!(
            receiver.count(),
            before + 1,
            "{reply:?}: no redirect is followed, nothing is sent twice"
        );
    }
    let closed = format!("http://{}/", nobody().await);
    let (closed, _) = hook(&cloud, json!({}), &closed).await;
    let answer = cloud
        .post(&format!("/v1.0/project/<project id>/webhooks/{closed}/test"), "")
        .await
        .ok();
    assert_eq!(answer["attempt"]["result"], "connect", "{answer}");
    let (nameless, _) = hook(&cloud, json!({}), "http://no-such-name.invalid/").await;
    let answer = cloud
        .post(
            &format!("/v1.0/project/<project id>/webhooks/{nameless}/test"),
            "",
        )
        .await
        .ok();
    assert_eq!(answer["attempt"]["result"], "dns", "{answer}");
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_slow_receiver_times_out() {
    let cloud = cloud().await;
    let receiver = Receiver::start().await;
    receiver.next([Reply::Late(Duration::from_secs(60), String::new())]);
    let (id, _) = hook(&cloud, json!({}), &receiver.url()).await;
    let began = Instant::now();
    let answer = cloud
        .post(&format!("/v1.0/project/<project id>/webhooks/{id}/test"), "")
        .await
        .ok();
    assert_eq!(answer["attempt"]["result"], "timeout");
    assert!(
        began.elapsed() >= Duration::from_secs(14),
        "{:?}",
        began.elapsed()
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn an_overloaded_receiver_is_left_alone_for_as_long_as_it_asks() {
    let ahead = Ahead::default();
    let cloud = cloud_with(|config| config.clock = ahead.clock()).await;
    let receiver = Receiver::start().await;
    receiver.next([Reply::with(429, "Retry-After: 600", "")]);
    let (id, _) = hook(&cloud, json!({}), &receiver.url()).await;
    say(&cloud, 0..1).await;
    logged(&cloud, &id, 1).await;
    say(&cloud, 1..20).await;
    ahead.by(500_000);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(receiver.count(), 1, "the whole webhook pauses");
    ahead.by(101_000);
    receiver.wait_for(21).await;
    eventually("everything is delivered", async || {
        shown(&cloud, &id).await["waiting"] == 0
    })
    .await;
    assert_eq!(receiver.count(), 21);
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_receiver_that_is_gone_switches_its_webhook_off() {
    let cloud = cloud().await;
    let receiver = Receiver::start().await;
    receiver.next([Reply::status(410)]);
    let (id, _) = hook(&cloud, json!({}), &receiver.url()).await;
    say(&cloud, 0..1).await;
    eventually("it is off", async || shown(&cloud, &id).await["enabled"] == false).await;
    assert_eq!(
        shown(&cloud, &id).await["disabled_reason"],
        "receiver answered 410"
    );
    say(&cloud, 1..4).await;
    eventually("what comes is skipped", async || {
        shown(&cloud, &id).await["skipped"] == 3
    })
    .await;
    let audit = cloud.get("/v1.0/project/<project id>/auditlog").await.ok();
    assert_eq!(audit["entries"][0]["action"], "webhook.disable", "{audit}");
    let metrics = cloud.get("/metrics").await.text;
    assert!(metrics.contains("iottly_webhook_disabled_total 1"), "{metrics}");
    let path = format!("/v1.0/project/<project id>/webhooks/{id}");
    let on = cloud
        .request("PUT", &path, &[&cloud.bearer()], br#"{"enabled":true}"#)
        .await;
    assert_eq!(on.ok()["disabled_reason"], Value::Null);
    receiver.wait_for(2).await;
    eventually("what waited is delivered", async || {
        shown(&cloud, &id).await["waiting"] == 0
    })
    .await;
    assert_eq!(
        shown(&cloud, &id).await["failed"],
        3,
        "what was skipped waits for a replay"
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn the_breaker_opens_probes_and_closes() {
    let ahead = Ahead::default();
    let cloud = cloud_with(|config| config.clock = ahead.clock()).await;
    let receiver = Receiver::start().await;
    receiver.always(Some(Reply::status(503)));
    let (id, _) = hook(&cloud, json!({}), &receiver.url()).await;
    say(&cloud, 0..50).await;
    eventually("it is open", async || {
        shown(&cloud, &id).await["breaker"] == "open"
    })
    .await;
    let sent = receiver.count();
    assert!((10..=12).contains(&sent), "{sent} requests");
    for probe in 1..=3 {
        tokio::time::sleep(Duration::from_millis(1200)).await;
        assert_eq!(receiver.count(), sent + probe - 1, "nothing but probes");
        ahead.by(31_000);
        receiver.wait_for(sent + probe).await;
        logged(&cloud, &id, sent + probe).await;
    }
    let highest = log(&cloud, &id)
        .await
        .iter()
        .filter_map(|attempt| attempt["attempt"].as_u64())
        .max();
    assert!(highest <= Some(2), "probes spend no attempts: {highest:?}");
    receiver.always(None);
    ahead.by(31_000);
    eventually("it is closed", async || {
        shown(&cloud, &id).await["breaker"] == "closed"
    })
    .await;
    ahead.by(HOUR);
    eventually("everything is delivered", async || {
        shown(&cloud, &id).await["waiting"] == 0
    })
    .await;
    let delivered: std::collections::HashSet<_> = receiver
        .requests()
        .iter()
        .map(|request| request.id().to_owned())
        .collect();
    assert_eq!(delivered.len(), 50);
    cloud.shutdown().await;
}

#[tokio::test]
async fn five_days_of_failures_switch_a_webhook_off() {
    let ahead = Ahead::default();
    let cloud = cloud_with(|config| config.clock = ahead.clock()).await;
    let receiver = Receiver::start().await;
    receiver.always(Some(Reply::status(500)));
    let (id, _) = hook(&cloud, json!({}), &receiver.url()).await;
    say(&cloud, 0..1).await;
    logged(&cloud, &id, 1).await;
    ahead.by(119 * HOUR);
    logged(&cloud, &id, 2).await;
    assert_eq!(shown(&cloud, &id).await["enabled"], true);
    ahead.by(2 * HOUR);
    eventually("it is off", async || shown(&cloud, &id).await["enabled"] == false).await;
    assert_eq!(
        shown(&cloud, &id).await["disabled_reason"],
        "every attempt failed for five days"
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_dead_receiver_does_not_hold_up_another() {
    let cloud = cloud().await;
    let (dead, alive) = (Receiver::start().await, Receiver::start().await);
    dead.always(Some(Reply::Late(Duration::from_secs(60), String::new())));
    hook(&cloud, json!({}), &dead.url()).await;
    hook(&cloud, json!({}), &alive.url()).await;
    say(&cloud, 0..500).await;
    alive.wait_for(500).await;
    assert!(
        dead.count() <= 2,
        "an unknown receiver gets two requests at a time: {}",
        dead.count()
    );
    say(&cloud, 500..600).await;
    alive.wait_for(600).await;
    assert!(alive.requests().iter().all(|request| request.at_once <= 5));
    assert!(
        alive.connections() <= 20,
        "connections are used again: {}",
        alive.connections()
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn tls_needs_a_certificate_that_is_trusted() {
    use rcgen::generate_simple_self_signed;
    let made = generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])
        .expect("a certificate");
    let (certificate, key) = (made.cert.der().clone(), made.signing_key.serialize_der());
    let config = tokio_rustls::rustls::ServerConfig::builder_with_provider(std::sync::Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .expect("versions")
    .with_no_client_auth()
    .with_single_cert(vec![certificate.clone()], key.try_into().expect("a key"))
    .expect("fits");
    let receiver = Receiver::start_tls(std::sync::Arc::new(config).into()).await;
    let strict = cloud().await;
    let (id, _) = hook(&strict, json!({}), &receiver.url()).await;
    let answer = strict
        .post(&format!("/v1.0/project/<project id>/webhooks/{id}/test"), "")
        .await
        .ok();
    assert_eq!(answer["attempt"]["result"], "tls", "{answer}");
    strict.shutdown().await;
    let trusting = cloud_with(|config| config.roots = vec![certificate]).await;
    let (id, secret) = hook(&trusting, json!({}), &receiver.url()).await;
    let answer = trusting
        .post(&format!("/v1.0/project/<project id>/webhooks/{id}/test"), "")
        .await
        .ok();
    assert_eq!(answer["attempt"]["result"], "http_200", "{answer}");
    assert!(receiver.requests()[0].verify(&secret));
    trusting.shutdown().await;
}
