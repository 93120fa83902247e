//! Devices that enrol themselves with their environment, and the questions about health, as containers use them.

use std::path::Path;
use std::process::Command;

use iottly_e2e::{CloudHome, Process, agent_program, beside_others, free_port, iottly, wait_for};

/// Asks the agent of a data folder. Returns whether it is healthy, and its words.
fn health(data: &Path, max_offline: &str) -> (bool, String) {
    let output = Command::new(agent_program())
        .args(["healthcheck", "--max-offline", max_offline, "--data"])
        .arg(data)
        .output()
        .expect("iottly-agent starts");
    let words = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (output.status.success(), words)
}

#[test]
fn a_board_with_a_url_in_its_environment_waits_for_its_cloud_becomes_a_device_and_forgets_the_url() {
    let _turn = beside_others();
    let home = CloudHome::new();
    let listen = format!("127.0.0.1:{}", free_port());
    let cloud = home.start_with(&["--listen", &listen]);
    let (file, data) = (home.dir.path().join("url"), home.dir.path().join("device"));
    let provision = || {
        let database = home.database();
        let cloud = database.parent().expect("a folder").to_str().expect("text");
        let file = file.to_str().expect("text");
        let (code, out, err) = iottly(
            &[
                "provision",
                "--data",
                cloud,
                "--project",
                "home",
                "--enrolment-url",
                file,
                "--address",
                &listen,
            ],
            "",
        );
        assert_eq!(code, Some(0), "{err}");
        (out, std::fs::read_to_string(file).expect("a URL"))
    };
    let (said, url) = provision();
    assert!(said.contains("token"), "{said}");
    let (said, again) = provision();
    assert!(said.is_empty() && again == url, "the second time nothing is made");
    let secret = url
        .rsplit('/')
        .next()
        .and_then(|end| end.split('#').next())
        .expect("a code");
    assert_eq!(secret.len(), 32, "{url}");
    cloud.terminate();

    let log = home.dir.path().join("agent.log");
    let agent = Process::start_with_log(
        "the agent",
        Command::new(agent_program())
            .args(["run", "--data"])
            .arg(&data)
            .env("IOTTLY_ENROLL", url.trim())
            .env("IOTTLY_NAME", "porch"),
        &log,
    );
    let logged = || std::fs::read_to_string(&log).unwrap_or_default();
    wait_for("an attempt", || {
        logged().contains("failed to enrol").then_some(())
    });
    let (healthy, words) = health(&data, "any");
    assert!(!healthy && words.contains("no agent answers"), "{words}");

    let cloud = home.start_with(&["--listen", &listen]);
    let cloud_url = format!("https://{listen}");
    let asked = || iottly(&["healthcheck", "--url", &cloud_url], "");
    assert_eq!(asked().0, Some(0));
    wait_for("a healthy device", || {
        let (healthy, words) = health(&data, "0");
        (healthy && words.starts_with("online, no firmware, ")).then_some(())
    });
    let environment = std::fs::read(format!("/proc/{}/environ", agent.id())).expect("an environment");
    let environment = String::from_utf8_lossy(&environment).into_owned();
    assert!(environment.contains("IOTTLY_NAME=porch") && !environment.contains(secret));
    assert!(
        logged().contains("porch") && !logged().contains(secret),
        "{}",
        logged()
    );

    cloud.terminate();
    assert_eq!(asked().0, Some(1));
    wait_for("a device without its cloud", || {
        (!health(&data, "0").0).then_some(())
    });
    assert!(health(&data, "any").0, "it still answers");
    agent.terminate();
    assert!(!data.join("status.sock").exists());
}
