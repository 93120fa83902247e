//! Files of a branch over real HTTP: edits that name what they are based on, drafts that the cloud keeps, and checks.

use crate::board::{Board, act, cloud, group, save, until};
use crate::support::{Answer, TestCloud, start};
use serde_json::{Value, json};

const BRANCH: &str = "/v1.0/project/<project id>/branches/main";

async fn send(cloud: &TestCloud, method: &str, path: &str, headers: &[&str], body: Value) -> Answer {
    let bearer = cloud.bearer();
    let headers = [&[bearer.as_str()], headers].concat();
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    cloud
        .request(method, &format!("{BRANCH}{path}"), &headers, body.as_bytes())
        .await
}

async fn branch(cloud: &TestCloud) -> Value {
    send(cloud, "GET", "", &[], Value::Null).await.ok()
}

fn code_of(answer: &Answer, status: u16) -> Value {
    answer.error(status);
    answer.json()["code"].clone()
}

fn named<'a>(branch: &'a Value, name: &str) -> &'a Value {
    let snippets = branch["snippets"].as_array().expect("snippets");
    snippets.iter().find(|one| one["name"] == name).expect("is there")
}

#[tokio::test]
async fn an_edit_names_what_it_is_based_on_and_a_stale_one_is_refused() {
    let cloud = start().await;
    let fresh = branch(&cloud).await;
    let version = named(&fresh, "loop")["version"].clone();
    let edit = |code: &str, base: &Value| json!({"snippets": [{"name": "loop", "code": code, "base": base}]});
    let saved = send(&cloud, "PUT", "/snippets", &[], edit("one", &version))
        .await
        .ok();
    assert_ne!(named(&saved, "loop")["version"], version);
    let stale = send(&cloud, "PUT", "/snippets", &[], edit("two", &version)).await;
    assert_eq!(code_of(&stale, 409), "stale");
    assert_eq!(named(&branch(&cloud).await, "loop")["code"], "one");

    let match_header = |digest: &Value| format!("If-Match: \"{}\"", digest.as_str().expect("a digest"));
    let (old, new) = (match_header(&fresh["digest"]), match_header(&saved["digest"]));
    let plain = json!({"snippets": [{"name": "init", "code": "three"}]});
    let refused = send(&cloud, "PUT", "/snippets", &[&old], plain.clone()).await;
    assert_eq!(code_of(&refused, 409), "stale");
    send(&cloud, "PUT", "/snippets", &[&new], plain).await.ok();
    send(&cloud, "DELETE", "/manifest", &[&new], Value::Null)
        .await
        .error(409);
    send(
        &cloud,
        "PUT",
        "/snippets",
        &["If-Match: *"],
        edit("four", &Value::Null),
    )
    .await
    .ok();

    let base = branch(&cloud).await["manifest_version"].clone();
    let manifest = |text: &str| json!({"manifest": text, "base": base});
    send(&cloud, "PUT", "/manifest", &[], manifest("name = \"a\""))
        .await
        .ok();
    send(&cloud, "PUT", "/manifest", &[], manifest("name = \"b\""))
        .await
        .error(409);
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_draft_is_kept_until_its_file_is_saved_and_others_do_not_see_it() {
    let cloud = start().await;
    let fresh = branch(&cloud).await;
    let begun = named(&fresh, "loop").clone();
    let draft = |text: &str| json!({"text": text, "base": begun["version"]});
    send(&cloud, "GET", "/drafts/loop", &[], Value::Null)
        .await
        .error(404);
    let kept = send(&cloud, "PUT", "/drafts/loop", &[], draft("mine")).await.ok();
    assert_eq!(
        (
            &kept["draft"]["text"],
            &kept["draft"]["base_text"],
            &kept["draft"]["stale"]
        ),
        (&json!("mine"), &begun["code"], &json!(false))
    );
    assert_eq!(
        named(&branch(&cloud).await, "loop")["code"],
        begun["code"],
        "nothing is saved"
    );
    // Another one saves meanwhile; the draft still knows what it began with.
    let theirs = json!({"snippets": [{"name": "loop", "code": "theirs"}]});
    send(&cloud, "PUT", "/snippets", &[], theirs).await.ok();
    let kept = send(&cloud, "PUT", "/drafts/loop", &[], draft("mine, longer"))
        .await
        .ok();
    assert_eq!(
        (&kept["draft"]["stale"], &kept["draft"]["base_text"]),
        (&json!(true), &begun["code"])
    );
    let list = send(&cloud, "GET", "/drafts", &[], Value::Null).await.ok();
    assert_eq!(
        (
            &list["drafts"][0]["name"],
            &list["drafts"][0]["bytes"],
            list["drafts"][0].get("text")
        ),
        (&json!("loop"), &json!(12), None)
    );
    let scopes = json!({"name": "other", "scopes": ["read", "write"]}).to_string();
    let other = cloud
        .post("/v1.0/project/<project id>/tokens", &scopes)
        .await
        .ok();
    let bearer = format!(
        "Authorization: Bearer {}",
        other["token"].as_str().unwrap_or_default()
    );
    let theirs = cloud
        .request("GET", &format!("{BRANCH}/drafts"), &[&bearer], b"")
        .await
        .ok();
    assert_eq!(theirs["drafts"], json!([]));

    for (body, code) in [
        (json!({"text": "x", "base": "nonsense"}), "invalid_base"),
        (json!({"text": "x".repeat((192 << 10) + 1)}), "invalid_body"),
    ] {
        let refused = send(&cloud, "PUT", "/drafts/loop", &[], body).await;
        assert_eq!(code_of(&refused, 400), code);
    }
    send(&cloud, "PUT", "/drafts/nothing", &[], draft("x"))
        .await
        .error(404);
    send(&cloud, "DELETE", "/drafts/loop", &[], Value::Null)
        .await
        .ok();
    send(&cloud, "DELETE", "/drafts/loop", &[], Value::Null)
        .await
        .error(404);
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_check_names_the_line_and_keeps_nothing() {
    let cloud = cloud().await;
    let good = send(&cloud, "POST", "/check", &[], json!({})).await.ok();
    assert_eq!(good["problems"], json!([]));
    assert!(
        good["size"].as_u64().is_some() && good["sha256"].is_string(),
        "{good}"
    );
    let typed = json!({"file": "loop", "code": "broken"});
    let bad = send(&cloud, "POST", "/check", &[], typed).await.ok();
    assert_eq!(
        bad["problems"],
        json!([{"file": "global", "line": 1, "message": "broken"}])
    );
    let manifest = json!({"file": "firmware.toml", "code": "name = 1"});
    let bad = send(&cloud, "POST", "/check", &[], manifest).await.ok();
    assert_eq!(bad["problems"][0]["file"], "firmware.toml", "{bad}");
    assert_eq!(bad["problems"][0]["line"], 1, "{bad}");
    send(&cloud, "POST", "/check", &[], json!({"code": "x"}))
        .await
        .error(400);
    let unchanged = send(&cloud, "POST", "/check", &[], json!({})).await.ok();
    assert_eq!(
        unchanged["sha256"], good["sha256"],
        "what was checked was not saved"
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn counts_of_a_rollout_follow_its_devices_and_keys_are_named() {
    let cloud = cloud().await;
    let (group, ids) = group(&cloud, 2).await;
    save(&cloud, "one").await;
    let mut boards = Vec::new();
    for id in &ids {
        boards.push(Board::connect(&cloud, *id).await);
    }
    let body = json!({"policy": {"canary": 2}}).to_string();
    let begun = act(&cloud, &group, "flashfw", &body).await.ok();
    let id = begun["rollout"].as_str().expect("an id").to_owned();
    let counts = async || {
        let path = format!("/v1.0/project/<project id>/rollouts/{id}");
        cloud.get(&path).await.ok()["counts"].clone()
    };
    let [first, second] = &mut boards[..] else {
        panic!("two boards")
    };
    let (one, two) = (first.directive(&cloud).await, second.directive(&cloud).await);
    assert_eq!(counts().await["updating"], 2);
    first.tell(&one, "trial", None).await;
    assert_eq!(counts().await["trial"], 1);
    first.tell(&one, "committed", None).await;
    second.tell(&two, "committed", None).await;
    assert_eq!(counts().await["committed"], 2);
    until(&cloud, &group, "deployed").await;
    let keys = cloud.get("/v1.0/project/<project id>/keys").await.ok();
    let signs = |role: &str| {
        let keys = keys["root"]["keys"].as_array().expect("keys").iter();
        keys.filter(|key| key["roles"].as_array().expect("roles").contains(&json!(role)))
            .count()
    };
    assert_eq!(
        ["root", "targets", "directive", "developer"].map(signs),
        [1, 1, 1, 1],
        "{keys}"
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_branch_has_files_with_names_of_their_own() {
    let cloud = start().await;
    let add = |name: &str| json!({"name": name, "code": "function warm(t) { return t > 20; }\n"});
    let added = send(&cloud, "POST", "/files", &[], add("filters.js")).await.ok();
    let file = named(&added, "filters.js");
    assert_eq!(
        (&file["kind"], &file["category"]),
        (&json!("file"), &json!("init_sections"))
    );
    let order = added["codesections"][0]["snippets"].as_array().expect("snippets");
    let position = |name: &str| {
        let id = &named(&added, name)["snippetid"];
        order.iter().position(|one| one == id).expect("in the section")
    };
    assert!(position("global") < position("filters.js") && position("filters.js") < position("init"));
    let again = send(&cloud, "POST", "/files", &[], add("filters.js")).await;
    again.error(409);
    assert!(again.text.contains("filters.js"), "{}", again.text);
    for bad in [
        "",
        "loop",
        "_a.js",
        "a/b.js",
        "../a.js",
        "firmware.toml",
        &"x".repeat(300),
    ] {
        assert_eq!(
            code_of(&send(&cloud, "POST", "/files", &[], add(bad)).await, 400),
            "invalid_name",
            "{bad}"
        );
    }
    let large = json!({"name": "b.js", "code": "x".repeat(196_609)});
    send(&cloud, "POST", "/files", &[], large).await.error(400);

    let rename =
        |name: &str, to: &str| json!({"snippets": [{"name": name, "rename": to, "code": "let a = 1;"}]});
    send(&cloud, "PUT", "/snippets", &[], rename("loop", "a.js"))
        .await
        .error(409);
    send(&cloud, "PUT", "/snippets", &[], rename("filters.js", "loop"))
        .await
        .error(400);
    let renamed = send(&cloud, "PUT", "/snippets", &[], rename("filters.js", "tools.js"))
        .await
        .ok();
    assert_eq!(named(&renamed, "tools.js")["code"], "let a = 1;");
    let id = named(&renamed, "tools.js")["snippetid"]
        .as_str()
        .expect("an id")
        .to_owned();
    send(&cloud, "DELETE", &format!("/snippets/{id}"), &[], Value::Null)
        .await
        .ok();
    let left = branch(&cloud).await;
    let snippets = left["snippets"].as_array().expect("snippets");
    assert!(snippets.iter().all(|one| one["kind"] != "file"), "{left}");
    cloud.shutdown().await;
}
