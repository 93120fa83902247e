//! Scripts in rollouts: devices without engines are not sent any, and the cloud's engine comes with a release for
//! devices that have another one.

use std::collections::BTreeMap;
use std::sync::Arc;

use iottly_cloud::releases::OfferedEngine;
use iottly_core::model::BranchCode;
use iottly_manifest::Script;
use iottly_protocol::release::{DeviceFacts, EngineFact};
use iottly_protocol::{DeviceId, Report};
use serde_json::{Value, json};

use crate::board::{Board, act, group, plain_builder, save};
use crate::support::{TestCloud, start_config};

const ABI: &str = "script 7";
const ENGINE: &[u8] = b"an engine";

/// Starts a cloud whose builder makes scripts for an engine that it offers.
async fn cloud() -> TestCloud {
    let build = |code: &BranchCode| {
        let main = code
            .snippets
            .iter()
            .map(|snippet| snippet.code.as_str())
            .collect();
        let script = Script {
            engine: ABI.to_owned(),
            exact: None,
            files: BTreeMap::from([("main.js".to_owned(), main)]),
            sections: Vec::new(),
        };
        Ok(script.component("name = \"test\"").expect("a script"))
    };
    start_config(|config| {
        let mut builder = plain_builder();
        builder.build = Arc::new(build);
        builder.engine = Some(OfferedEngine {
            abi: ABI.to_owned(),
            content: ENGINE,
        });
        config.builder = Some(builder);
    })
    .await
}

async fn tell(cloud: &TestCloud, device: DeviceId, engines: &[&str]) -> Board {
    let mut board = Board::connect(cloud, device).await;
    let engines = engines.iter().map(|abi| EngineFact {
        abi: (*abi).to_owned(),
        sha256: "ab".repeat(32),
    });
    let facts = DeviceFacts {
        device,
        project: cloud.tenant.scope.project,
        group: None,
        board: "virtual".into(),
        abi: "0.1.0".into(),
        root_version: 1,
        counter: 0,
        running_seq: 0,
        running_sha256: String::new(),
        floor: 0,
        free: 1 << 30,
        data_schema: 0,
        capabilities: Vec::new(),
        quarantined: Vec::new(),
        clock_trusted: true,
        engines: engines.collect(),
    };
    board.say(Report::Facts(Box::new(facts))).await;
    board
}

async fn preflight(cloud: &TestCloud, group: &str) -> Value {
    act(cloud, group, "flashfw", r#"{"dry_run": true}"#).await.ok()["preflight"].clone()
}

/// Returns the targets of the newest metadata of the project's repository.
async fn targets(cloud: &TestCloud) -> Value {
    let at = format!("/repo/{}/metadata", cloud.tenant.scope.project);
    let mut newest = Value::Null;
    for version in 1..20 {
        let found = cloud.get(&format!("{at}/{version}.targets.json")).await;
        if found.status != 200 {
            break;
        }
        newest = found.ok()["signed"]["targets"].clone();
    }
    newest
}

#[tokio::test]
async fn an_agent_without_engines_is_refused_and_one_with_another_engine_takes_the_clouds() {
    let cloud = cloud().await;
    let (group, ids) = group(&cloud, 3).await;
    save(&cloud, "one").await;
    let _old = tell(&cloud, ids[0], &[]).await;
    let _same = tell(&cloud, ids[1], &[ABI]).await;
    let found = preflight(&cloud, &group).await;
    assert_eq!(found["refusals"][0]["device"], json!(ids[0]), "{found}");
    assert_eq!(found["refusals"][0]["reason"], "incompatible", "{found}");
    assert_eq!(found["ready"], json!([ids[1]]), "{found}");
    act(&cloud, &group, "flashfw", "").await.ok();
    let without = targets(&cloud).await;
    assert_eq!(
        without["app/main/1.wasm"]["custom"]["iottly"]["engine"],
        json!({ "abi": ABI })
    );

    let _other = tell(&cloud, ids[2], &["script 6"]).await;
    let found = preflight(&cloud, &group).await;
    assert_eq!(found["refusals"].as_array().map(Vec::len), Some(1), "{found}");
    act(&cloud, &group, "flashfw", "").await.ok();
    let with = targets(&cloud).await;
    let target = &with["app/main/2.wasm"]["custom"]["iottly"]["engine"]["target"];
    assert_eq!(target["size"], ENGINE.len(), "{with}");
    let path = target["path"].as_str().expect("a path");
    assert_eq!(with[path]["custom"]["iottly-engine"]["abi"], ABI, "{with}");
    cloud.shutdown().await;
}
