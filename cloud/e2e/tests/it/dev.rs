//! `iottly dev` with a real cloud and real agents: saves, errors, and every way back to the release.

use std::path::PathBuf;

use iottly_e2e::{CloudHome, Dev, DeviceHome, Process, beside_others, firmware_folder, save, wait_for};
use serde_json::{Value, json};

const RELEASE: &str = "function init() { send_msg({ runs: 'release' }); } function loop() { send_msg({ tick: 'release' }); return 200; }";

fn script(name: &str) -> String {
    format!(
        "function init() {{ send_msg({{ runs: '{name}' }}); }} function loop() {{ send_msg({{ tick: '{name}' }}); return 200; }}"
    )
}

/// A cloud, a device that runs its firmware, and a folder to develop in.
struct Desk {
    cloud: CloudHome,
    device: DeviceHome,
    folder: PathBuf,
    _serve: Process,
    agent: Option<Process>,
}

impl Desk {
    fn new() -> Self {
        Self::with_config("")
    }

    /// Starts the device with more keys in its configuration.
    fn with_config(keys: &str) -> Self {
        let cloud = CloudHome::new();
        let device = cloud.updating_device("acme", "porch", RELEASE);
        let path = device.path.join("agent.toml");
        let text = std::fs::read_to_string(&path).expect("configuration");
        std::fs::write(&path, format!("{keys}{text}")).expect("configuration");
        let serve = cloud.start();
        let agent = Some(device.start());
        let folder = firmware_folder(cloud.dir.path(), "lamp", &script("one"));
        let desk = Self {
            cloud,
            device,
            folder,
            _serve: serve,
            agent,
        };
        desk.runs("release", 1);
        desk
    }

    fn dev(&self, args: &[&str]) -> Dev {
        Dev::start(&self.device.api, &self.folder, args)
    }

    /// Waits until code has started so often, by the device's history.
    fn runs(&self, name: &str, times: usize) {
        wait_for(&format!("{times} starts of {name}"), || {
            let history = self.device.history();
            let starts = history
                .iter()
                .filter(|message| message["payload"]["runs"] == name);
            (starts.count() >= times).then_some(())
        });
    }
}

fn is_message(line: &Value, payload: &Value) -> bool {
    line["event"] == "message" && line["payload"] == *payload
}

/// Waits for a save that runs; returns its digest.
fn running(dev: &mut Dev, from: usize) -> String {
    let line = dev.wait_from(from, "the code to run", |line| line["event"] == "running");
    line["digest"].as_str().expect("digest").to_owned()
}

#[test]
fn a_save_runs_an_error_leaves_what_ran_and_ctrl_c_gives_the_release_back() {
    let _turn = beside_others();
    let desk = Desk::new();
    // Without a name: the project has one device.
    let mut dev = desk.dev(&[]);
    let first = running(&mut dev, 0);
    let told = dev.wait("its message", |line| is_message(line, &json!({"runs": "one"})));
    assert_eq!(told["digest"].as_str(), Some(&first[..]), "{told}");
    assert_eq!(told["device"].as_str(), Some(&desk.device.id[..]), "{told}");

    let from = dev.count();
    save(&desk.folder, &script("two"));
    let second = running(&mut dev, from);
    assert_ne!(first, second);
    let told = dev.wait_from(from, "its message", |line| {
        is_message(line, &json!({"runs": "two"}))
    });
    assert_eq!(told["digest"].as_str(), Some(&second[..]), "{told}");

    // The build refuses it, and nothing is sent.
    let from = dev.count();
    save(&desk.folder, "function init() {\n  send_msg({ runs: ;\n}\n");
    let error = dev.wait_from(from, "the error", |line| line["event"] == "error");
    assert_eq!(
        (error["file"].as_str(), error["line"].as_u64()),
        (Some("main.js"), Some(2)),
        "{error}"
    );
    assert!(error["column"].is_u64() && error["device"].is_null(), "{error}");
    let ticks = |line: &Value| is_message(line, &json!({"tick": "two"}));
    let from = dev.count();
    dev.wait_from(from, "the code before it", ticks);

    // The device refuses it by its first call.
    let from = dev.count();
    save(&desk.folder, "function init() {\n  missing();\n}\n");
    let error = dev.wait_from(from, "the error", |line| line["event"] == "error");
    assert_eq!(
        (error["file"].as_str(), error["line"].as_u64()),
        (Some("main.js"), Some(2)),
        "{error}"
    );
    let from = dev.count();
    let told = dev.wait_from(from, "the code before it", ticks);
    assert_eq!(told["digest"].as_str(), Some(&second[..]), "{told}");

    let lines = dev.interrupt();
    assert!(
        lines.iter().any(|line| line["event"] == "ended"),
        "{:?}",
        lines.last()
    );
    desk.runs("release", 2);
    for line in lines.iter().filter(|line| line["event"] == "message") {
        let (name, digest) = (&line["payload"]["tick"], line["digest"].as_str());
        let made = match name.as_str() {
            Some("one") => &first[..],
            Some("two") => &second[..],
            Some("release") => "release",
            _ => continue,
        };
        assert_eq!(digest, Some(made), "{line}");
    }
}

