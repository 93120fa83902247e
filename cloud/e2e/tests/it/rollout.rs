//! Rollouts through REST and MQTT: the canary comes first, then the rest; bad firmware is rolled back and
//! halts the rollout; a changed byte is refused; a rollout survives kills of cloud and agent.

use std::path::{Path, PathBuf};

use iottly_e2e::{Api, CloudHome, DeviceHome, Process, agent_program, beside_others, demo, wait_for};
use serde_json::{Value, json};

const GOOD: &str = "function init() { send_msg({ runs: 'NAME' }); } function loop() { return 200; }";
const SPINS: &str = "function loop() { for (;;) {} }";

/// A developer's desk: a folder with firmware, and a client of the cloud.
struct Desk {
    dir: PathBuf,
    api: Api,
}

impl Desk {
    fn new(dir: &Path, api: Api) -> Self {
        let desk = Self {
            dir: dir.to_owned(),
            api,
        };
        let (code, _, stderr) = desk.run(&["init", "porch", "--lang", "js"]);
        assert_eq!(code, Some(0), "{stderr}");
        desk
    }

    /// Runs a command against the cloud; returns exit code, standard output and standard error.
    fn run(&self, args: &[&str]) -> (Option<i32>, String, String) {
        self.api.iottly(&self.dir, args)
    }

    fn push(&self, script: &str) -> Value {
        std::fs::write(self.dir.join("porch/main.js"), script).expect("script");
        let (code, stdout, stderr) = self.run(&["push", "porch"]);
        assert_eq!(code, Some(0), "{stderr}");
        serde_json::from_str(&stdout).expect("json")
    }

    /// Returns the group's status and revision, as `inspect` shows them.
    fn group(&self, name: &str) -> Value {
        let (status, inspected) = self.api.get(&format!("/project/{}/inspect", self.api.project));
        assert_eq!(status, 200, "{inspected}");
        let groups = inspected["deployment_groups"].as_array().expect("groups").clone();
        groups
            .into_iter()
            .find(|group| group["name"] == name)
            .expect("the group")
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self
            .api
            .post(&format!("/project/{}{path}", self.api.project), body);
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    fn devices(&self, rollout: &Value) -> Vec<Value> {
        let id = rollout.as_str().expect("an id");
        let path = format!("/project/{}/rollouts/{id}/devices", self.api.project);
        self.api
            .try_get(&path)
            .and_then(|(_, body)| body["devices"].as_array().cloned())
            .unwrap_or_default()
    }
}

/// Starts a demo, whose agents run inside it, and a desk beside it.
fn demo_with_desk(dir: &Path, devices: u16) -> (Process, Value, Desk) {
    let (data, devices) = (dir.join("demo"), devices.to_string());
    let data = data.to_str().expect("utf-8 path");
    let (process, ready, api) = demo(&["--devices", &devices, "--data", data]);
    (process, ready, Desk::new(dir, api))
}

fn newest_file(folder: &Path) -> PathBuf {
    let files = std::fs::read_dir(folder)
        .expect("folder")
        .flatten()
        .map(|entry| entry.path());
    files
        .max_by_key(|path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok())
        .expect("a file")
}

#[test]
fn canary_then_all_then_a_halt_then_back_then_a_refusal() {
    let _turn = beside_others();
    let dir = tempfile::tempdir().expect("folder");
    let (process, _, desk) = demo_with_desk(dir.path(), 3);
    let (code, _, stderr) = desk.run(&["group", "watch", "demo"]);
    assert_eq!(code, Some(4), "{stderr}");

    assert_eq!(desk.push(&GOOD.replace("NAME", "one"))["revision"], 1);
    let (code, stdout, stderr) = desk.run(&["group", "flash", "demo", "--watch"]);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert_eq!(stdout.matches(" committed").count(), 3, "{stdout}");
    // No other device is notified before the canary is done, and every state is seen.
    let rollouts = desk.api.get(&format!("/project/{}/rollouts", desk.api.project)).1;
    let mut told = desk.devices(&rollouts["rollouts"][0]["id"]);
    told.sort_by_key(|device| device["told"]["$date"].as_i64());
    let steps = told[0]["steps"].as_array().expect("steps");
    let done = steps.last().expect("a last step")["at"]["$date"].as_i64();
    assert!(
        told[1..]
            .iter()
            .all(|device| device["told"]["$date"].as_i64() >= done),
        "{told:?}"
    );
    let states: Vec<_> = steps.iter().filter_map(|step| step["state"].as_str()).collect();
    let all = "offered verifying_meta preflight downloading verifying_image staged armed switching trial committing committed";
    assert_eq!(states.join(" "), all);
    let canary = told[0]["device"].as_str().expect("an id");
    assert!(
        all.split(' ')
            .all(|state| stdout.contains(&format!("{canary} {state}"))),
        "{stdout}"
    );
    let group = desk.group("demo");
    assert_eq!(
        (&group["status"], &group["current_revision"]),
        (&json!("deployed"), &json!("1"))
    );

    desk.push(SPINS);
    let (code, stdout, stderr) = desk.run(&["group", "flash", "demo", "--watch"]);
    assert_eq!(code, Some(5), "{stdout}{stderr}");
    assert!(
        stderr.contains("halted: 1 of 1 devices of the canary failed") && stderr.contains("crash_loop"),
        "{stderr}"
    );
    assert!(stdout.contains("rolled_back: crash_loop"), "{stdout}");
    let group = desk.group("demo");
    assert_eq!(
        (&group["status"], &group["current_revision"]),
        (&json!("halted"), &json!("1"))
    );

    desk.push(&GOOD.replace("NAME", "three"));
    let (code, stdout, stderr) = desk.run(&["group", "flash", "demo", "--watch"]);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let (code, stdout, stderr) = desk.run(&["group", "rollback", "demo", "--watch"]);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let group = desk.group("demo");
    assert_eq!(
        (&group["status"], &group["current_revision"]),
        (&json!("rolled_back"), &json!("1"))
    );
    process.terminate();
}

#[test]
fn a_changed_byte_in_the_repository_is_refused_by_name() {
    let _turn = beside_others();
    let dir = tempfile::tempdir().expect("folder");
    let (process, ready, desk) = demo_with_desk(dir.path(), 1);
    desk.push(&GOOD.replace("NAME", "one"));
    // The byte is changed after signing and before the device may download the component.
    let group = desk.group("demo")["id"].as_str().expect("id").to_owned();
    let device = ready["devices"][0].as_str().expect("a device").to_owned();
    desk.post(
        &format!("/deploymentgroups/{group}/flashfw"),
        &json!({"policy": {"pins": [device], "deadline_s": 60}}),
    );
    let repository = dir
        .path()
        .join("demo/cloud/releases")
        .join(&desk.api.project)
        .join("repository");
    let file = newest_file(&repository.join("targets/app/main"));
    let mut bytes = std::fs::read(&file).expect("component");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).expect("component");
    let (code, stdout, stderr) = desk.run(&["group", "flash", "demo", "--watch", "--grace-ms", "10000"]);
    assert_eq!(code, Some(5), "{stdout}{stderr}");
    assert!(
        stderr.contains("chunk_corrupt") && stdout.contains("failed: chunk_corrupt"),
        "{stdout}{stderr}"
    );
    process.terminate();
}

