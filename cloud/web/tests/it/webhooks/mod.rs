//! Webhooks from the stored message to the request that arrives, over a real cloud and real receivers.

mod api;
mod clocks;
mod cluster_of_two;
mod contract;
mod failures;
mod filters;
mod guard;
mod order;
mod page;
mod portals;
pub(crate) mod receiver;
mod replay;
mod rotation;
mod store;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::support::TestCloud;
use iottly_cloud::CloudConfig;
use iottly_cloud::clock;
use iottly_cloud::clock::Clock;
use iottly_cloud::webhooks::WebhookConfig;
use serde_json::{Value, json};

/// Maximum time for any operation on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Repeats a check until it holds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, check: impl Fn() -> F) {
    let held = async {
        while !check().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE, held).await.is_ok(),
        "never: {what}"
    );
}

/// Clock that a test moves ahead.
#[derive(Clone, Default)]
pub(crate) struct Ahead(Arc<AtomicI64>);

impl Ahead {
    pub(crate) fn clock(&self) -> Clock {
        let ahead = Arc::clone(&self.0);
        Arc::new(move || clock::now() + ahead.load(Ordering::SeqCst))
    }

    pub(crate) fn by(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

/// Starts a cloud that may send to this machine.
pub(crate) async fn cloud() -> TestCloud {
    cloud_with(|_| {}).await
}

pub(crate) async fn cloud_with(change: impl FnOnce(&mut WebhookConfig)) -> TestCloud {
    crate::support::start_config(|config: &mut CloudConfig| {
        config.webhooks.allow = vec!["127.0.0.0/8".parse().expect("a network")];
        change(&mut config.webhooks);
    })
    .await
}

/// Creates a webhook through the API; returns its id and its secret.
pub(crate) async fn hook(cloud: &TestCloud, mut settings: Value, url: &str) -> (String, String) {
    settings["url"] = json!(url);
    let made = cloud
        .post("/v1.0/project/<project id>/webhooks", &settings.to_string())
        .await
        .ok();
    let text = |field: &str| made[field].as_str().expect("text").to_owned();
    (text("id"), text("secret"))
}

pub(crate) async fn shown(cloud: &TestCloud, id: &str) -> Value {
    cloud
        .get(&format!("/v1.0/project/<project id>/webhooks/{id}"))
        .await
        .ok()
}

/// Returns the attempts of a webhook, newest first.
pub(crate) async fn log(cloud: &TestCloud, id: &str) -> Vec<Value> {
    let log = cloud
        .get(&format!(
            "/v1.0/project/<project id>/webhooks/{id}/log?numEntries=500"
        ))
        .await
        .ok();
    log["attempts"].as_array().expect("attempts").clone()
}

/// Waits until this many attempts are logged; returns them, newest first.
pub(crate) async fn logged(cloud: &TestCloud, id: &str, count: usize) -> Vec<Value> {
    eventually(&format!("{count} attempts in the log"), async || {
        log(cloud, id).await.len() >= count
    })
    .await;
    log(cloud, id).await
}

/// Stores messages of the tenant's device now, each with its number.
pub(crate) async fn say(cloud: &TestCloud, numbers: std::ops::Range<u64>) {
    let payloads: Vec<_> = numbers.map(|n| format!(r#"{{"n":{n}}}"#)).collect();
    let payloads: Vec<_> = payloads.iter().map(String::as_str).collect();
    let refused = cloud
        .store(cloud.tenant.scope, cloud.services.webhooks.now(), &payloads)
        .await;
    assert!(refused.is_empty(), "{refused:?}");
}

/// Returns an address without a listener.
pub(crate) async fn nobody() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a port");
    listener.local_addr().expect("an address")
}
