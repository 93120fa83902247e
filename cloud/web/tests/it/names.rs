//! Names of commands: a name that firmware cannot handle is refused when it is defined; existing commands
//! keep working.

use crate::support;
use iottly_core::model::{
    Change, Definition, DefinitionOption, Direction, OptionFacts, OptionKind, Principal, Scopes,
};
use iottly_web::auth::mint_token;
use serde_json::{Value, json};
use support::{Answer, TestCloud, start};

async fn send(cloud: &TestCloud, method: &str, path: &str, body: &Value) -> Answer {
    let path = format!("/v1.0/project/<project id>/messagedefinitions{path}");
    cloud
        .request(method, &path, &[&cloud.bearer()], body.to_string().as_bytes())
        .await
}

/// Returns a definition with one free value, as in requests.
fn shape(name: &str, direction: &str) -> Value {
    let mut shape = json!({"metadata": {"direction": direction}});
    shape[name] = json!({"v": {"type": "FreeValue"}});
    shape
}

#[tokio::test]
async fn names_that_no_firmware_can_handle_are_refused_where_they_are_defined() {
    let cloud = start().await;
    for name in [
        "state",
        "init",
        "loop",
        "send_msg",
        "commands",
        "_old",
        "__iottly_find",
    ] {
        let refused = send(&cloud, "POST", "", &shape(name, "command")).await;
        assert!(refused.error(400).contains(name), "{}", refused.text);
        assert_eq!(refused.json()["code"], "invalid_definition");
    }
    for name in ["switch", "set-target", "größe", "1st", "constructor"] {
        send(&cloud, "POST", "", &shape(name, "command")).await.ok();
    }
    let branch = cloud
        .get("/v1.0/project/<project id>/branches/main")
        .await
        .ok()
        .to_string();
    assert!(
        branch.contains(r#"commands[\"switch\"] = function"#) && branch.contains("function constructor("),
        "{branch}"
    );
    // An event has no handler; it cannot become a command under such a name.
    send(&cloud, "POST", "", &shape("state", "event")).await.ok();
    send(&cloud, "PUT", "/state", &shape("state", "event")).await.ok();
    send(&cloud, "PUT", "/state", &shape("state", "command"))
        .await
        .error(400);
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_command_that_exists_goes_on_working_whatever_its_name() {
    let cloud = start().await;
    let project = cloud.tenant.scope.project;
    let by: Principal = mint_token(project, "t", Scopes::PROJECT, None, 1)
        .expect("randomness")
        .token
        .into();
    let options = vec![DefinitionOption {
        key: "v".into(),
        kind: OptionKind::FreeValue,
        optional: false,
        facts: OptionFacts::default(),
    }];
    let old = Definition {
        cmd_type: "log".into(),
        description: String::new(),
        direction: Direction::Command,
        options,
    };
    cloud
        .services
        .store
        .change(project, &by, Change::CreateDefinition(old), 1)
        .await
        .expect("was possible");
    let mut described = shape("log", "command");
    described["metadata"]["description"] = json!("changed");
    send(&cloud, "PUT", "/log", &described).await.ok();
    let command = r#"{"cmd_type": "log", "values": {"log.v": "x"}}"#;
    cloud
        .post("/v1.0/project/<project id>/device/<device id>/command", command)
        .await
        .ok();
    send(&cloud, "DELETE", "/log", &json!({})).await.ok();
    cloud.shutdown().await;
}
