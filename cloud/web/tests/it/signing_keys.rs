//! Keys of releases by REST and on their page: the list, rotation, revocation, and roots that were signed elsewhere.

use iottly_core::ingest::{Entry, Upload, UploadBody};
use iottly_core::model::Scopes;
use iottly_protocol::StreamId;
use iottly_protocol::release::DeviceFacts;
use iottly_web::auth::create_token_with;
use serde_json::{Value, json};

use crate::support::{Answer, TestCloud, start};

const KEYS: &str = "/v1.0/project/<project id>/keys";
const PAGE: &str = "/p/<project id>/releases/keys";
const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

async fn post(cloud: &TestCloud, act: &str, body: &Value) -> Answer {
    let path = format!("{KEYS}/{act}");
    let body = body.to_string();
    cloud
        .request("POST", &path, &[&cloud.bearer()], body.as_bytes())
        .await
}

async fn keys(cloud: &TestCloud) -> Value {
    cloud.get(KEYS).await.ok()
}

fn of_role(keys: &Value, role: &str) -> String {
    let list = keys["root"]["keys"].as_array().expect("keys").iter();
    let mut named = list.filter(|key| key["roles"] == json!([role]));
    named.next().expect("a key")["key"]
        .as_str()
        .expect("an id")
        .to_owned()
}

/// Sets the version of the root that the device of the tenant trusts, as its report does.
async fn report(cloud: &TestCloud, version: u64) {
    let scope = cloud.tenant.scope;
    let facts = DeviceFacts {
        device: scope.device,
        project: scope.project,
        group: None,
        board: "virtual".into(),
        abi: "0.1.0".into(),
        root_version: version,
        counter: 1,
        running_seq: 0,
        running_sha256: String::new(),
        floor: 0,
        free: 1 << 30,
        data_schema: 0,
        capabilities: Vec::new(),
        quarantined: Vec::new(),
        clock_trusted: true,
        engines: Vec::new(),
    };
    let upload = Upload {
        scope,
        stream: StreamId::random(),
        received: 1_492_597_597_019,
        body: UploadBody::Records {
            first: 1,
            records: vec![Ok(Entry::Facts(Box::new(facts)))],
        },
    };
    let stored = cloud.services.store.ingest(vec![upload]).await;
    assert!(stored.expect("stored")[0].refused.is_empty());
}

