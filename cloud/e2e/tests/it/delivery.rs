//! Exactly-once storage and offline commands, over kills of real processes.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use iottly_e2e::{CloudHome, DeviceHome, beside_others, every_seq_exactly_once, wait_for};
use serde_json::{Value, json};

/// A script that counts up, twenty messages at a time.
const COUNTER: &str = r"
let n = 0;
function loop() {
  for (let i = 0; i < 20; i++) send_msg({ n: n++ });
  return 50;
}
";

fn counted(history: &[Value]) -> BTreeSet<u64> {
    history
        .iter()
        .filter_map(|message| message["payload"]["n"].as_u64())
        .collect()
}

/// Waits until the device has delivered something newer than `beyond`; returns its highest number.
fn progress(device: &DeviceHome, beyond: u64) -> u64 {
    let message = device.api.wait_for_message(&device.id, "progress", |message| {
        message["payload"]["n"].as_u64() > Some(beyond)
    });
    message["payload"]["n"].as_u64().expect("a number")
}

#[test]
fn killing_the_cloud_loses_no_message() {
    let _turn = beside_others();
    let home = CloudHome::new();
    let mut cloud = home.start();
    let device = home.device("tenant", "counter", COUNTER);
    let agent = device.start();
    let mut seen = progress(&device, 100);
    for _ in 0..3 {
        cloud.kill();
        // The device continues without a cloud for a while.
        std::thread::sleep(Duration::from_millis(400));
        cloud = home.start();
        seen = progress(&device, seen + 200);
    }
    agent.terminate();

    let history = device.history();
    let total = every_seq_exactly_once(&history);
    let numbers = counted(&history);
    let highest = *numbers.last().expect("messages");
    assert!(total > highest, "{total} sequence numbers for {highest} messages");
    assert_eq!(
        numbers.len() as u64,
        highest + 1,
        "every number that the firmware sent is there"
    );
    let texts: Vec<_> = history
        .iter()
        .filter(|message| message["payload"].get("n").is_some())
        .collect();
    assert_eq!(texts.len() as u64, highest + 1, "and none of them twice");
    cloud.terminate();
}

#[test]
fn an_agent_killed_with_unsent_messages_delivers_them() {
    let _turn = beside_others();
    let home = CloudHome::new();
    let cloud = home.start();
    let device = home.device("tenant", "counter", COUNTER);
    let agent = device.start();
    let delivered = progress(&device, 100);
    // From here on everything stays in the device's queue, over a kill of the agent.
    cloud.kill();
    std::thread::sleep(Duration::from_secs(2));
    agent.kill();
    let agent = device.start();
    std::thread::sleep(Duration::from_secs(2));
    let cloud = home.start();
    wait_for("both runs' messages", || {
        let starts = device
            .history()
            .iter()
            .filter(|message| message["payload"]["n"] == json!(0))
            .count();
        (starts == 2).then_some(())
    });
    agent.terminate();
    let history = device.history();
    every_seq_exactly_once(&history);
    let highest = *counted(&history).last().expect("messages");
    assert!(
        highest > delivered + 100,
        "what was sent while the cloud was gone is there: {highest} after {delivered}"
    );
    let unclean = history.iter().any(|message| {
        message["type"] == "iottlyagent" && message["payload"].to_string().contains("unclean")
    });
    assert!(
        unclean,
        "the start after the kill says that the stop before was unclean"
    );
    cloud.terminate();
}

