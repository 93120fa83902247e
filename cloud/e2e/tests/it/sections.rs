//! Code in sections, through REST alone: the branch's `firmware.toml` decides what of a board it reaches, and the
//! same files in a folder become the same firmware.

use std::path::Path;

use iottly_e2e::{Api, CloudHome, DeviceHome, Process, beside_others, wait_for};
use iottly_manifest::Script;
use serde_json::{Value, json};

const MANIFEST: &str = "name = \"porch\"\nlang = \"js\"\n\n[capabilities]\ngpio = [\"led\"]\n";
const GLOBAL: &str = "let led;\n";
const INIT: &str = "function init() {\n  led = gpio.output('led');\n}\n";
const LOOP: &str = "function loop() {\n  led.toggle();\n  send_msg({ led: led.value });\n  return 200;\n}\n";
const FACTORY: &str = "function loop() { return 1000; }";

/// A cloud, and the client of the project whose branch `main` is written.
struct Console {
    cloud: CloudHome,
    api: Api,
}

impl Console {
    fn request(&self, answer: (u16, Value)) -> Value {
        assert_eq!(answer.0, 200, "{}", answer.1);
        answer.1
    }

    fn path(&self, path: &str) -> String {
        format!("/project/{}{path}", self.api.project)
    }

    /// Saves the sections and the manifest as a revision.
    fn save(&self) -> Value {
        let section = |name: &str, code: &str| json!({"name": name, "code": code});
        let sections = json!({"snippets": [
            section("global", GLOBAL), section("init", INIT), section("loop", LOOP)
        ]});
        self.request(self.api.put(&self.path("/branches/main/snippets"), &sections));
        let manifest = json!({"manifest": MANIFEST});
        self.request(self.api.put(&self.path("/branches/main/manifest"), &manifest));
        self.request(self.api.post(&self.path("/branches/main/revisions"), &json!({})))
    }

    /// Creates a group that follows `main`, with one device in it.
    fn group(&self, name: &str, device: &DeviceHome) -> String {
        let body = json!({"name": name, "branch": "main"});
        let made = self.request(self.api.post(&self.path("/deploymentgroups"), &body));
        let id = made["deployment_group"]["id"].as_str().expect("an id").to_owned();
        let path = self.path(&format!("/deploymentgroups/{id}/devices"));
        self.request(self.api.post(&path, &json!({"devices": [device.id]})));
        id
    }

    fn flash(&self, group: &str, approve: &[&str]) -> (u16, Value) {
        let policy = json!({"canary": 1, "failure_percent": 0, "sample": 1, "grace_ms": 1000});
        let body = json!({"policy": policy, "approve": approve});
        self.api
            .post(&self.path(&format!("/deploymentgroups/{group}/flashfw")), &body)
    }

    fn until(&self, group: &str, status: &str) {
        wait_for(status, || {
            let (_, shown) = self
                .api
                .try_get(&self.path(&format!("/deploymentgroups/{group}")))?;
            (shown["deployment_group"]["status"] == status).then_some(())
        });
    }

    /// Returns the bytes of the release that `flash` has answered with.
    fn component(&self, flashed: &Value) -> Vec<u8> {
        let releases = self.cloud.dir.path().join("cloud/releases");
        let targets = releases.join(&self.api.project).join("repository/targets");
        let path = flashed["release"]["path"].as_str().expect("a path");
        let folder = targets.join(Path::new(path).parent().expect("a folder"));
        // A target's file begins with the digest of its content.
        let digest = flashed["release"]["sha256"].as_str().expect("a digest");
        let file = std::fs::read_dir(folder)
            .expect("a folder")
            .flatten()
            .find(|file| file.file_name().to_string_lossy().starts_with(digest))
            .expect("the release's file");
        std::fs::read(file.path()).expect("reads")
    }
}

/// Puts a virtual board into a device's configuration, with the labels that it grants.
fn add_board(device: &DeviceHome, grants: &str) {
    let path = device.path.join("agent.toml");
    let text = std::fs::read_to_string(&path).expect("a configuration");
    std::fs::write(&path, format!("board = \"virtual\"\n{text}\n{grants}")).expect("writes");
}

