//! Two boards with one disk: a copied data folder, with real agents.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use iottly_e2e::{DeviceHome, Process, beside_others, build, every_seq_exactly_once, wait_for};
use serde_json::Value;

use crate::enrolment::{Site, enroll, site};

/// Firmware that sends the number of its start and a counter.
const COUNTER: &str = r"
let n = 0;
const start = Math.floor(Math.random() * 1e9);
function loop() {
  send_msg({ start: start, n: n++ });
  return 200;
}
";

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp")
        .arg("-a")
        .arg(from)
        .arg(to)
        .status()
        .expect("cp starts");
    assert!(done.success());
}

fn board(site: &Site, id: &str, name: &str) -> DeviceHome {
    DeviceHome {
        id: id.to_owned(),
        path: site.board(name),
        api: site.api.clone(),
    }
}

fn copies(site: &Site) -> Vec<Value> {
    let listed = site.operator(&["device", "copies"]);
    listed["copies"].as_array().expect("copies").clone()
}

/// Returns the messages of the firmware.
fn sent(history: Vec<Value>) -> Vec<Value> {
    let sent = history.into_iter();
    sent.filter(|message| message["payload"]["start"].is_u64())
        .collect()
}

/// Checks that the messages of every start of a firmware are there once, in whichever history.
fn every_number_once(histories: [&[Value]; 2]) {
    let mut numbers: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for message in histories.into_iter().flatten() {
        let number = |key: &str| message["payload"][key].as_u64().expect("a number");
        numbers.entry(number("start")).or_default().push(number("n"));
    }
    for (start, mut seen) in numbers {
        seen.sort_unstable();
        let wanted: Vec<u64> = (0..seen.len() as u64).collect();
        assert_eq!(seen, wanted, "start {start}");
    }
}

fn starts(history: &[Value]) -> BTreeSet<u64> {
    let start = |message: &Value| message["payload"]["start"].as_u64();
    history.iter().filter_map(start).collect()
}

#[test]
fn two_boards_with_one_disk_wait_until_one_is_kept() {
    let _turn = beside_others();
    let site = site();
    let made = site.operator(&["device", "enroll", "--name", "porch"]);
    let id = made["device_id"].as_str().expect("an id");
    let path = site.board("one");
    assert!(
        enroll(made["url"].as_str().expect("a url"), &path)
            .status
            .success()
    );
    std::fs::write(path.join("firmware.wasm"), build(COUNTER)).expect("firmware");
    std::fs::write(path.join("agent.toml"), "firmware = \"firmware.wasm\"\n").expect("settings");
    copy(&path, &site.board("two"));
    let (one, two) = (board(&site, id, "one"), board(&site, id, "two"));
    let agents: [Process; 2] = [one.start(), two.start()];
    let held = wait_for("both boards to be held", || {
        let copies = copies(&site);
        let both = copies.len() == 2 && copies.iter().all(|copy| copy["connected"] == true);
        both.then_some(copies)
    });
    let names: Vec<_> = held.iter().filter_map(|copy| copy["name"].as_str()).collect();
    assert_eq!(names, ["porch", "porch (copy 2)"]);
    assert!(held.iter().all(|copy| copy["address"] == "127.0.0.1"), "{held:?}");

    // Nothing is stored before a decision. What was on its way at the beginning has arrived by now.
    std::thread::sleep(std::time::Duration::from_secs(2));
    let before = sent(one.history()).len();
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(
        sent(one.history()).len(),
        before,
        "nothing of either board is stored"
    );
    assert_eq!(copies(&site).len(), 2);

    site.operator(&["device", "keep", id, "2"]);
    let message = wait_for("the kept board to send again", || {
        let history = sent(one.history());
        (history.len() > before + 20)
            .then(|| history.last().cloned())
            .flatten()
    });
    assert!(message.is_object());
    let (kept, left) = wait_for("the other board to stop", || {
        [("one", "two"), ("two", "one")]
            .into_iter()
            .find(|(_, left)| site.board(left).join("copy").exists())
    });
    assert!(!site.board(kept).join("copy").exists() && copies(&site).is_empty());
    for agent in agents {
        agent.terminate();
    }
    every_seq_exactly_once(&one.history());

    // The copy stays offline, also after a restart, until it is enrolled for itself; its queue comes along.
    let of_device = starts(&one.history());
    let made = site.operator(&["device", "enroll", "--name", "hall"]);
    let own = made["device_id"].as_str().expect("an id");
    let output = enroll(made["url"].as_str().expect("a url"), &site.board(left));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let hall = board(&site, own, left);
    let agent = hall.start();
    wait_for("the messages that waited on the copy", || {
        let history = sent(hall.history());
        let waited = starts(&history).len() > 1 && history.len() > 20;
        waited.then_some(())
    });
    agent.terminate();
    assert_eq!(
        starts(&one.history()),
        of_device,
        "nothing of the copy is mixed in"
    );
    every_seq_exactly_once(&hall.history());
    every_number_once([&sent(one.history()), &sent(hall.history())]);
    site.cloud.terminate();
}
