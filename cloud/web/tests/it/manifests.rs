//! The `firmware.toml` of a branch over real HTTP: saved, versioned, compared and restored beside its code, and
//! part of what a flash deploys.

use crate::board;
use crate::support;
use board::{Board, act, cloud, group};
use serde_json::{Value, json};
use support::{Answer, TestCloud, start};

const PLAIN: &str = "name = \"porch\"\n";
const WIDER: &str = "name = \"porch\"\n[capabilities]\ngpio = [\"led\"] # uses gpio\n";

async fn send(cloud: &TestCloud, method: &str, path: &str, body: Value) -> Answer {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let path = format!("/v1.0/project/<project id>/branches{path}");
    cloud
        .request(method, &path, &[&cloud.bearer()], body.as_bytes())
        .await
}

async fn write(cloud: &TestCloud, manifest: Option<&str>) -> Answer {
    send(cloud, "PUT", "/main/manifest", json!({"manifest": manifest})).await
}

async fn version(cloud: &TestCloud) -> Value {
    send(cloud, "POST", "/main/revisions", json!({})).await.ok()
}

#[tokio::test]
async fn a_manifest_is_saved_versioned_compared_and_restored_with_the_code() {
    let cloud = start().await;
    let fresh = send(&cloud, "GET", "/main", Value::Null).await.ok();
    assert!(fresh.get("manifest").is_none(), "a new branch has none: {fresh}");
    let first = version(&cloud).await["revision"]["digest"].clone();
    let saved = write(&cloud, Some(PLAIN)).await.ok();
    assert_eq!(
        (&saved["manifest"], &saved["unsaved"], &saved["snippets"]),
        (&json!(PLAIN), &json!(true), &fresh["snippets"])
    );
    let diff = send(&cloud, "GET", "/main/diff", Value::Null).await.ok();
    assert_eq!(
        (&diff["snippets"], &diff["manifest"]["difference"]),
        (&json!([]), &json!("added"))
    );
    let second = version(&cloud).await;
    assert_eq!(second["revision"]["revision"], 2);
    assert_ne!(second["revision"]["digest"], first);
    assert_eq!(version(&cloud).await["created"], false, "nothing changed");

    write(&cloud, Some(WIDER)).await.ok();
    let diff = send(&cloud, "GET", "/main/diff", Value::Null).await.ok();
    assert_eq!(diff["manifest"]["difference"], "modified");
    let lines = diff["manifest"]["diff"].as_str().expect("text");
    assert!(lines.contains("+gpio = [\"led\"]"), "{lines}");
    send(&cloud, "POST", "", json!({"name": "next", "from": "main"}))
        .await
        .ok();
    assert_eq!(
        send(&cloud, "GET", "/next", Value::Null).await.ok()["manifest"],
        json!(WIDER)
    );
    let restored = send(&cloud, "POST", "/main/restore", json!({"revision": 2}))
        .await
        .ok();
    assert_eq!(
        (&restored["manifest"], &restored["unsaved"]),
        (&json!(PLAIN), &json!(false))
    );
    assert_eq!(
        send(&cloud, "GET", "/main/revisions/2", Value::Null).await.ok()["manifest"],
        json!(PLAIN)
    );
    // A body that says nothing about the manifest removes none.
    let refused = send(&cloud, "PUT", "/main/manifest", json!({})).await;
    assert!(refused.error(400).contains("`manifest`"), "{}", refused.text);
    let kept = send(&cloud, "GET", "/main", Value::Null).await.ok();
    assert_eq!(kept["manifest"], json!(PLAIN));
    let removed = write(&cloud, None).await.ok();
    assert!(removed.get("manifest").is_none(), "{removed}");
    write(&cloud, Some(PLAIN)).await.ok();
    let removed = send(&cloud, "DELETE", "/main/manifest", Value::Null).await.ok();
    assert!(removed.get("manifest").is_none(), "{removed}");
    let same = send(&cloud, "GET", "/main/diff?from=1", Value::Null).await.ok();
    assert!(
        same.get("manifest").is_none(),
        "as before the first manifest: {same}"
    );
    assert_eq!(version(&cloud).await["revision"]["digest"], first);
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_text_that_is_no_manifest_of_a_script_is_refused_with_its_line() {
    let cloud = start().await;
    let long = format!("name = \"a\"\n{}", "#".repeat(64 << 10));
    for (text, reason) in [
        ("name = \"a\"\nnmae = 1", "line 2: unknown field `nmae`"),
        ("", "missing field `name`"),
        ("name = \"a\"\nlang = \"rust\"", "JavaScript"),
        (&long, "the limit is 65536"),
    ] {
        let refused = write(&cloud, Some(text)).await;
        assert!(refused.error(400).contains(reason), "{}", refused.text);
        assert_eq!(refused.json()["code"], "invalid_manifest");
    }
    let body = json!({"manifest": PLAIN});
    send(&cloud, "PUT", "/none/manifest", body).await.error(404);
    cloud.shutdown().await;
}

#[tokio::test]
async fn what_the_manifest_names_is_approved_like_that_of_a_component() {
    let cloud = cloud().await;
    let (group, ids) = group(&cloud, 1).await;
    let mut board = Board::connect(&cloud, ids[0]).await;
    write(&cloud, Some(WIDER)).await.ok();
    version(&cloud).await;
    let refused = act(&cloud, &group, "flashfw", "").await.error(409);
    assert!(refused.contains("gpio"), "{refused}");
    let flashed = act(&cloud, &group, "flashfw", r#"{"approve": ["gpio"]}"#)
        .await
        .ok();
    assert_eq!(flashed["release"]["capabilities"], json!(["gpio"]), "{flashed}");
    assert_eq!(board.directive(&cloud).await.approved, ["gpio"]);
    cloud.shutdown().await;
}
