//! Secrets in no log, no error and no argument: the kit searches everything that the suite's processes write, and here
//! they write all that they can.

use std::path::Path;
use std::process::Command;

use iottly_e2e::{
    Api, CloudHome, DeviceHome, agent_program, beside_others, build, free_port, secrets, wait_for,
};
use serde_json::json;

const SCRIPT: &str = r"
let n = 0;
function loop() {
  send_msg({ n: n++ });
  return 100;
}
";

fn talkative(command: &mut Command) {
    command.env("IOTTLY_LOG", "debug");
}

#[test]
fn the_search_finds_a_secret_and_does_not_repeat_it() {
    secrets::remember_all(
        &json!({"state": "ok", "made": [{"token": "iot_0123456789abcdef0123456789abcdef"}]}),
    );
    assert_eq!(secrets::found_in("a line\nanother"), None);
    let found = secrets::found_in("fine\nwith iot_0123456789abcdef0123456789abcdef in it").expect("found");
    assert_eq!(found, "with <SECRET> in it");
}

#[test]
fn the_most_talkative_log_has_no_secret_in_it() {
    let _turn = beside_others();
    let home = CloudHome::new();
    let listen = format!("127.0.0.1:{}", free_port());
    let cloud = home.start_as(&["--listen", &listen], talkative);
    let provisioned = home.device("tenant", "provisioned", SCRIPT);
    let api = &provisioned.api;
    let project = format!("/project/{}", api.project);

    let token = api.post(
        &format!("{project}/tokens"),
        &json!({"name": "ci", "scopes": ["read"]}),
    );
    assert_eq!(token.0, 200, "{token:?}");
    let hook = api.post(
        &format!("{project}/webhooks"),
        &json!({"url": "https://hooks.example/x", "headers": {"Authorization": "hunter2 hunter2"}}),
    );
    secrets::remember("hunter2 hunter2");
    assert_eq!(hook.0, 200, "{hook:?}");
    let wrong = Api::new(&api.url, "iot_a_token_that_nobody_has_made", &api.project);
    assert_eq!(wrong.get(&project).0, 401);
    let wrong = api.post("/enroll", &json!({"code": "ffeeddccbbaa99887766554433221100"}));
    assert_eq!(wrong.0, 400, "{wrong:?}");

    let folder = home.dir.path().join("enrolled");
    let (code, out, errors) = api.iottly(
        Path::new("."),
        &["device", "enroll", "--name", "enrolled", "--output", "json"],
    );
    assert_eq!(code, Some(0), "{errors}");
    let made: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let mut enroll = Command::new(agent_program());
    enroll
        .args(["enroll", made["url"].as_str().expect("a url"), "--data"])
        .arg(&folder);
    talkative(&mut enroll);
    let done = enroll.output().expect("iottly-agent starts");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{said}");
    secrets::remember_identity(&folder);
    secrets::check("what iottly-agent enroll says", &said);
    std::fs::write(folder.join("firmware.wasm"), build(SCRIPT)).expect("firmware");
    std::fs::write(folder.join("agent.toml"), "firmware = \"firmware.wasm\"\n").expect("settings");
    let enrolled = DeviceHome {
        id: made["device_id"].as_str().expect("an id").to_owned(),
        path: folder.clone(),
        api: api.clone(),
    };
    for device in [&provisioned, &enrolled] {
        let agent = device.start_as(talkative);
        api.wait_for_message(&device.id, "a message", |message| {
            message["payload"]["n"].is_u64()
        });
        agent.terminate();
    }

    // A secret that the cloud refuses is in no log either. The board has got a key at its first contact; it forgets it.
    std::fs::remove_dir_all(provisioned.path.join("identity")).expect("an identity");
    let path = provisioned.path.join("agent.toml");
    let settings = std::fs::read_to_string(&path).expect("settings");
    let wrong: Vec<String> = settings
        .lines()
        .map(|line| match line.strip_prefix("secret = ") {
            Some(_) => "secret = \"a-secret-that-the-cloud-refuses\"".to_owned(),
            None => line.to_owned(),
        })
        .collect();
    std::fs::write(&path, wrong.join("\n")).expect("settings");
    secrets::remember_device(&provisioned.path);
    let log = home.dir.path().join("refused.log");
    let agent = provisioned.start_with_log(talkative, &log);
    wait_for("the refusal", || {
        let text = std::fs::read_to_string(&log).expect("the log");
        text.contains("refused").then_some(())
    });
    agent.terminate();
    cloud.terminate();
}
