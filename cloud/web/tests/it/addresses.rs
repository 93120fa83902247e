//! Addresses in audit logs: that of the connection, or the one that a trusted proxy names.

use serde_json::{Value, json};

use crate::support::{TestCloud, start, start_config};

const PROJECT: &str = "/v1.0/project/<project id>";

/// Renames the device with a header that names another address; returns the newest entry of the audit log.
async fn renamed(cloud: &TestCloud, forwarded: &str) -> Value {
    let body = json!({"name": format!("named behind {}", forwarded.len())}).to_string();
    let path = format!("{PROJECT}/device/<device id>/props");
    let headers = [&cloud.bearer(), forwarded];
    let done = cloud.request("PUT", &path, &headers, body.as_bytes()).await;
    assert_eq!(done.status, 200, "{}", done.text);
    let log = cloud.get(&format!("{PROJECT}/auditlog?numEntries=1")).await.ok();
    log["entries"][0].clone()
}

#[tokio::test]
async fn an_entry_has_the_address_of_the_connection() {
    let cloud = start().await;
    let entry = renamed(&cloud, "X-Forwarded-For: 203.0.113.9").await;
    assert_eq!(entry["address"], "127.0.0.1", "nobody trusts the header: {entry}");
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_trusted_proxy_names_the_address() {
    let local = "127.0.0.0/8".parse().expect("a network");
    let cloud = start_config(|config| config.edge.trusted_proxies = vec![local]).await;
    let entry = renamed(&cloud, "X-Forwarded-For: 10.9.9.9, 203.0.113.9").await;
    assert_eq!(entry["address"], "203.0.113.9", "{entry}");
    let entry = renamed(&cloud, "Forwarded: for=\"[2001:db8::7]\"").await;
    assert_eq!(entry["address"], "2001:db8::7", "{entry}");
    cloud.shutdown().await;
}