#[tokio::test]
async fn a_key_is_rotated_and_one_revoked() {
    let cloud = start().await;
    report(&cloud, 1).await;
    let first = keys(&cloud).await;
    assert_eq!(
        (&first["root"]["version"], &first["signs_roots"], &first["behind"]),
        (&json!(1), &json!(true), &json!(0)),
        "{first}"
    );
    assert_eq!(first["former"], json!([]));
    let old = of_role(&first, "targets");
    let root = post(&cloud, "rotate", &json!({"role": "targets"})).await.ok();
    assert_eq!(
        (&root["version"], &root["behind"], &root["removed"]),
        (&json!(2), &json!(1), &json!([{"role": "targets", "key": old}])),
        "{root}"
    );
    let second = keys(&cloud).await;
    let new = of_role(&second, "targets");
    assert_ne!(new, old);
    assert_eq!(root["added"], json!([{"role": "targets", "key": new}]));
    assert_eq!(second["devices"], json!([{"version": 1, "devices": 1}]));
    let former = &second["former"][0];
    assert_eq!(
        (
            &former["key"],
            &former["until"]["version"],
            &former["until"]["by"],
            &former["releases"]
        ),
        (&json!(old), &json!(2), &json!("test"), &json!(0)),
        "{former}"
    );
    report(&cloud, 2).await;
    assert_eq!(keys(&cloud).await["behind"], 0);
    let devices = "/v1.0/project/<project id>/devices/props?filter=root%3C";
    for (below, found) in [(2, 0), (3, 1)] {
        let listed = cloud.get(&format!("{devices}{below}")).await.ok();
        assert_eq!(
            listed["devices"].as_array().map(Vec::len),
            Some(found),
            "{listed}"
        );
    }
    let root = post(&cloud, "revoke", &json!({"key": new})).await.ok();
    assert_eq!(root["version"], 3, "{root}");
    assert_ne!(
        of_role(&keys(&cloud).await, "targets"),
        new,
        "the role got a new key"
    );
    let again = post(&cloud, "revoke", &json!({"key": new})).await;
    again.error(409);
    post(&cloud, "rotate", &json!({"role": "nonsense"}))
        .await
        .error(409);
    post(&cloud, "rotate", &json!({})).await.error(400);
    let audit = cloud.get("/v1.0/project/<project id>/auditlog").await.ok();
    let actions: Vec<_> = audit["entries"].as_array().expect("entries").iter().collect();
    let of = |action: &str| actions.iter().filter(|entry| entry["action"] == action).count();
    assert_eq!((of("key.rotate"), of("key.revoke")), (1, 1), "{audit}");
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_root_without_valid_signatures_is_not_published() {
    let cloud = start().await;
    let proposed = post(&cloud, "propose", &json!({"role": "targets"})).await.ok();
    let root = &proposed["root"];
    assert_eq!(
        (&root["signatures"], &root["signed"]["version"]),
        (&json!([]), &json!(2))
    );
    let refused = post(&cloud, "publish", root).await;
    let message = refused.error(409);
    assert!(message.contains("devices would refuse"), "{message}");
    for document in [json!({}), json!({"signatures": [], "signed": {}})] {
        post(&cloud, "publish", &document).await.error(409);
    }
    assert_eq!(keys(&cloud).await["root"]["version"], 1);
    post(&cloud, "propose", &json!({"role": "root"})).await.error(409);
    cloud.shutdown().await;
}

#[tokio::test]
async fn only_administrators_change_keys() {
    let cloud = start().await;
    let store = cloud.services.store.as_ref();
    let scopes = Scopes::READ.with(Scopes::WRITE).with(Scopes::DEPLOY);
    let token = create_token_with(store, cloud.tenant.scope.project, "deploys", scopes).await;
    let bearer = format!("Authorization: Bearer {}", token.expect("created"));
    for (act, body) in [
        ("rotate", json!({"role": "targets"})),
        ("revoke", json!({"key": "ab"})),
        ("propose", json!({"role": "targets"})),
        ("publish", json!({})),
    ] {
        let path = format!("{KEYS}/{act}");
        let body = body.to_string();
        cloud
            .request("POST", &path, &[&bearer], body.as_bytes())
            .await
            .error(403);
    }
    assert_eq!(keys(&cloud).await["root"]["version"], 1);
    cloud.shutdown().await;
}

#[tokio::test]
async fn the_page_asks_with_the_number_of_devices_before_it_changes_a_key() {
    let cloud = start().await;
    report(&cloud, 1).await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let page = cloud.path(PAGE);
    let send = async |act: &str, body: &str| {
        let path = format!("{page}/{act}");
        cloud
            .request("POST", &path, &[&cookie, FORM], body.as_bytes())
            .await
    };
    let shown = cloud.request("GET", &page, &[&cookie], b"").await.text;
    assert!(
        shown.contains("Every device trusts it") && shown.contains("No key was replaced yet"),
        "{shown}"
    );
    let asked = send("rotate", "role=targets").await;
    assert!(
        asked.status == 200 && asked.text.contains("1 device") && asked.text.contains("unknown_key"),
        "{}",
        asked.text
    );
    assert_eq!(keys(&cloud).await["root"]["version"], 1, "it only asks");
    let done = send("rotate", "role=targets&sure=yes").await;
    assert_eq!(done.status, 303, "{}", done.text);
    let shown = cloud
        .request("GET", done.header("location").expect("a place"), &[&cookie], b"")
        .await
        .text;
    assert!(
        shown.contains("Root 2 was published") && shown.contains("root%3C2"),
        "{shown}"
    );
    let listed = cloud
        .request(
            "GET",
            &cloud.path("/p/<project id>/devices?filter=root%3C2"),
            &[&cookie],
            b"",
        )
        .await
        .text;
    assert!(listed.contains("board of My awesome project"), "{listed}");
    let refused = send("revoke", "key=nonsense&sure=yes").await;
    assert!(
        refused.status == 409 && refused.text.contains("names no such key"),
        "{}",
        refused.text
    );
    let refused = send("publish", "document=rubbish").await;
    assert!(
        refused.status == 400 && refused.text.contains("not JSON"),
        "{}",
        refused.text
    );
    cloud.shutdown().await;
}
