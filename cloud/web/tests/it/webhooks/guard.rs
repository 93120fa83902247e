//! Requests into networks that projects may not reach.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use iottly_cloud::webhooks::Resolver;
use serde_json::json;

use super::receiver::Receiver;
use super::{cloud_with, hook, logged, say};
use crate::support::start;

/// Creates a resolver that returns the answers in a list, one per query, the last one forever.
fn answering(answers: &'static [&'static [&'static str]]) -> (Resolver, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let resolver: Resolver = Arc::new(move |_| {
        let n = count.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
        let found: Vec<IpAddr> = answers[n]
            .iter()
            .map(|address| address.parse().expect("an address"))
            .collect();
        Box::pin(std::future::ready(Ok(found)))
    });
    (resolver, asked)
}

#[tokio::test]
async fn addresses_inside_are_refused_when_they_are_configured() {
    let cloud = start().await;
    for url in [
        "http://127.0.0.1:9000/webhook/user",
        "http://127.1:9000/",
        "http://0x7f000001:9000/",
        "http://2130706433:9000/",
        "http://[::1]:9000/",
        "http://[::ffff:127.0.0.1]:9000/",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "http://user:secret@example.com/",
        "http://example.com:25/",
        "ftp://example.com/",
        "//example.com/",
        "",
    ] {
        let body = json!({"url": url}).to_string();
        let error = cloud
            .post("/v1.0/project/<project id>/webhooks", &body)
            .await
            .error(400);
        assert!(error.starts_with("url: "), "{url}: {error}");
        assert!(!error.contains("secret"), "{error}");
    }
    let (id, _) = hook(&cloud, json!({}), "http://example.com/").await;
    let path = format!("/v1.0/project/<project id>/webhooks/{id}");
    let inside = br#"{"url":"http://192.168.0.1/"}"#;
    cloud
        .request("PUT", &path, &[&cloud.bearer()], inside)
        .await
        .error(400);
    cloud.shutdown().await;
}

#[tokio::test]
async fn names_that_lead_inside_are_blocked_when_they_are_resolved() {
    let receiver = Receiver::start().await;
    let port = receiver.address.port();
    for addresses in [
        &["127.0.0.1"][..],
        &["::ffff:127.0.0.1"],
        &["::1", "10.0.0.1", "169.254.169.254"],
    ] {
        let answers: &'static [&'static [&'static str]] = Box::leak(Box::new([addresses]));
        let (resolver, asked) = answering(answers);
        let cloud = cloud_with(|config| (config.allow, config.resolver) = (Vec::new(), Some(resolver))).await;
        let (id, _) = hook(&cloud, json!({}), &format!("http://rebinding.example:{port}/")).await;
        say(&cloud, 0..1).await;
        let attempts = logged(&cloud, &id, 1).await;
        assert_eq!(attempts[0]["result"], "blocked_address", "{addresses:?}");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        cloud.shutdown().await;
    }
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn a_name_that_answers_otherwise_the_second_time_gains_nothing() {
    let receiver = Receiver::start().await;
    // First an allowed address where the receiver listens, then an internal one where it listens as well.
    let (resolver, asked) = answering(&[&["127.0.0.2"], &["127.0.0.1"]]);
    let cloud = cloud_with(|config| {
        config.allow = vec!["127.0.0.2/32".parse().expect("a network")];
        config.resolver = Some(resolver);
    })
    .await;
    let (id, _) = hook(
        &cloud,
        json!({}),
        &format!("http://rebinding.example:{}/", receiver.address.port()),
    )
    .await;
    let test = format!("/v1.0/project/<project id>/webhooks/{id}/test");
    let first = cloud.post(&test, "").await.ok();
    assert_eq!(
        first["attempt"]["result"], "connect",
        "the checked address is the one connected to: {first}"
    );
    assert_eq!(asked.load(Ordering::SeqCst), 1, "one answer is checked and used");
    let second = cloud.post(&test, "").await.ok();
    assert_eq!(second["attempt"]["result"], "blocked_address", "{second}");
    assert_eq!((asked.load(Ordering::SeqCst), receiver.connections()), (2, 0));
    cloud.shutdown().await;
}

#[tokio::test]
async fn of_a_mixed_name_only_the_allowed_address_is_used() {
    let receiver = Receiver::start().await;
    let (resolver, _) = answering(&[&["10.255.255.1", "127.0.0.1", "::1"]]);
    let cloud = cloud_with(|config| config.resolver = Some(resolver)).await;
    let (id, _) = hook(
        &cloud,
        json!({}),
        &format!("http://mixed.example:{}/", receiver.address.port()),
    )
    .await;
    let answer = cloud
        .post(&format!("/v1.0/project/<project id>/webhooks/{id}/test"), "")
        .await
        .ok();
    assert_eq!(answer["attempt"]["result"], "http_200", "{answer}");
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_redirect_inside_is_not_followed() {
    let (outside, inside) = (Receiver::start().await, Receiver::start().await);
    outside.next([super::receiver::Reply::with(
        307,
        &format!("Location: {}", inside.url()),
        "",
    )]);
    let cloud = super::cloud().await;
    let (id, _) = hook(&cloud, json!({}), &outside.url()).await;
    say(&cloud, 0..1).await;
    assert_eq!(logged(&cloud, &id, 1).await[0]["result"], "http_307");
    assert_eq!((outside.count(), inside.connections()), (1, 0));
    cloud.shutdown().await;
}

#[tokio::test]
async fn an_operator_may_insist_on_https() {
    let cloud = cloud_with(|config| config.https_only = true).await;
    let body = json!({"url": "http://example.com/"}).to_string();
    cloud
        .post("/v1.0/project/<project id>/webhooks", &body)
        .await
        .error(400);
    hook(&cloud, json!({}), "https://example.com/").await;
    cloud.shutdown().await;
}
