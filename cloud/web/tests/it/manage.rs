//! Managing a project over real HTTP: definitions, tokens, devices, groups, code, and refused requests.

use crate::device;
use crate::support;
use device::{Raw, eventually};
use iottly_core::model::Scopes;
use iottly_protocol::{ConfigReport, Down, Record, Report, StreamClass, StreamId, encode_batch};
use iottly_web::auth;
use serde_json::{Value, json};
use support::{Answer, TestCloud, start, tenant};

const PROJECT: &str = "/v1.0/project/<project id>";

async fn send(cloud: &TestCloud, method: &str, path: &str, body: Value) -> Answer {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    cloud
        .request(
            method,
            &format!("{PROJECT}{path}"),
            &[&cloud.bearer()],
            body.as_bytes(),
        )
        .await
}

#[tokio::test]
async fn definitions_are_made_changed_and_removed_and_commands_follow() {
    let cloud = start().await;
    let definition = json!({
        "set light": {"state": {"type": "MultipleChoice", "listvalues": ["on", "off"]}, "note": {"type": "FreeValue", "optional": true}},
        "metadata": {"description": "A light."},
    });
    let made = send(&cloud, "POST", "/messagedefinitions", definition.clone())
        .await
        .ok();
    assert_eq!(
        made["messagedefinition"]["metadata"]["jsonfmt"],
        json!({"set_light": {"state": "<on|off>", "note": "[<free value>]"}})
    );
    assert_eq!(made["messagedefinition"]["metadata"]["direction"], "command");
    send(&cloud, "POST", "/messagedefinitions", definition)
        .await
        .error(409);
    let all = send(&cloud, "GET", "/messagedefinitions", Value::Null).await.ok();
    assert_eq!(all["messagedefinitions"].as_array().map(Vec::len), Some(3));

    let command =
        |state: &str| format!(r#"{{"cmd_type":"set_light","values":{{"set_light.state":"{state}"}}}}"#);
    let path = format!("{PROJECT}/device/<device id>/command");
    cloud.post(&path, &command("on")).await.ok();
    assert!(
        cloud
            .post(&path, &command("dim"))
            .await
            .error(400)
            .contains("set_light.state")
    );

    let other_type = json!({"set_lamp": {"state": {"type": "FreeValue"}}});
    let error = send(&cloud, "PUT", "/messagedefinitions/set_light", other_type)
        .await
        .error(400);
    assert!(error.contains("fixed after creation"), "{error}");
    let changed = json!({"set_light": {"state": {"type": "FreeValue"}}});
    send(&cloud, "PUT", "/messagedefinitions/set_light", changed.clone())
        .await
        .ok();
    cloud.post(&path, &command("dim")).await.ok();
    send(
        &cloud,
        "PUT",
        "/messagedefinitions/unknown",
        json!({"unknown": {"state": {"type": "FreeValue"}}}),
    )
    .await
    .error(404);
    send(&cloud, "DELETE", "/messagedefinitions/set_light", Value::Null)
        .await
        .ok();
    send(&cloud, "GET", "/messagedefinitions/set_light", Value::Null)
        .await
        .error(404);
    assert!(
        cloud
            .post(&path, &command("on"))
            .await
            .error(400)
            .contains("set_light")
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn tokens_do_what_their_scopes_say_until_they_end() {
    let cloud = start().await;
    let made = send(
        &cloud,
        "POST",
        "/tokens",
        json!({"name": "reader", "scopes": ["read"]}),
    )
    .await
    .ok();
    let text = made["token"].as_str().expect("shown once").to_owned();
    assert!(text.starts_with(made["prefix"].as_str().expect("a prefix")));
    let bearer = format!("Authorization: Bearer {text}");
    let as_reader = async |method: &str, path: &str, body: &[u8]| {
        cloud
            .request(method, &format!("{PROJECT}{path}"), &[&bearer], body)
            .await
    };
    as_reader("GET", "/inspect", b"").await.ok();
    let cookie = cloud.login(&text).await;
    for (method, path, body) in [
        (
            "POST",
            "/device/<device id>/command",
            r#"{"cmd_type":"echo","values":{}}"#,
        ),
        ("PUT", "/device/<device id>/props", r#"{"name":"x"}"#),
        ("POST", "/tokens", r#"{"name":"more","scopes":["admin"]}"#),
        ("GET", "/tokens", ""),
        ("GET", "/auditlog", ""),
        ("GET", "/license", ""),
        ("DELETE", "", ""),
    ] {
        let error = as_reader(method, path, body.as_bytes()).await.error(403);
        assert!(error.contains("scope"), "{method} {path}: {error}");
    }
    let listed = send(&cloud, "GET", "/tokens", Value::Null).await;
    assert!(!listed.text.contains(&text), "the text is in one answer only");
    let reader = listed.ok()["tokens"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|token| token["name"] == "reader")
        .expect("listed")
        .clone();
    assert!(reader["last_used"]["$date"].is_i64());

    assert!(
        send(
            &cloud,
            "POST",
            "/tokens",
            json!({"name": "t", "scopes": ["operator"]})
        )
        .await
        .error(403)
        .contains("operator")
    );
    for bad in [
        json!({"name": "t", "scopes": []}),
        json!({"name": "t", "scopes": ["root"]}),
        json!({"name": "", "scopes": ["read"]}),
        json!({"name": "t", "scopes": ["read"], "expires": 5}),
        json!({"scopes": ["read"]}),
    ] {
        send(&cloud, "POST", "/tokens", bad).await.error(400);
    }
    send(
        &cloud,
        "DELETE",
        &format!("/tokens/{}", reader["id"].as_str().expect("an id")),
        Value::Null,
    )
    .await
    .ok();
    as_reader("GET", "/inspect", b"").await.error(401);
    cloud
        .request("GET", &format!("{PROJECT}/inspect"), &[&cookie], b"")
        .await
        .error(401);

    let past = auth::mint_token(cloud.tenant.scope.project, "past", Scopes::PROJECT, Some(1), 0)
        .expect("randomness");
    cloud
        .services
        .store
        .create_token(past.hash, &past.token)
        .await
        .expect("stored");
    let header = format!("Authorization: Bearer {}", past.text.expose());
    cloud
        .request("GET", "/v1.0/ping", &[&header], b"")
        .await
        .error(401);
    cloud.shutdown().await;
}

#[tokio::test]
async fn operators_make_projects_that_are_whole_and_go_whole() {
    let cloud = start().await;
    cloud
        .request("POST", "/v1.0/projects", &[&cloud.bearer()], br#"{"name":"new"}"#)
        .await
        .error(403);
    let operator = auth::create_token_with(
        cloud.services.store.as_ref(),
        cloud.tenant.scope.project,
        "op",
        Scopes::ALL,
    )
    .await
    .expect("made");
    let operator = format!("Authorization: Bearer {operator}");
    let made = cloud
        .request("POST", "/v1.0/projects", &[&operator], br#"{"name":"new"}"#)
        .await
        .ok();
    let path = format!("/v1.0/project/{}", made["id"].as_str().expect("an id"));
    let owner = format!(
        "Authorization: Bearer {}",
        made["token"].as_str().expect("shown once")
    );
    let own = async |method: &str, rest: &str, body: &str| {
        cloud
            .request(method, &format!("{path}{rest}"), &[&owner], body.as_bytes())
            .await
    };
    assert_eq!(
        own("GET", "/inspect", "").await.ok()["deployment_groups"][0]["name"],
        "_orphaned"
    );
    assert_eq!(
        own("GET", "/branches", "").await.ok()["branches"][0]["name"],
        "main"
    );
    cloud
        .request("GET", &format!("{path}/inspect"), &[&operator], b"")
        .await
        .error(403);
    assert_eq!(
        cloud
            .request("GET", "/v1.0/projects", &[&operator], b"")
            .await
            .ok()["projects"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );
    assert_eq!(
        own("PUT", "", r#"{"name":"renamed"}"#).await.ok()["name"],
        "renamed"
    );
    let kept = own("PUT", "", r#"{"retention_days":30}"#).await.ok();
    assert_eq!(
        (&kept["retention_days"], &kept["name"]),
        (&json!(30), &json!("renamed"))
    );
    assert_eq!(
        own("PUT", "", r#"{"retention_days":0}"#).await.ok()["retention_days"],
        Value::Null
    );
    for bad in [
        r#"{"retention_days":40000}"#,
        r#"{"retention_days":-1}"#,
        r#"{"name":""}"#,
        r#"{"nam":"x"}"#,
    ] {
        own("PUT", "", bad).await.error(400);
    }
    let device = own("POST", "/device/", r#"{"name":"d"}"#).await.ok()["ID"]
        .as_str()
        .expect("an id")
        .to_owned();
    own("DELETE", "", "").await.ok();
    own("GET", "", "").await.error(401);
    let id = device.parse().expect("an id");
    assert!(
        cloud
            .services
            .store
            .device_credentials(id)
            .await
            .expect("reads")
            .is_none()
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_new_device_has_a_pair_code_the_installer_finds() {
    let cloud = start().await;
    let headers = [
        &*cloud.bearer(),
        "Content-Type: application/x-www-form-urlencoded",
    ];
    let answer = cloud
        .request(
            "POST",
            &format!("{PROJECT}/device/"),
            &headers,
            br#"{"name":"dev one"}"#,
        )
        .await;
    let json = answer.ok();
    let code = json["pair_code"].as_str().expect("a code");
    assert!(
        answer.text.contains(&format!(r#""pair_code": "{code}""#)),
        "the installer's sed needs the space: {}",
        answer.text
    );
    assert!(code.len() == 32 && code.bytes().all(|b| b.is_ascii_hexdigit()));
    let licences = send(&cloud, "GET", "/license", Value::Null).await.ok();
    assert_eq!(licences, json!({code: {"status": "available", "board": {}}}));
    assert_eq!(
        send(&cloud, "GET", &format!("/license/{code}"), Value::Null)
            .await
            .ok(),
        licences
    );
    send(&cloud, "GET", "/license/0123", Value::Null).await.error(404);
    let props = send(
        &cloud,
        "GET",
        &format!("/device/{}/props", json["ID"].as_str().expect("an id")),
        Value::Null,
    )
    .await
    .ok();
    assert_eq!(
        (props["name"].as_str(), props["token"].as_str()),
        (Some("dev one"), Some("")),
        "an unused code is not for readers"
    );
    for bad in [
        "",
        "[]",
        r#"{"name":""}"#,
        r#"{"name":5}"#,
        r#"{"name":"a","extra":1}"#,
    ] {
        cloud
            .request(
                "POST",
                &format!("{PROJECT}/device/"),
                &[&cloud.bearer()],
                bad.as_bytes(),
            )
            .await
            .error(400);
    }
    cloud.shutdown().await;
}

#[tokio::test]
async fn devices_are_renamed_tagged_found_moved_and_deleted_with_their_data() {
    let cloud = start().await;
    let device = cloud.tenant.scope.device.to_string();
    let body = json!({"name": "Boiler", "tags": ["north", "cellar", "north"]});
    let props = send(&cloud, "PUT", "/device/<device id>/props", body).await.ok();
    assert_eq!(
        (&props["name"], &props["tags"]),
        (&json!("Boiler"), &json!(["cellar", "north"]))
    );
    send(&cloud, "POST", "/device/", json!({"name": "Pump"}))
        .await
        .ok();
    for (query, count) in [
        ("", 2),
        ("?search=BOIL", 1),
        ("?tag=north", 1),
        ("?tag=nort", 0),
        ("?search=nort", 1),
        ("?operatingstatus=disconnected", 2),
        ("?operatingstatus=connected", 0),
        ("?search=boil&tag=south", 0),
    ] {
        let found = send(&cloud, "GET", &format!("/devices/props{query}"), Value::Null)
            .await
            .ok();
        assert_eq!(found["count"], count, "{query}");
    }
    send(&cloud, "GET", "/devices/props?operatingstatus=on", Value::Null)
        .await
        .error(400);

    let group = send(
        &cloud,
        "POST",
        "/deploymentgroups",
        json!({"name": "cellar", "branch": "main"}),
    )
    .await
    .ok();
    let group = group["deployment_group"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let members = format!("/deploymentgroups/{group}/devices");
    let dry = send(
        &cloud,
        "POST",
        &format!("{members}?dry_run=true"),
        json!({"search": {"tag": "north"}}),
    )
    .await
    .ok();
    assert_eq!(
        (&dry["affected"], &dry["dry_run"], &dry["devices"]),
        (&json!(1), &json!(true), &json!([device]))
    );
    let boards = async || {
        send(&cloud, "GET", &format!("/deploymentgroups/{group}"), Value::Null)
            .await
            .ok()["deployment_group"]["boards"]
            .clone()
    };
    assert_eq!(boards().await, json!([]), "a dry run moves nothing");
    send(&cloud, "POST", &members, json!({"search": {"tag": "north"}}))
        .await
        .ok();
    assert_eq!(boards().await, json!([device]));
    assert_eq!(
        send(&cloud, "POST", &members, json!({"devices": [device]}))
            .await
            .ok()["affected"],
        0
    );
    let stranger = tenant(&cloud.services, "other").await.scope.device;
    send(&cloud, "POST", &members, json!({"devices": [device, stranger]}))
        .await
        .error(403);
    for bad in [
        json!({}),
        json!({"search": {}}),
        json!({"devices": [], "search": {"tag": "a"}}),
        json!({"devices": ["x"]}),
    ] {
        send(&cloud, "POST", &members, bad).await.error(400);
    }
    send(&cloud, "DELETE", &format!("{members}/{device}"), Value::Null)
        .await
        .ok();
    send(&cloud, "DELETE", &format!("{members}/{device}"), Value::Null)
        .await
        .error(404);
    send(
        &cloud,
        "PUT",
        "/device/<device id>/props",
        json!({"deployment_group": group}),
    )
    .await
    .ok();
    assert_eq!(boards().await, json!([device]));

    cloud.store(cloud.tenant.scope, 1_000, &["1", "2", "3"]).await;
    assert_eq!(
        send(&cloud, "DELETE", "/device/<device id>", Value::Null)
            .await
            .ok()["erased"],
        true
    );
    send(&cloud, "GET", "/device/<device id>/props", Value::Null)
        .await
        .error(403);
    let left = cloud
        .services
        .store
        .scan(cloud.tenant.scope, Default::default(), 10)
        .await
        .expect("reads");
    assert!(left.is_empty(), "the history is erased");
    assert_eq!(boards().await, json!([]));
    cloud.shutdown().await;
}

#[tokio::test]
async fn the_default_group_stays_and_takes_who_has_no_other() {
    let cloud = start().await;
    let orphaned = cloud.tenant.group;
    assert!(
        send(
            &cloud,
            "DELETE",
            &format!("/deploymentgroups/{orphaned}"),
            Value::Null
        )
        .await
        .error(409)
        .contains("_orphaned")
    );
    send(
        &cloud,
        "PUT",
        &format!("/deploymentgroups/{orphaned}"),
        json!({"name": "mine"}),
    )
    .await
    .error(409);
    let flash = |id: &str| format!("/deploymentgroups/{id}/flashfw");
    assert!(
        send(&cloud, "POST", &flash(&orphaned.to_string()), Value::Null)
            .await
            .error(400)
            .contains("no branch")
    );
    let made = send(&cloud, "POST", "/deploymentgroups", json!({"name": "g"}))
        .await
        .ok();
    let id = made["deployment_group"]["id"].as_str().expect("an id").to_owned();
    send(&cloud, "POST", "/deploymentgroups", json!({"name": "g"}))
        .await
        .error(409);
    send(
        &cloud,
        "POST",
        "/deploymentgroups",
        json!({"name": "h", "branch": "nope"}),
    )
    .await
    .error(404);
    send(
        &cloud,
        "PUT",
        &format!("/deploymentgroups/{id}"),
        json!({"name": "renamed", "branch": "main"}),
    )
    .await
    .ok();
    assert!(
        send(&cloud, "POST", &flash(&id), Value::Null)
            .await
            .error(400)
            .contains("no saved version")
    );
    send(&cloud, "POST", "/branches/main/revisions", json!({}))
        .await
        .ok();
    assert!(
        send(&cloud, "POST", &flash(&id), Value::Null)
            .await
            .error(501)
            .contains("no builder")
    );
    send(
        &cloud,
        "POST",
        &flash("a2792ce8-216f-477c-a5cc-4f7e9f407e29"),
        Value::Null,
    )
    .await
    .error(403);
    assert!(
        send(&cloud, "DELETE", "/branches/main", Value::Null)
            .await
            .error(409)
            .contains("renamed"),
        "a followed branch stays"
    );
    send(
        &cloud,
        "PUT",
        "/device/<device id>/props",
        json!({"deployment_group": id}),
    )
    .await
    .ok();
    send(&cloud, "DELETE", &format!("/deploymentgroups/{id}"), Value::Null)
        .await
        .ok();
    let props = send(&cloud, "GET", "/device/<device id>/props", Value::Null)
        .await
        .ok();
    assert_eq!(props["deployment_group"], json!(orphaned));
    cloud.shutdown().await;
}

#[tokio::test]
async fn code_is_saved_versioned_compared_and_restored() {
    let cloud = start().await;
    let main = send(&cloud, "GET", "/branches/main", Value::Null).await.ok();
    assert_eq!(
        (&main["unsaved"], &main["branch"]["current_revision"]),
        (&json!(true), &json!(0))
    );
    assert_eq!(main["codesections"][2]["name"], "command_handlers");
    let version = async |message: &str| {
        send(
            &cloud,
            "POST",
            "/branches/main/revisions",
            json!({"message": message}),
        )
        .await
        .ok()
    };
    assert_eq!(version("first").await["revision"]["revision"], 1);
    assert_eq!(version("again").await["created"], false, "nothing changed");
    let edit =
        json!({"snippets": [{"name": "loop", "code": "function loop() {\n    send_msg({ n: 1 });\n}\n"}]});
    assert_eq!(
        send(&cloud, "PUT", "/branches/main/snippets", edit).await.ok()["unsaved"],
        true
    );
    let diff = send(&cloud, "GET", "/branches/main/diff", Value::Null).await.ok();
    assert_eq!(
        (&diff["from"], &diff["to"], &diff["snippets"][0]["difference"]),
        (&json!(1), &Value::Null, &json!("modified"))
    );
    assert!(
        diff["snippets"][0]["diff"]
            .as_str()
            .expect("text")
            .contains("+    send_msg({ n: 1 });")
    );
    assert_eq!(version("second").await["revision"]["revision"], 2);
    let list = send(
        &cloud,
        "GET",
        "/branches/main/revisions?numRevisions=1",
        Value::Null,
    )
    .await
    .ok();
    assert_eq!(
        (&list["revisions"][0]["message"], &list["next"]),
        (&json!("second"), &json!(2))
    );
    let older = send(&cloud, "GET", "/branches/main/revisions?before=2", Value::Null)
        .await
        .ok();
    assert_eq!(older["revisions"][0]["revision"], 1);
    let first = send(&cloud, "GET", "/branches/main/revisions/1", Value::Null)
        .await
        .ok();
    assert_eq!(first["snippets"], main["snippets"]);
    send(&cloud, "POST", "/branches/main/restore", json!({"revision": 1}))
        .await
        .ok();
    assert_eq!(
        send(&cloud, "GET", "/branches/main/diff?from=1", Value::Null)
            .await
            .ok()["snippets"],
        json!([])
    );
    send(&cloud, "GET", "/branches/main/revisions/9", Value::Null)
        .await
        .error(404);
    send(&cloud, "POST", "/branches/main/restore", json!({"revision": 9}))
        .await
        .error(404);

    send(
        &cloud,
        "POST",
        "/branches",
        json!({"name": "next", "from": "main"}),
    )
    .await
    .ok();
    for (bad, status) in [
        (json!({"name": "a/b"}), 400),
        (json!({"name": "main"}), 409),
        (json!({"name": "b", "from": "nope"}), 404),
    ] {
        send(&cloud, "POST", "/branches", bad).await.error(status);
    }
    send(
        &cloud,
        "PUT",
        "/branches/main/snippets",
        json!({"snippets": [{"name": "nope", "code": ""}]}),
    )
    .await
    .error(404);
    let long = "x".repeat((192 << 10) + 1);
    send(
        &cloud,
        "PUT",
        "/branches/main/snippets",
        json!({"snippets": [{"name": "loop", "code": long}]}),
    )
    .await
    .error(400);
    send(&cloud, "DELETE", "/branches/next", Value::Null).await.ok();
    send(&cloud, "GET", "/branches/next", Value::Null)
        .await
        .error(404);
    cloud.shutdown().await;
}

#[tokio::test]
async fn handlers_outlive_their_commands_under_another_name() {
    let cloud = start().await;
    let code = "function examplecommand(command) { precious(); }\n";
    send(
        &cloud,
        "PUT",
        "/branches/main/snippets",
        json!({"snippets": [{"name": "examplecommand", "code": code}]}),
    )
    .await
    .ok();
    let snippets = async || {
        let branch = send(&cloud, "GET", "/branches/main", Value::Null).await.ok();
        branch["snippets"].as_array().expect("a list").clone()
    };
    let named = |list: &[Value], name: &str| list.iter().find(|snippet| snippet["name"] == name).cloned();
    send(
        &cloud,
        "DELETE",
        "/messagedefinitions/examplecommand",
        Value::Null,
    )
    .await
    .ok();
    let list = snippets().await;
    assert!(named(&list, "examplecommand").is_none());
    let orphan = named(&list, "_examplecommand").expect("kept");
    assert!(
        orphan["code"]
            .as_str()
            .expect("code")
            .ends_with("function _examplecommand(command) { precious(); }\n"),
        "{orphan}"
    );
    send(
        &cloud,
        "POST",
        "/messagedefinitions",
        json!({"examplecommand": {"k": {"type": "FreeValue"}}}),
    )
    .await
    .ok();
    send(
        &cloud,
        "PUT",
        "/messagedefinitions/examplecommand",
        json!({"examplecommand": {"other": {"type": "FreeValue"}}}),
    )
    .await
    .ok();
    let list = snippets().await;
    for name in ["examplecommand", "_examplecommand", "__examplecommand"] {
        assert!(named(&list, name).is_some(), "{name}");
    }
    let id = |name: &str| {
        named(&list, name).expect("listed")["snippetid"]
            .as_str()
            .expect("an id")
            .to_owned()
    };
    send(
        &cloud,
        "DELETE",
        &format!("/branches/main/snippets/{}", id("examplecommand")),
        Value::Null,
    )
    .await
    .error(409);
    send(
        &cloud,
        "DELETE",
        &format!("/branches/main/snippets/{}", id("loop")),
        Value::Null,
    )
    .await
    .error(409);
    send(
        &cloud,
        "DELETE",
        &format!("/branches/main/snippets/{}", id("_examplecommand")),
        Value::Null,
    )
    .await
    .ok();
    assert!(named(&snippets().await, "_examplecommand").is_none());
    // An event has no handler.
    let event = json!({"alarm": {"k": {"type": "FreeValue"}}, "metadata": {"direction": "event"}});
    send(&cloud, "POST", "/messagedefinitions", event).await.ok();
    assert!(named(&snippets().await, "alarm").is_none());
    cloud.shutdown().await;
}

#[tokio::test]
async fn changes_are_in_the_audit_log_and_failures_are_not() {
    let cloud = start().await;
    send(
        &cloud,
        "PUT",
        "/device/<device id>/props",
        json!({"name": "new name"}),
    )
    .await
    .ok();
    send(&cloud, "DELETE", "/messagedefinitions/nope", Value::Null)
        .await
        .error(404);
    send(
        &cloud,
        "POST",
        "/branches/main/revisions",
        json!({"message": "v1"}),
    )
    .await
    .ok();
    let log = send(&cloud, "GET", "/auditlog?numEntries=1", Value::Null)
        .await
        .ok();
    let entry = &log["entries"][0];
    assert_eq!(
        (&entry["action"], &entry["target"], &entry["actor"]),
        (&json!("branch.save_version"), &json!("main"), &json!("test"))
    );
    let older = send(
        &cloud,
        "GET",
        &format!("/auditlog?before={}", log["next"]),
        Value::Null,
    )
    .await
    .ok();
    assert_eq!(
        (&older["entries"][0]["action"], &older["entries"][0]["detail"]),
        (&json!("device.rename"), &json!("new name"))
    );
    assert_eq!(older["entries"].as_array().map(Vec::len), Some(1));
    // Several properties are one change with one entry.
    let properties = json!({"name": "newest name", "tags": ["b", "a"]});
    send(&cloud, "PUT", "/device/<device id>/props", properties)
        .await
        .ok();
    let newer = send(&cloud, "GET", "/auditlog?numEntries=2", Value::Null)
        .await
        .ok();
    assert_eq!(
        (&newer["entries"][0]["action"], &newer["entries"][0]["detail"]),
        (&json!("device.update"), &json!("name: newest name; tags: a, b"))
    );
    assert_eq!(newer["entries"][1]["action"], json!("branch.save_version"));
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_reach_the_device_and_its_word_comes_back() {
    let cloud = start().await;
    let path = format!("{PROJECT}/device/<device id>/config");
    let put = async |body: &str| {
        cloud
            .request("PUT", &path, &[&cloud.bearer()], body.as_bytes())
            .await
    };
    let before = cloud.get(&path).await.ok();
    assert_eq!(
        (&before["desired"], &before["reported"], &before["in_sync"]),
        (&Value::Null, &Value::Null, &json!(true))
    );

    // Set while the device is away: the device gets the settings after its welcome, as they were written.
    let set = put(r#"{"b": 1.50, "a": "x"}"#).await;
    assert!(set.text.contains(r#"{"b": 1.50, "a": "x"}"#), "{}", set.text);
    assert_eq!(
        (&set.ok()["desired"]["version"], &set.ok()["in_sync"]),
        (&json!(1), &json!(false))
    );
    let mut board = Raw::connect(cloud.mqtt_addr(), cloud.tenant.scope.device, "device secret").await;
    let stream = StreamId::random();
    board.hello(&[(stream, StreamClass::Control, 1, 1)]).await;
    let Down::Config(config) = board.down().await else {
        panic!("settings")
    };
    assert_eq!(
        (config.version, config.values.get()),
        (1, r#"{"b": 1.50, "a": "x"}"#)
    );

    // Changed while the device is connected: sent at once. The same settings again are not a change.
    assert_eq!(put("{}").await.ok()["desired"]["version"], 2);
    assert_eq!(put("{}").await.ok()["desired"]["version"], 2);
    let Down::Config(config) = board.down().await else {
        panic!("settings")
    };
    assert_eq!(config.version, 2);
    let taken = Record::Report(Report::Config(ConfigReport { version: 2, at_ms: 5 })).encode();
    board.up(encode_batch(stream, 1, [taken.as_slice()])).await;
    eventually("the device's word", async || {
        cloud.get(&path).await.ok()["in_sync"] == true
    })
    .await;
    assert_eq!(cloud.get(&path).await.ok()["reported"]["version"], 2);

    for (body, reason) in [
        ("[1]", "not a JSON object"),
        ("{", "not a JSON object"),
        (r#"{"a": 1e999}"#, "not a JSON object"),
        (
            &format!(r#"{{"a":{}}}"#, "[".repeat(40) + &"]".repeat(40)),
            "nested deeper",
        ),
        (
            &format!(r#"{{"a":"{}"}}"#, "x".repeat(65_536)),
            "the limit is 65536",
        ),
    ] {
        let error = put(body).await.error(400);
        assert!(error.contains(reason), "{error}");
    }
    let other = tenant(&cloud.services, "other").await;
    let foreign = format!("{PROJECT}/device/{}/config", other.scope.device);
    cloud.get(&foreign).await.error(403);
    cloud
        .request("PUT", &foreign, &[&cloud.bearer()], b"{}")
        .await
        .error(403);
    let audit = cloud.get(&format!("{PROJECT}/auditlog")).await;
    assert_eq!(audit.text.matches("device.config").count(), 2, "{}", audit.text);
    board.stop().await;
    cloud.shutdown().await;
}
