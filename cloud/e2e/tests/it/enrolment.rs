//! From one pasted string to messages, over TLS, with the programs as people use them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use iottly_e2e::{
    Api, CloudHome, DeviceHome, Process, agent_program, beside_others, build, every_seq_exactly_once,
    free_port, iottly, secrets, wait_for,
};
use iottly_protocol::enroll::{BoardFacts, DeviceSigner, EnrollRequest, SealingSecret};
use iottly_protocol::tuf::decode_hex;
use serde_json::{Value, json};

const COUNTER: &str = r"
let n = 0;
function loop() {
  for (let i = 0; i < 5; i++) send_msg({ n: n++ });
  return 50;
}
";

/// Cloud with its one port and a client of its project.
pub(crate) struct Site {
    pub(crate) home: CloudHome,
    pub(crate) cloud: Process,
    pub(crate) api: Api,
}

pub(crate) fn site() -> Site {
    let home = CloudHome::new();
    let listen = format!("127.0.0.1:{}", free_port());
    let cloud = home.start_with(&["--listen", &listen]);
    // Makes the project and its token; the device of it stays unused.
    let api = home.device("tenant", "unused", COUNTER).api;
    Site { home, cloud, api }
}

impl Site {
    /// Runs a command of the operator; returns its JSON.
    pub(crate) fn operator(&self, words: &[&str]) -> Value {
        let access = [
            "--url",
            &self.api.url,
            "--token",
            &self.api.token,
            "--project",
            &self.api.project,
            "--output",
            "json",
        ];
        let (code, out, err) = iottly(&[words, &access[..]].concat(), "");
        assert_eq!(code, Some(0), "{words:?}: {err}");
        serde_json::from_str(&out).expect("JSON")
    }

    pub(crate) fn board(&self, name: &str) -> std::path::PathBuf {
        self.home.dir.path().join(name)
    }
}

pub(crate) fn enroll(url: &str, data: &Path) -> Output {
    Command::new(agent_program())
        .args(["enroll", url, "--data"])
        .arg(data)
        .env("IOTTLY_LOG", "warn")
        .output()
        .expect("iottly-agent starts")
}