#[test]
fn state_is_kept_over_saves_and_the_way_back() {
    let _turn = beside_others();
    let desk = Desk::new();
    let count = "function init() { const n = (state.get('n') ?? 0) + 1; state.set('n', n); send_msg({ n, v: 'V' }); }";
    save(&desk.folder, &count.replace('V', "1"));
    let mut dev = desk.dev(&["porch"]);
    dev.wait("the first count", |line| {
        is_message(line, &json!({"n": 1, "v": "1"}))
    });
    save(&desk.folder, &count.replace('V', "2"));
    dev.wait("the second count", |line| {
        is_message(line, &json!({"n": 2, "v": "2"}))
    });
    dev.interrupt();
}

#[test]
fn a_restarted_agent_runs_its_release_and_the_next_save_runs_again() {
    let _turn = beside_others();
    let mut desk = Desk::new();
    let mut dev = desk.dev(&["porch"]);
    running(&mut dev, 0);
    desk.agent.take().expect("an agent").kill();
    let from = dev.count();
    desk.agent = Some(desk.device.start());
    desk.runs("release", 2);
    dev.wait_from(from, "the end", |line| line["event"] == "ended");
    let from = dev.count();
    save(&desk.folder, &script("two"));
    running(&mut dev, from);
    dev.interrupt();
    desk.runs("release", 3);
}

#[test]
fn an_owner_who_wants_no_developers_gets_none() {
    let _turn = beside_others();
    let desk = Desk::with_config("developer = false\n");
    let mut dev = desk.dev(&["porch"]);
    let error = dev.wait("the refusal", |line| line["event"] == "error");
    assert!(
        error["text"]
            .as_str()
            .is_some_and(|text| text.contains("developer_off")),
        "{error}"
    );
    dev.wait("the release", |line| {
        is_message(line, &json!({"tick": "release"})) && line["digest"] == "release"
    });
    dev.interrupt();
    let started = desk.device.history();
    let started = started
        .iter()
        .filter(|message| !message["payload"]["runs"].is_null());
    assert_eq!(started.count(), 1, "the release was never interrupted");
}

#[test]
fn a_release_takes_a_device_under_a_lease_and_no_update_is_lost() {
    let _turn = beside_others();
    let desk = Desk::new();
    let mut dev = desk.dev(&["porch"]);
    running(&mut dev, 0);
    let project = format!("/project/{}", desk.device.api.project);
    let api = &desk.device.api;
    let (status, made) = api.post(
        &format!("{project}/deploymentgroups"),
        &json!({"name": "field", "branch": "main"}),
    );
    assert_eq!(status, 200, "{made}");
    let id = made["deployment_group"]["id"].as_str().expect("an id").to_owned();
    let (status, moved) = api.post(
        &format!("{project}/deploymentgroups/{id}/devices"),
        &json!({"devices": [desk.device.id]}),
    );
    assert_eq!(status, 200, "{moved}");
    let released = firmware_folder(desk.cloud.dir.path(), "next", &script("next"));
    let push = std::process::Command::new(iottly_e2e::program())
        .args(["push", "--branch", "main"])
        .arg(&released)
        .env("IOTTLY_URL", &api.url)
        .env("IOTTLY_TOKEN", &api.token)
        .env("IOTTLY_PROJECT", &api.project)
        .output()
        .expect("push");
    assert!(push.status.success(), "{}", String::from_utf8_lossy(&push.stderr));
    let from = dev.count();
    let (status, begun) = api.post(
        &format!("{project}/deploymentgroups/{id}/flashfw"),
        &json!({"policy": {"canary": 1, "failure_percent": 0, "sample": 1, "grace_ms": 1000}}),
    );
    assert_eq!(status, 200, "{begun}");
    dev.wait_from(from, "the end", |line| line["event"] == "ended");
    desk.runs("next", 1);
    let rollout = begun["rollout"].as_str().expect("rollout").to_owned();
    wait_for("the commit", || {
        let (_, state) = api.get(&format!("{project}/rollouts/{rollout}"));
        (state["rollout"]["status"] == "deployed").then_some(())
    });
    let from = dev.count();
    save(&desk.folder, &script("two"));
    running(&mut dev, from);
    dev.interrupt();
    desk.runs("next", 2);
}