/// A cloud and devices in separate processes, so that each can be killed alone.
struct Fleet {
    cloud: CloudHome,
    devices: Vec<DeviceHome>,
    desk: Desk,
    group: String,
}

impl Fleet {
    fn new(count: usize) -> Self {
        assert!(agent_program().exists());
        let cloud = CloudHome::new();
        let factory = GOOD.replace("NAME", "factory");
        let device = |n| cloud.updating_device("acme", &format!("pump-{n}"), &factory);
        let devices: Vec<DeviceHome> = (0..count).map(device).collect();
        let api = devices[0].api.clone();
        let desk = Desk::new(cloud.dir.path(), api);
        Self {
            cloud,
            devices,
            desk,
            group: String::new(),
        }
    }

    /// Puts all devices into a group that follows `main`.
    fn gather(&mut self) {
        let made = self
            .desk
            .post("/deploymentgroups", &json!({"name": "field", "branch": "main"}));
        self.group = made["deployment_group"]["id"].as_str().expect("an id").to_owned();
        let ids: Vec<&str> = self.devices.iter().map(|device| device.id.as_str()).collect();
        self.desk.post(
            &format!("/deploymentgroups/{}/devices", self.group),
            &json!({"devices": ids}),
        );
    }

    fn flash(&self, grace_ms: u64) -> Value {
        let body = json!({"policy": {"canary": 1, "failure_percent": 0, "sample": 1, "grace_ms": grace_ms}});
        self.desk
            .post(&format!("/deploymentgroups/{}/flashfw", self.group), &body)["rollout"]
            .clone()
    }

    fn until(&self, status: &str) {
        let project = &self.desk.api.project;
        wait_for(status, || {
            let (_, shown) = self
                .desk
                .api
                .try_get(&format!("/project/{project}/deploymentgroups/{}", self.group))?;
            (shown["deployment_group"]["status"] == status).then_some(())
        });
    }
}

#[test]
fn a_cloud_that_is_killed_in_mid_rollout_finishes_it() {
    let _turn = beside_others();
    let mut fleet = Fleet::new(3);
    let cloud = fleet.cloud.start();
    fleet.gather();
    let _agents: Vec<Process> = fleet.devices.iter().map(DeviceHome::start).collect();
    fleet.desk.push(&GOOD.replace("NAME", "new"));
    let rollout = fleet.flash(2000);
    wait_for("a device on trial", || {
        fleet
            .desk
            .devices(&rollout)
            .iter()
            .any(|device| device["state"] == "trial")
            .then_some(())
    });
    cloud.kill();
    let _cloud = fleet.cloud.start();
    fleet.until("deployed");
    assert!(
        fleet
            .desk
            .devices(&rollout)
            .iter()
            .all(|device| device["state"] == "committed" && device["failures"] == 0)
    );
}

#[test]
fn an_agent_that_is_killed_in_mid_update_finishes_it() {
    let _turn = beside_others();
    let mut fleet = Fleet::new(2);
    let _cloud = fleet.cloud.start();
    fleet.gather();
    let mut agents: Vec<Option<Process>> = fleet.devices.iter().map(|device| Some(device.start())).collect();
    fleet.desk.push(&GOOD.replace("NAME", "new"));
    let rollout = fleet.flash(3000);
    let canary = wait_for("a device on trial", || {
        let devices = fleet.desk.devices(&rollout);
        devices
            .iter()
            .find(|device| device["state"] == "trial")
            .and_then(|device| device["device"].as_str().map(str::to_owned))
    });
    let at = fleet
        .devices
        .iter()
        .position(|device| device.id == canary)
        .expect("ours");
    agents[at].take().expect("it runs").kill();
    agents[at] = Some(fleet.devices[at].start());
    fleet.until("deployed");
    let told = fleet.desk.devices(&rollout);
    let canary = told
        .iter()
        .find(|device| device["device"] == canary.as_str())
        .expect("the canary");
    let trials = canary["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .filter(|step| step["state"] == "trial")
        .count();
    assert_eq!(trials, 2, "the trial began again: {canary}");
}