fn error(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn one_string_makes_a_board_a_device_and_its_secret_is_renewed_without_a_loss() {
    let _turn = beside_others();
    let site = site();
    let made = site.operator(&["device", "enroll", "--name", "porch"]);
    let url = made["url"].as_str().expect("a url");
    let code = made["pair_code"].as_str().expect("a code");
    assert!(
        url.starts_with("iottly://127.0.0.1:") && url.contains(code),
        "{made}"
    );
    assert!(made["expires"].is_i64(), "{made}");

    let path = site.board("porch");
    let output = enroll(url, &path);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    std::fs::write(path.join("firmware.wasm"), build(COUNTER)).expect("firmware");
    // Settings of the board, without a word about who it is.
    std::fs::write(path.join("agent.toml"), "firmware = \"firmware.wasm\"\n").expect("settings");
    let device = DeviceHome {
        id: made["device_id"].as_str().expect("an id").to_owned(),
        path: path.clone(),
        api: site.api.clone(),
    };
    let agent = device.start();
    let progress = |beyond: u64| {
        let newer = |message: &Value| message["payload"]["n"].as_u64() > Some(beyond);
        let message = device.api.wait_for_message(&device.id, "progress", newer);
        message["payload"]["n"].as_u64().expect("a number")
    };
    let seen = progress(0);
    let listed = site.operator(&["device", "list"]);
    let listed = listed["devices"].as_array().expect("devices");
    assert!(
        listed
            .iter()
            .any(|shown| shown["ID"] == device.id.as_str() && shown["operatingstatus"] == "connected"),
        "{listed:?}"
    );

    // The cloud gives another secret for the board's keys, as if it had enrolled once more: the one that the agent has is
    // over, and it proves its key for a new one.
    let before = secrets::remember_identity(&path);
    let (status, answer) = site.api.post("/enroll", &again(code, &before));
    assert_eq!(status, 200, "{answer}");
    let seen = progress(seen + 50);
    wait_for("a new secret", || {
        (secrets::remember_identity(&path)["login"] != before["login"]).then_some(())
    });
    progress(seen + 50);
    agent.terminate();
    let stored = device.history().len();
    let agent = device.start();
    wait_for("more messages", || {
        (device.history().len() > stored + 10).then_some(())
    });
    agent.terminate();
    let history = device.history();
    every_seq_exactly_once(&history);
    let numbers: BTreeSet<u64> = history
        .iter()
        .filter_map(|message| message["payload"]["n"].as_u64())
        .collect();
    let highest = numbers.last().expect("messages");
    assert_eq!(numbers.len() as u64, highest + 1, "every message is there");
    site.cloud.terminate();
}

/// Returns the request that the board with this identity would send with its code.
fn again(code: &str, identity: &Value) -> Value {
    let key = |name: &str| -> [u8; 32] {
        let text = identity["keys"][name].as_str().expect("a key");
        decode_hex(text).expect("hex").try_into().expect("32 bytes")
    };
    let request = EnrollRequest::signed(
        Some(code.parse().expect("a code")),
        &DeviceSigner::from_secret(&key("device")),
        &SealingSecret::from_secret(key("sealing")),
        BoardFacts::default(),
        None,
    );
    serde_json::to_value(request).expect("JSON")
}

#[test]
fn a_wrong_code_or_another_cloud_enrols_no_board() {
    let _turn = beside_others();
    let site = site();
    let made = site.operator(&["device", "enroll"]);
    let url = made["url"].as_str().expect("a url");
    let (code, print) = (
        made["pair_code"].as_str().expect("a code"),
        url.split_once('#').expect("a fingerprint").1,
    );
    let path = site.board("hall");
    let other = url.replace(print, &"0".repeat(64));
    let text = error(&enroll(&other, &path));
    assert!(text.contains("this is another cloud"), "{text}");
    let text = error(&enroll(&url.replace(code, &"0".repeat(32)), &path));
    assert!(text.contains("get a new code"), "{text}");
    // Without a fingerprint the authorities of the public web count, and they do not know this cloud.
    let bare = url.split_once('#').expect("a fingerprint").0;
    let text = error(&enroll(bare, &path));
    assert!(text.contains("TLS"), "{text}");

    let output = enroll(url, &path);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = error(&enroll(url, &path));
    assert!(text.contains("holds device"), "{text}");
    let text = error(&enroll(url, &site.board("cellar")));
    assert!(text.contains("get a new code"), "the code is used: {text}");

    // A copy of the disk is emptied and gets a place of its own with a key for many.
    let key = site.operator(&["enrolment-key", "create", "--name", "line 3", "--max-uses", "5"]);
    let emptied = Command::new(agent_program())
        .args(["generalize", "--data"])
        .arg(&path)
        .output()
        .expect("iottly-agent starts");
    assert!(
        emptied.status.success(),
        "{}",
        String::from_utf8_lossy(&emptied.stderr)
    );
    let output = enroll(key["url"].as_str().expect("a url"), &path);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let keys = site.operator(&["enrolment-key", "list"]);
    assert_eq!(keys["enrolment_keys"][0]["uses"], json!(1), "{keys}");
    site.cloud.terminate();
}

#[test]
fn new_keys_are_taken_although_the_power_failed_before_they_were_stored() {
    let _turn = beside_others();
    let site = site();
    let device = site.home.enrolled_device(&site.api, "porch", COUNTER);
    let names = ["0", "1"].map(|name| device.path.join("identity").join(name));
    let old = names.clone().map(|path| std::fs::read(path).ok());
    let made = site.operator(&["device", "replace", &device.id]);
    let url = made["url"].as_str().expect("a url");
    let output = Command::new(agent_program())
        .args(["enroll", url, "--rekey", "--data"])
        .arg(&device.path)
        .output()
        .expect("iottly-agent starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let new = secrets::remember_identity(&device.path);

    // The cloud knows the new keys; on the disk are the old identity and the keys of the enrolment under way.
    for (path, bytes) in names.iter().zip(old) {
        match bytes {
            Some(bytes) => std::fs::write(path, bytes).expect("the old identity"),
            None => {
                let _ = std::fs::remove_file(path);
            }
        }
    }
    assert_ne!(secrets::remember_identity(&device.path)["keys"], new["keys"]);
    let pending = device.path.join("enrolment.pending");
    let code = made["pair_code"].as_str().expect("a code");
    std::fs::write(&pending, json!({"code": code, "keys": new["keys"]}).to_string()).expect("written");
    let agent = device.start();
    device.api.wait_for_message(&device.id, "a message", |message| {
        message["payload"]["n"].is_u64()
    });
    assert_eq!(secrets::remember_identity(&device.path)["keys"], new["keys"]);
    wait_for("the file to go", || (!pending.exists()).then_some(()));
    agent.terminate();
    site.cloud.terminate();
}
