//! The demo, as a newcomer and as programs use it.

use std::process::Command;
use std::time::Duration;

use iottly_e2e::{Api, Process, alone, beside_others, demo, every_seq_exactly_once, program, wait_for};
use serde_json::{Value, json};

fn devices(ready: &Value) -> Vec<String> {
    ready["devices"]
        .as_array()
        .expect("devices")
        .iter()
        .map(|id| id.as_str().expect("id").to_owned())
        .collect()
}

#[test]
fn a_demo_needs_neither_a_proxy_nor_a_writable_tmp() {
    let _turn = beside_others();
    let data = tempfile::tempdir().expect("folder");
    let mut command = Command::new(program());
    command
        .args([
            "demo",
            "--json",
            "--devices",
            "1",
            "--http",
            "127.0.0.1:0",
            "--mqtt",
            "127.0.0.1:0",
            "--data",
        ])
        .arg(data.path());
    command.env("TMPDIR", "/nonexistent");
    for name in [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        command.env(name, "http://127.0.0.1:9");
    }
    let (process, ready) = Process::start_until_ready("the demo", &mut command);
    let field = |name: &str| ready[name].as_str().expect("field").to_owned();
    let api = Api::new(&field("http"), &field("token"), &field("project_id"));
    let project = format!("/project/{}", api.project);
    let (status, saved) = api.post(
        &format!("{project}/branches/main/revisions"),
        &json!({"message": "first"}),
    );
    assert_eq!(status, 200, "{saved}");
    let group = field("group_id");
    let (status, begun) = api.post(&format!("{project}/deploymentgroups/{group}/flashfw"), &json!({}));
    assert_eq!(status, 200, "{begun}");
    let rollout = begun["rollout"].as_str().expect("a rollout").to_owned();
    wait_for("the release to be committed", || {
        let (_, state) = api.get(&format!("{project}/rollouts/{rollout}"));
        (state["rollout"]["status"] == "deployed").then_some(())
    });
    process.terminate();
}

#[test]
fn one_message_and_one_command_go_the_whole_way() {
    // Measures how long the demo takes to stop.
    let _turn = alone();
    let (process, ready, api) = demo(&[]);
    let ids = devices(&ready);
    assert_eq!(ids.len(), 3);
    assert_eq!(api.get("/ping"), (200, json!({"status": "pong"})));
    assert_eq!(api.get("/project/ping"), (200, json!({"status": "pong"})));

    let (status, project) = api.get(&format!("/project/{}/inspect", api.project));
    assert_eq!(status, 200);
    let groups = project["deployment_groups"].as_array().expect("groups");
    assert_eq!(groups[0]["name"], "_orphaned");
    let demo = groups
        .iter()
        .find(|group| group["name"] == "demo")
        .expect("the demo's group");
    assert_eq!(demo["id"], ready["group_id"]);
    assert_eq!(demo["branch"], "main");
    assert_eq!(demo["boards"].as_array().expect("boards").len(), 3);

    for id in &ids {
        let message = api.wait_for_message(id, "a temperature", |message| {
            message["payload"].get("temperature").is_some()
        });
        assert_eq!(message["type"], "userdefined");
        assert_eq!(
            (message["from"].as_str(), message["to"].as_str()),
            (Some(id.as_str()), Some(api.project.as_str()))
        );
        assert!(
            message["stream"].is_string() && message["seq"].as_u64() >= Some(1),
            "{message}"
        );
        api.wait_for_message(id, "presence", |message| {
            message["payload"] == json!({"connectionstatus": "connected"})
        });
    }

    let (status, answer) = api.command(
        &ids[0],
        &json!({"cmd_type": "echo", "values": {"echo.content": "hi there!"}}),
    );
    assert_eq!((status, &answer["status"]), (200, &json!(200)));
    let reply = api.wait_for_message(&ids[0], "the echo", |message| {
        message["payload"].get("ECHO").is_some()
    });
    assert_eq!(
        reply["payload"],
        json!({"ECHO": {"echo": {"content": "hi there!"}}})
    );
    let command = answer["id"].as_str().expect("a command id").to_owned();
    let path = format!("/project/{}/device/{}/commands/{command}", api.project, ids[0]);
    wait_for("the command's end", || {
        (api.get(&path).1["state"] == "answered").then_some(())
    });

    // Settings: from the cloud to the device's disk, into the firmware, and back in its messages.
    let config = format!("/project/{}/device/{}/config", api.project, ids[1]);
    assert_eq!(api.put(&config, &json!({"room": "kitchen"})).0, 200);
    wait_for("the settings to arrive", || {
        (api.get(&config).1["in_sync"] == true).then_some(())
    });
    api.wait_for_message(&ids[1], "the room", |message| {
        message["payload"]["room"] == "kitchen"
    });

    assert!(
        process.terminate() < Duration::from_secs(5),
        "the demo stops within five seconds"
    );
}

#[test]
fn a_second_start_keeps_project_devices_and_data() {
    let _turn = beside_others();
    let dir = tempfile::tempdir().expect("folder");
    let data = dir.path().to_str().expect("utf-8");
    let (process, first, api) = demo(&["--data", data, "--devices", "2"]);
    let ids = devices(&first);
    let before = api.wait_for_message(&ids[1], "a temperature", |message| {
        message["payload"].get("temperature").is_some()
    });
    process.terminate();

    let (process, second, api) = demo(&["--data", data, "--devices", "2"]);
    for key in ["project_id", "group_id", "devices"] {
        assert_eq!(first[key], second[key], "{key}");
    }
    let history = api.history(&ids[1]);
    assert!(
        history.iter().any(|message| message["_id"] == before["_id"]),
        "the first run's messages are still there"
    );
    every_seq_exactly_once(&history);
    let disconnected = |message: &&Value| message["payload"] == json!({"connectionstatus": "disconnected"});
    assert_eq!(
        history.iter().filter(disconnected).count(),
        1,
        "the clean stop shows once"
    );

    // Killed, not stopped: the next start finds everything as well.
    process.kill();
    let (process, third, api) = demo(&["--data", data, "--devices", "2"]);
    assert_eq!(first["devices"], third["devices"]);
    every_seq_exactly_once(&api.history(&ids[1]));
    process.terminate();
}

#[test]
fn the_devices_run_the_firmware_they_are_given() {
    let _turn = beside_others();
    let dir = tempfile::tempdir().expect("folder");
    let script = dir.path().join("hello.js");
    std::fs::write(
        &script,
        "function init() { send_msg({ hello: 'from my own script' }); }",
    )
    .expect("written");
    let (process, ready, api) = demo(&["--devices", "1", "--firmware", script.to_str().expect("utf-8")]);
    api.wait_for_message(&devices(&ready)[0], "the greeting", |message| {
        message["payload"]["hello"] == "from my own script"
    });
    process.terminate();

    std::fs::write(&script, "function init( {}").expect("written");
    let output = Command::new(program())
        .args(["demo", "--http", "127.0.0.1:0", "--firmware"])
        .arg(&script)
        .output()
        .expect("run");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("hello.js:1"), "{text}");
}
