//! Long commands on a terminal, elsewhere, into a closed pipe, and interrupted.

use std::process::{Command, Stdio};

use iottly_e2e::{Api, CloudHome, beside_others, program, wait_for};
use serde_json::{Value, json};

use crate::jobs::many;

fn made((status, answer): (u16, Value)) -> Value {
    assert!((200..300).contains(&status), "{answer}");
    answer
}

/// Runs a line of bash with the program in `$iottly`; returns the code and both outputs.
fn bash(api: &Api, line: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new("bash");
    command
        .args(["-c", line])
        .env("iottly", program())
        .env("IOTTLY_URL", &api.url)
        .env("IOTTLY_TOKEN", &api.token)
        .env("IOTTLY_PROJECT", &api.project)
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null());
    let output = command.output().expect("bash starts");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn long_commands_draw_bars_on_terminals_only_and_say_what_continues() {
    let _turn = beside_others();
    let home = CloudHome::new();
    let device = home.device("home", "porch", "function loop() { return 1000; }");
    many(&home, 3000);
    let cloud = home.start();
    let api = &device.api;
    let path = |rest: &str| format!("/project/{}{rest}", api.project);
    let group = made(api.post(
        &path("/deploymentgroups"),
        &json!({"name": "north hall", "branch": "main"}),
    ));
    let group = group["deployment_group"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let code = json!({"snippets": [{"name": "loop", "code": "function loop() { return 2000; }"}]});
    made(api.put(&path("/branches/main/snippets"), &code));
    made(api.post(&path("/branches/main/revisions"), &json!({"message": "next"})));

    // A job with a bar and counts on a terminal, and with lines elsewhere.
    let on_terminal = |line: &str| {
        let line = format!("script -qec 'stty cols 100 rows 24; {line}' /dev/null");
        let (code, out, errors) = bash(api, &line);
        (code, out + &errors)
    };
    let (_, drawn) = on_terminal("$iottly device tag --filter \"\" --add field --yes");
    assert!(
        drawn.contains("3001/3001") || drawn.contains("/3001"),
        "counts: {drawn:?}"
    );
    assert!(drawn.contains("\u{1b}["), "a bar: {drawn:?}");
    let (code, out, errors) = bash(api, "$iottly device tag --filter '' --remove field --yes");
    assert_eq!(code, Some(0), "{errors}");
    assert!(errors.contains("finished 3001 of 3001, 0 failed"), "{errors}");
    assert!(
        !(out + &errors).contains(['\u{1b}', '\r']),
        "no bar where there is no terminal"
    );

    // A rollout that waits for devices, which never connect.
    let listed = api.get(&path("/devices/props?limit=3")).1;
    let ids: Vec<_> = listed["devices"]
        .as_array()
        .expect("devices")
        .iter()
        .map(|device| device["ID"].clone())
        .collect();
    made(api.post(
        &path(&format!("/deploymentgroups/{group}/devices")),
        &json!({"devices": ids}),
    ));
    made(api.post(&path(&format!("/deploymentgroups/{group}/flashfw")), &json!({})));
    let says =
        "interrupted; the rollout continues in the cloud: `iottly group watch 'north hall'` follows it again";
    let (_, drawn) = on_terminal("timeout --foreground -s INT 4 $iottly group watch \"north hall\"");
    assert!(
        drawn.contains("0/3") && drawn.contains("deploying, 0 failed"),
        "a bar: {drawn:?}"
    );
    assert!(drawn.contains(says), "{drawn:?}");
    let (code, out, errors) = bash(
        api,
        "timeout --foreground --preserve-status -s INT 3 $iottly group watch 'north hall'",
    );
    assert_eq!(code, Some(130), "{errors}");
    assert_eq!(out, "");
    assert!(
        errors.contains(says) && !errors.contains(['\u{1b}', '\r']),
        "{errors:?}"
    );
    let rollouts = api.get(&path("/rollouts")).1;
    assert_eq!(rollouts["rollouts"][0]["status"], "deploying", "it continues");
    let (code, _, errors) = bash(api, "$iottly group watch 'north hall' --timeout 1");
    assert_eq!(code, Some(124), "{errors}");
    assert!(errors.contains("it continues"), "{errors}");

    a_closed_pipe_is_quiet(api, &device.id);
    cloud.terminate();
}

/// Runs commands whose standard output is closed before they write.
fn a_closed_pipe_is_quiet(api: &Api, device: &str) {
    for line in [
        "device list",
        "device list --output json",
        "device list --output jsonl",
        "group list",
        "audit",
        "audit --export",
        "alert rule list",
        "token list",
        "definition list",
        "whoami",
        "project list",
        "job list",
        "rollout list",
        "webhook list",
        "group policy demo",
        "completions bash",
        "--help",
        &format!("device show {device}"),
        &format!("export {device}"),
        &format!("history {device}"),
    ] {
        // The reader is gone before the program starts.
        let piped = format!("exec 3> >(exec <&-); sleep 0.1; $iottly {line} >&3; exit $?");
        let (code, out, errors) = bash(api, &piped);
        let is_quiet = errors.is_empty() || errors.contains("does not exist");
        assert!(is_quiet && out.is_empty(), "{line}: {code:?} {errors}");
        assert!(matches!(code, Some(0 | 4)), "{line}: {code:?} {errors}");
    }
    // Nothing is left behind that still asks the cloud.
    wait_for("the cloud to answer", || api.try_get("/ping").map(drop));
}
