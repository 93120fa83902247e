//! Two clouds on one PostgreSQL: each delivery is made once, whichever of them stored its message.

use std::collections::HashSet;

use serde_json::json;

use super::receiver::Receiver;
use super::{eventually, hook, say, shown};
use crate::{cluster, support};

#[tokio::test]
async fn two_clouds_on_one_database_deliver_each_message_once() {
    let Some(url) = cluster::database().await else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let seal_key = folder.path().join("seal.key");
    let start = async || {
        support::start_config(|config| {
            config.database_url = Some(url.clone());
            config.webhooks.allow = vec!["127.0.0.0/8".parse().expect("a network")];
            config.webhooks.seal_key = Some(seal_key.clone());
        })
        .await
    };
    let one = start().await;
    let mut two = start().await;
    // The same project, through either cloud.
    two.tenant.token.clone_from(&one.tenant.token);
    (two.tenant.scope, two.tenant.group) = (one.tenant.scope, one.tenant.group);
    let receiver = Receiver::start().await;
    let (id, secret) = hook(&one, json!({}), &receiver.url()).await;
    let (ordered, _) = hook(&two, json!({"ordered": true}), &receiver.url()).await;
    for first in (0..1000).step_by(100) {
        let (here, there) = (say(&one, first..first + 50), say(&two, first + 50..first + 100));
        tokio::join!(here, there);
    }
    receiver.wait_for(2000).await;
    for hook in [&id, &ordered] {
        eventually("nothing waits", async || shown(&one, hook).await["waiting"] == 0).await;
    }
    let requests = receiver.requests();
    let ids: HashSet<_> = requests.iter().map(|request| request.id()).collect();
    let numbers: HashSet<_> = requests
        .iter()
        .filter_map(|request| request.message()["payload"]["n"].as_u64())
        .collect();
    assert_eq!(
        (requests.len(), ids.len(), numbers.len()),
        (2000, 1000, 1000),
        "once for each of the two webhooks"
    );
    assert_eq!(
        requests.iter().filter(|request| request.verify(&secret)).count(),
        1000
    );
    one.shutdown().await;
    two.shutdown().await;
}