fn console(cloud: CloudHome, device: &DeviceHome) -> Console {
    Console {
        cloud,
        api: device.api.clone(),
    }
}

#[test]
fn sections_drive_the_pins_that_their_manifest_names_where_the_device_grants_them() {
    let _turn = beside_others();
    let cloud = CloudHome::new();
    let open = cloud.updating_device("acme", "open", FACTORY);
    let closed = cloud.updating_device("acme", "closed", FACTORY);
    add_board(&open, "");
    add_board(&closed, "[grants]\ngpio = [\"button\"]\n");
    let console = console(cloud, &open);
    let _cloud = console.cloud.start();
    let _agents: Vec<Process> = [&open, &closed].map(DeviceHome::start).into();
    let (first, second) = (console.group("first", &open), console.group("second", &closed));
    console.save();

    let (status, refused) = console.flash(&first, &[]);
    assert_eq!(status, 409, "{refused}");
    assert!(
        refused["error"].as_str().expect("text").contains("gpio"),
        "{refused}"
    );
    let flashed = console.request(console.flash(&first, &["gpio"]));
    assert_eq!(flashed["release"]["capabilities"], json!(["gpio"]));
    console.until(&first, "deployed");
    for level in [true, false] {
        wait_for("the level of the pin", || {
            open.history()
                .iter()
                .any(|message| message["payload"] == json!({"led": level}))
                .then_some(())
        });
    }

    // The same release on a device that grants another pin: the board stays untouched, the old firmware returns.
    let flashed = console.request(console.flash(&second, &["gpio"]));
    console.until(&second, "halted");
    let rollout = flashed["rollout"].as_str().expect("an id");
    let devices = console.request(
        console
            .api
            .get(&console.path(&format!("/rollouts/{rollout}/devices"))),
    );
    let device = &devices["devices"][0];
    assert_eq!(device["state"], "rolled_back", "{device}");
    let fault = device["fault"].as_str().expect("a fault");
    assert!(fault.contains("denied") && fault.contains("led"), "{fault}");
}

#[test]
fn a_folder_with_the_same_content_becomes_the_same_firmware() {
    let _turn = beside_others();
    let cloud = CloudHome::new();
    let device = cloud.updating_device("acme", "open", FACTORY);
    let console = console(cloud, &device);
    let _cloud = console.cloud.start();
    let group = console.group("field", &device);
    console.save();
    let flashed = console.request(console.flash(&group, &["gpio"]));
    let of_sections = console.component(&flashed);
    let script = Script::extract(&of_sections)
        .expect("readable")
        .expect("a script");
    assert!(script.sections.len() >= 3, "{:?}", script.sections);

    let folder = console.cloud.dir.path().join("porch");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(folder.join("main.js"), &script.files["main.js"]).expect("writes");
    std::fs::write(folder.join("firmware.toml"), MANIFEST).expect("writes");
    let (code, pushed, errors) = console.api.iottly(console.cloud.dir.path(), &["push", "porch"]);
    assert_eq!(code, Some(0), "{errors}");
    let pushed: Value = serde_json::from_str(&pushed).expect("json");
    let revision = format!("/branches/main/revisions/{}", pushed["revision"]);
    let shown = console.request(console.api.get(&console.path(&revision)));
    assert_eq!(shown["manifest"], json!(MANIFEST));
    let flashed = console.request(console.flash(&group, &["gpio"]));
    assert_eq!(flashed["release"]["capabilities"], json!(["gpio"]));
    let of_folder = console.component(&flashed);

    let plain = Script {
        sections: Vec::new(),
        ..script
    };
    assert_eq!(
        plain.component(MANIFEST).expect("valid"),
        of_folder,
        "the places of the sections are the only difference"
    );
    assert_eq!(
        iottly_manifest::extract(&of_sections),
        iottly_manifest::extract(&of_folder)
    );
}
