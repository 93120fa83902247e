//! Mails about alerts over the death of the cloud's process, against a real mail server.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use iottly_e2e::{demo, wait_for};
use serde_json::{Value, json};

/// Interpreter of Debian, which finds the packages of Debian.
const PYTHON: &str = "/usr/bin/python3";
const DEVICES: usize = 2;

struct MailServer(Child);

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a mail server; returns its port too.
fn mail_server(folder: &Path) -> (MailServer, u16) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../web/tests/data/smtp_server.py");
    let mut child = Command::new(PYTHON)
        .arg(script)
        .arg(folder)
        .args(["plain", "0"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the mail server starts");
    let mut line = String::new();
    let out = child.stdout.take().expect("piped");
    BufReader::new(out).read_line(&mut line).expect("its port");
    (MailServer(child), line.trim().parse().expect("a port"))
}

/// Returns the mails that the server has taken: how often each id, and their recipients.
fn taken(folder: &Path) -> BTreeMap<String, usize> {
    let text = std::fs::read_to_string(folder.join("taken")).unwrap_or_default();
    let mut ids = BTreeMap::new();
    for line in text.lines() {
        let mail: Value = serde_json::from_str(line).expect("JSON");
        let data = mail["data"].as_str().expect("text");
        let id = data.lines().find_map(|line| line.strip_prefix("Message-ID: "));
        *ids.entry(id.expect("an id").trim().to_owned()).or_default() += 1;
    }
    ids
}

#[test]
fn a_killed_cloud_raises_once_and_sends_its_mails_with_the_same_ids() {
    let found = Command::new(PYTHON)
        .args(["-c", "import aiosmtpd"])
        .output()
        .is_ok_and(|output| output.status.success());
    assert!(
        found || std::env::var("CI").as_deref() != Ok("true"),
        "python3-aiosmtpd is missing"
    );
    if !found {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (_server, port) = mail_server(folder.path());
    let data = folder.path().join("data");
    let (url, devices) = (format!("smtp+plain://localhost:{port}"), DEVICES.to_string());
    let args = [
        "--data",
        data.to_str().expect("a path"),
        "--devices",
        &devices,
        "--smtp-url",
        &url,
        "--smtp-from",
        "iot@example.org",
    ];
    // The server takes mails and does not answer, so the cloud dies without knowing it.
    std::fs::write(folder.path().join("hang"), "").expect("written");
    let (cloud, ready, api) = demo(&args);
    let project = ready["project_id"].as_str().expect("an id");
    let alerts = format!("/project/{project}/alerts");
    let rule = json!({"name": "warm", "condition": "value", "filter": "temperature>1", "clear": "temperature<0",
        "mails": ["anne@example.org"]});
    let (status, made) = api.post(&format!("{alerts}/rules"), &rule);
    assert_eq!(status, 200, "{made}");
    wait_for("all mails", || {
        (taken(folder.path()).len() == DEVICES).then_some(())
    });
    let first: BTreeSet<_> = taken(folder.path()).into_keys().collect();
    cloud.kill();
    std::fs::remove_file(folder.path().join("hang")).expect("removed");
    let (cloud, _, api) = demo(&args);
    let mails = wait_for("the records", || {
        let (_, answer) = api.get(&format!("{alerts}/mails"));
        let mails = answer["mails"].as_array().expect("mails").clone();
        mails.iter().all(|mail| mail["state"] == "sent").then_some(mails)
    });
    assert_eq!(mails.len(), DEVICES, "{mails:?}");
    let again = taken(folder.path());
    assert_eq!(
        again.keys().cloned().collect::<BTreeSet<_>>(),
        first,
        "the same ids"
    );
    assert!(again.values().all(|times| *times == 2), "{again:?}");
    let (_, alerts) = api.get(&format!("{alerts}?state=all"));
    assert_eq!(
        alerts["alerts"].as_array().map(Vec::len),
        Some(DEVICES),
        "each is raised once: {alerts}"
    );
    cloud.terminate();
}
