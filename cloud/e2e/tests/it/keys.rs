//! Rotation of the key that signs releases, with real agents, one of them off.

use std::path::{Path, PathBuf};

use iottly_e2e::{CloudHome, DeviceHome, beside_others, iottly, wait_for};
use serde_json::{Value, json};

const SCRIPT: &str = "function init() { send_msg({ runs: 'NAME' }); } function loop() { return 200; }";

struct Site {
    home: CloudHome,
    devices: Vec<DeviceHome>,
    group: String,
}

impl Site {
    fn new() -> Self {
        let home = CloudHome::new();
        let device =
            |n| home.updating_device("acme", &format!("pump-{n}"), &SCRIPT.replace("NAME", "factory"));
        let devices = (0..3).map(device).collect();
        Self {
            home,
            devices,
            group: String::new(),
        }
    }

    /// Runs a command of the operator, which succeeds; returns what it prints.
    fn run(&self, args: &[&str]) -> String {
        let (code, out, errors) = self.devices[0].api.iottly(self.home.dir.path(), args);
        assert_eq!(code, Some(0), "{args:?}: {errors}");
        out
    }

    fn get(&self, path: &str) -> Option<Value> {
        let api = &self.devices[0].api;
        let (status, answer) = api.try_get(&format!("/project/{}{path}", api.project))?;
        (status == 200).then_some(answer)
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let api = &self.devices[0].api;
        let (status, answer) = api.post(&format!("/project/{}{path}", api.project), body);
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    fn wait_until_behind(&self, count: u64) {
        wait_for(&format!("{count} devices behind"), || {
            (self.get("/keys")?["behind"] == count).then_some(())
        });
    }

    /// Saves a script as the next revision of the branch.
    fn push(&self, name: &str) {
        let file = self.home.dir.path().join("porch/main.js");
        std::fs::write(file, SCRIPT.replace("NAME", name)).expect("script");
        self.run(&["push", "porch"]);
    }

    /// Begins a rollout to all devices; returns its id.
    fn flash(&self) -> String {
        let body = json!({"policy": {"canary": 3, "failure_percent": 100, "grace_ms": 1000}});
        let answer = self.post(&format!("/deploymentgroups/{}/flashfw", self.group), &body);
        answer["rollout"].as_str().expect("an id").to_owned()
    }

    fn wait_for_state(&self, rollout: &str, device: &DeviceHome, state: &str) -> Value {
        wait_for(&format!("{state} of {}", device.id), || {
            let answer = self.get(&format!("/rollouts/{rollout}/devices"))?;
            let devices = answer["devices"].as_array()?.clone();
            devices
                .into_iter()
                .find(|shown| shown["device"] == device.id.as_str() && shown["state"] == state)
        })
    }

    fn releases(&self) -> PathBuf {
        let project = &self.devices[0].api.project;
        self.home.dir.path().join("cloud/releases").join(project)
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("a copy");
        }
    }
}

/// Returns the newest version of the metadata that says which releases there are.
fn newest_targets(repository: &Path) -> (u64, PathBuf) {
    let entries = std::fs::read_dir(repository.join("metadata")).expect("a folder");
    let version = |path: &PathBuf| {
        let name = path.file_name()?.to_str()?;
        name.strip_suffix(".targets.json")?.parse::<u64>().ok()
    };
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter_map(|path| Some((version(&path)?, path)))
        .max()
        .expect("targets")
}

#[test]
fn a_rotated_key_is_taken_up_when_devices_connect_and_the_old_one_signs_nothing_more() {
    let _turn = beside_others();
    let mut site = Site::new();
    let cloud = site.home.start();
    let mut agents: Vec<_> = site.devices.iter().map(DeviceHome::start).collect();
    site.run(&["init", "porch", "--lang", "js"]);
    let made = site.post("/deploymentgroups", &json!({"name": "field", "branch": "main"}));
    made["deployment_group"]["id"]
        .as_str()
        .expect("an id")
        .clone_into(&mut site.group);
    let ids: Vec<&str> = site.devices.iter().map(|device| device.id.as_str()).collect();
    site.post(
        &format!("/deploymentgroups/{}/devices", site.group),
        &json!({"devices": ids}),
    );
    wait_for("reports of all devices", || {
        let keys = site.get("/keys")?;
        (keys["devices"] == json!([{"version": 1, "devices": 3}])).then_some(())
    });
    site.push("one");
    let rollout = site.flash();
    for device in &site.devices {
        site.wait_for_state(&rollout, device, "committed");
    }

    // A thief has copied the keys, and the repository as it is.
    let stolen = site.home.dir.path().join("stolen");
    copy(&site.releases(), &stolen);
    agents.pop().expect("the third").terminate();
    let third = &site.devices[2];
    wait_for("the third is off", || {
        let shown = site.get(&format!("/device/{}/props", third.id))?;
        (shown["operatingstatus"] == "disconnected").then_some(())
    });
    let said = site.run(&["signing-key", "rotate", "targets"]);
    assert!(
        said.contains("published root 2") && said.contains("removed targets "),
        "{said}"
    );
    site.wait_until_behind(1);
    let listed = site.run(&["device", "list", "--filter", "root<2", "--output", "json"]);
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let listed = listed["devices"].as_array().expect("devices");
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0]["ID"], third.id.as_str());
    let keys = site.get("/keys").expect("keys");
    let former = &keys["former"][0];
    assert_eq!(
        (&former["roles"], &former["releases"], &former["until"]["version"]),
        (&json!(["targets"]), &json!(1), &json!(2)),
        "{keys}"
    );
    agents.push(third.start());
    site.wait_until_behind(0);

    // The old key signs nothing more: neither by the cloud's own code …
    let firmware = third.path.join("firmware.wasm");
    let add = |repository: &Path| {
        let (keys, seal) = (stolen.join("keys"), site.home.dir.path().join("cloud/seal.key"));
        let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        let words = [
            "release".to_owned(),
            "add".to_owned(),
            text(&firmware),
            "--repository".to_owned(),
            text(repository),
            "--keys".to_owned(),
            text(&keys),
            "--seal".to_owned(),
            text(&seal),
        ];
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        iottly(&words, "")
    };
    let repository = site.releases().join("repository");
    let (code, _, errors) = add(&repository);
    assert!(code != Some(0) && errors.contains("unknown_key"), "{errors}");

    // … nor on a device, which is off while the thief writes its metadata under the name of the cloud's.
    agents.pop().expect("the third").terminate();
    site.push("two");
    let rollout = site.flash();
    for device in &site.devices[..2] {
        site.wait_for_state(&rollout, device, "committed");
    }
    let (version, file) = newest_targets(&repository);
    let forged = stolen.join("repository");
    while newest_targets(&forged).0 < version {
        let (code, _, errors) = add(&forged);
        assert_eq!(code, Some(0), "{errors}");
    }
    std::fs::copy(newest_targets(&forged).1, &file).expect("written");
    agents.push(third.start());
    let refused = site.wait_for_state(&rollout, third, "rejected");
    assert_eq!(refused["reason"], "unknown_key", "{refused}");
    for agent in agents {
        agent.terminate();
    }
    cloud.terminate();
}