/// Makes every write of the log fail, in every task.
#[test]
fn a_log_on_a_full_disk_stops_nothing() {
    let _turn = beside_others();
    let full = |command: &mut Command| {
        let mut wrapped = Command::new("sh");
        wrapped
            .args(["-c", "exec \"$@\" 2>/dev/full", "sh"])
            .arg(command.get_program())
            .args(command.get_args())
            .env("IOTTLY_LOG", "trace");
        *command = wrapped;
    };
    let home = CloudHome::new();
    let cloud = home.start_as(&[], full);
    let device = home.device("tenant", "counter", COUNTER);
    let agent = device.start_as(full);
    progress(&device, 200);
    let (status, answer) = device.api.command(
        &device.id,
        &json!({"cmd_type": "echo", "values": {"echo.content": "still"}}),
    );
    assert_eq!(status, 200, "{answer}");
    device.api.wait_for_message(&device.id, "the echo", |message| {
        message["payload"].get("ECHO").is_some()
    });
    agent.terminate();
    every_seq_exactly_once(&device.history());
    cloud.terminate();
}

#[test]
fn a_command_to_an_offline_device_waits_for_it() {
    let _turn = beside_others();
    let home = CloudHome::new();
    let cloud = home.start();
    let device = home.device("tenant", "sleeper", COUNTER);
    let (status, answer) = device.api.command(
        &device.id,
        &json!({"cmd_type": "echo", "values": {"echo.content": "later"}}),
    );
    assert_eq!(status, 200, "{answer}");
    cloud.kill();
    let cloud = home.start();
    let agent = device.start();
    let reply = device.api.wait_for_message(&device.id, "the echo", |message| {
        message["payload"].get("ECHO").is_some()
    });
    assert_eq!(reply["payload"], json!({"ECHO": {"echo": {"content": "later"}}}));
    agent.terminate();
    let replies = device
        .history()
        .iter()
        .filter(|message| message["payload"].get("ECHO").is_some())
        .count();
    assert_eq!(replies, 1, "a command runs once");
    cloud.terminate();
}

#[test]
fn presence_tells_clean_stops_and_kills_apart_from_nothing() {
    let _turn = beside_others();
    let home = CloudHome::new();
    let cloud = home.start();
    let device = home.device("tenant", "blinker", COUNTER);
    let states = |device: &DeviceHome| -> Vec<String> {
        let history = device.history();
        history
            .iter()
            .rev()
            .filter_map(|message| message["payload"]["connectionstatus"].as_str().map(str::to_owned))
            .collect()
    };
    let agent = device.start();
    wait_for("connected", || (states(&device) == ["connected"]).then_some(()));
    agent.terminate();
    wait_for("disconnected", || {
        (states(&device) == ["connected", "disconnected"]).then_some(())
    });
    let agent = device.start();
    wait_for("connected again", || {
        (states(&device) == ["connected", "disconnected", "connected"]).then_some(())
    });
    agent.kill();
    wait_for("killed", || {
        (states(&device) == ["connected", "disconnected", "connected", "disconnected"]).then_some(())
    });
    cloud.terminate();
}

#[test]
fn two_tenants_do_not_see_each_other() {
    let _turn = beside_others();
    let home = CloudHome::new();
    let cloud = home.start();
    let (ours, theirs) = (
        home.device("ours", "a", COUNTER),
        home.device("theirs", "b", COUNTER),
    );
    let paths = |device: &DeviceHome| {
        let project = &device.api.project;
        [
            format!("/project/{project}/inspect"),
            format!("/project/{project}/messages/{}", device.id),
            format!("/project/{project}/devices/props"),
            format!("/project/{project}/device/{}/props", device.id),
        ]
    };
    for path in paths(&theirs) {
        assert_eq!(theirs.api.get(&path).0, 200, "{path}");
        let (status, answer) = ours.api.get(&path);
        assert_eq!(status, 403, "{path}: {answer}");
        assert!(
            answer["error"].is_string() && !answer.to_string().contains("\"b\""),
            "{answer}"
        );
    }
    // Their device under our project is as unknown as one that does not exist.
    let (status, _) = ours
        .api
        .get(&format!("/project/{}/messages/{}", ours.api.project, theirs.id));
    assert_eq!(status, 403);
    let body = json!({"cmd_type": "echo", "values": {"echo.content": "x"}});
    assert_eq!(ours.api.command(&theirs.id, &body).0, 403);
    cloud.terminate();
}
