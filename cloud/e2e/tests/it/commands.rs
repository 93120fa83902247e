//! The commands with which people look after devices, as they type them.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use iottly_e2e::{CloudHome, DeviceHome, beside_others, iottly, program, wait_for};
use serde_json::Value;

const SCRIPT: &str = "
function init() { log('porch is ready'); send_msg({ hello: 1 }); }
function echo(command) { log.warn('echoing'); send_msg({ echoed: command.echo.content }); }
";

/// Returns the arguments that name the cloud, the token and the project.
fn access(device: &DeviceHome) -> [&str; 6] {
    let api = &device.api;
    [
        "--url",
        &api.url,
        "--token",
        &api.token,
        "--project",
        &api.project,
    ]
}

/// Runs a command; returns its exit code and both outputs.
fn run(device: &DeviceHome, words: &[&str]) -> (Option<i32>, String, String) {
    iottly(&[words, &access(device)[..]].concat(), "")
}

/// Runs a command that succeeds.
fn done(device: &DeviceHome, words: &[&str]) -> String {
    let (code, out, err) = run(device, words);
    assert_eq!(code, Some(0), "{words:?}: {out}{err}");
    out
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
}

#[test]
fn a_device_is_watched_commanded_moved_and_removed_from_the_command_line() {
    let _turn = beside_others();
    let home = CloudHome::new();
    let cloud = home.start();
    let device = home.device("tenant", "porch", SCRIPT);
    let other = home.device("tenant", "cellar", SCRIPT);
    let agent = device.start();
    let first = device
        .api
        .wait_for_message(&device.id, "the first message", |message| {
            message["payload"]["hello"] == 1
        });
    assert_eq!(first["payload"]["hello"], 1);

    let who = done(&device, &["whoami"]);
    assert!(who.contains("tenant") && who.contains("command"), "{who}");
    let lines = done(&device, &["device", "list", "--output", "jsonl"]);
    let names: Vec<_> = lines.lines().map(|line| json(line)["name"].clone()).collect();
    assert!(
        names.len() == 2 && names.contains(&"porch".into()) && names.contains(&"cellar".into()),
        "{lines}"
    );
    // A message may be stored before the presence of its device.
    wait_for("the device to be listed as connected", || {
        let online = done(&device, &["device", "list", "--state", "connected"]);
        assert!(!online.contains("cellar"), "{online}");
        online.contains("porch").then_some(())
    });
    let shown = done(&device, &["device", "show", "porch"]);
    assert!(
        shown.contains(&device.id) && shown.contains("connected"),
        "{shown}"
    );

    let line = done(&device, &["device", "show", "porch", "--output", "jsonl"]);
    assert_eq!(
        line.lines().count(),
        1,
        "a device is one object, whatever lists it has: {line}"
    );

    let mut tail = Command::new(program())
        .args(["tail", "porch", "--output", "jsonl"])
        .args(access(&device))
        .stdout(Stdio::piped())
        .spawn()
        .expect("iottly starts");
    let lines = BufReader::new(tail.stdout.take().expect("piped")).lines();
    let events: Arc<Mutex<Vec<Value>>> = Arc::default();
    let kept = Arc::clone(&events);
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            kept.lock().expect("whole").push(json(&line));
        }
    });
    // The stream may open after the first commands; a later one is in it.
    let mut times = 0;
    wait_for("a message and a log line in the stream", || {
        times += 1;
        let value = format!("content={times}");
        let sent = done(&device, &["cmd", "porch", "echo", &value, "--wait", "10s"]);
        assert!(sent.starts_with("answered  "), "{sent}");
        let events = events.lock().expect("whole");
        let logged = |event: &Value| event["text"] == "echoing" && event["level"] == "warn";
        let echoed = |event: &Value| event["payload"]["echoed"].is_u64();
        (events.iter().any(logged) && events.iter().any(echoed)).then_some(())
    });
    tail.kill().expect("ends");
    tail.wait().expect("ended");

    let history = done(
        &device,
        &["history", "porch", "--last", "1000", "--output", "jsonl"],
    );
    let echoed = |line: &str| json(line)["payload"]["echoed"].as_u64();
    assert_eq!(history.lines().filter_map(echoed).max(), Some(times), "{history}");
    let filter = r#"{"payload.hello": 1}"#;
    let one = done(&device, &["history", "porch", "--filter", filter]);
    assert!(
        one.lines().count() == 1 && one.contains(r#"{"hello":1}"#),
        "{one}"
    );
    let logs = done(&device, &["logs", "porch"]);
    assert!(
        logs.contains("porch is ready") && logs.contains("warn   echoing"),
        "{logs}"
    );
    let export = done(&device, &["export", "porch", "--filter", filter]);
    assert!(
        export.lines().count() == 1 && echoed(&export).is_none(),
        "{export}"
    );

    for (words, code, text) in [
        (&["history", "attic"][..], 4, "\"attic\" does not exist"),
        (&["cmd", "porch", "echo", "content"], 2, "KEY=VALUE"),
        (&["cmd", "porch", "unheard", "--wait", "1s"], 2, "unheard"),
        (
            &["cmd", "cellar", "echo", "content=1", "--wait", "100ms"],
            1,
            "has not finished",
        ),
        (&["device", "move", "porch", "--to", "nowhere"], 4, "nowhere"),
        (&["device", "rm", "cellar"], 2, "--yes"),
    ] {
        let (ended, out, err) = run(&device, words);
        assert!(ended == Some(code) && err.contains(text), "{words:?}: {out}{err}");
    }
    let made = device.api.post(
        &format!("/project/{}/deploymentgroups", device.api.project),
        &serde_json::json!({"name": "doors"}),
    );
    assert_eq!(made.0, 200, "{made:?}");
    let dry = done(
        &device,
        &["device", "move", "porch", "cellar", "--to", "doors", "--dry-run"],
    );
    assert_eq!(dry, "would move 2 to doors\n");
    let moved = done(&device, &["device", "move", "porch", &other.id, "--to", "doors"]);
    assert_eq!(moved, "moved 2 to doors\n");
    let grouped = done(&device, &["device", "list", "--group", "doors"]);
    assert_eq!(grouped.lines().count(), 2, "{grouped}");
    done(&device, &["device", "rm", "cellar", "--yes"]);
    let left = done(&device, &["device", "list"]);
    assert!(!left.contains("cellar") && left.contains("porch"), "{left}");
    agent.terminate();
    cloud.terminate();
}

#[test]
fn each_shell_has_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, out, err) = iottly(&["completions", shell], "");
        assert!(code == Some(0) && out.contains("enrolment-key"), "{shell}: {err}");
    }
}
