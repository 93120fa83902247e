//! Releases signed by the commands into a repository in a folder, and installed by a real agent.

use std::path::Path;

use iottly_e2e::{CloudHome, DeviceHome, beside_others, build, iottly, wait_for};
use serde_json::Value;

const GOOD: &str = "function init() { send_msg({ runs: 'RELEASE' }); } function loop() { return 200; }";
const SPINS: &str = "function init() { send_msg({ runs: 'spins' }); } function loop() { for (;;) {} }";

struct Bench {
    cloud: CloudHome,
    device: DeviceHome,
}

fn text(path: &Path) -> String {
    path.to_str().expect("utf-8 path").to_owned()
}

impl Bench {
    /// Creates a device that runs its factory firmware and polls a repository without releases.
    fn new() -> Self {
        let cloud = CloudHome::new();
        let device = cloud.device("acme", "pump", &GOOD.replace("RELEASE", "factory"));
        let bench = Self { cloud, device };
        bench.run(&["release", "init"], &[]);
        let project = &bench.device.api.project;
        let config = format!(
            "\n[updates]\nrepository = {:?}\nroot = {:?}\nproject = \"{project}\"\npoll_seconds = 1\n",
            bench.repository(),
            bench.cloud.dir.path().join("repository/metadata/1.root.json"),
        );
        let path = bench.device.path.join("agent.toml");
        let text = std::fs::read_to_string(&path).expect("configuration");
        std::fs::write(&path, text + &config).expect("configuration");
        bench
    }

    fn repository(&self) -> String {
        text(&self.cloud.dir.path().join("repository"))
    }

    /// Runs a command of the signer; returns what it prints.
    fn run(&self, words: &[&str], more: &[&str]) -> Value {
        let (repository, keys) = (self.repository(), text(&self.cloud.dir.path().join("keys")));
        let seal = text(&self.cloud.dir.path().join("seal"));
        let mut args = words.to_vec();
        args.extend(["--repository", &repository, "--keys", &keys, "--seal", &seal]);
        args.extend(more);
        let (code, stdout, stderr) = iottly(&args, "");
        assert_eq!(code, Some(0), "{args:?}: {stderr}");
        serde_json::from_str(&stdout).unwrap_or(Value::Null)
    }

    /// Signs a script as the next release and directs the device to it; returns its sha256.
    fn release(&self, script: &str, more: &[&str]) -> String {
        let file = self.cloud.dir.path().join("new.wasm");
        std::fs::write(&file, build(script)).expect("component");
        let added = self.run(&["release", "add", &text(&file)], &["--grace-ms", "1000"]);
        let target = added["path"].as_str().expect("path").to_owned();
        let mut flags = vec!["--project", &self.device.api.project, "--device", &self.device.id];
        flags.extend(more);
        self.run(&["release", "direct", &target], &flags);
        added["sha256"].as_str().expect("sha256").to_owned()
    }

    /// Waits until the device has reported `state` so often; returns the update messages, oldest first.
    fn told(&self, state: &str, times: usize) -> Vec<Value> {
        wait_for(&format!("{times} x {state}"), || {
            let history = self.device.history();
            let updates: Vec<Value> = history
                .iter()
                .filter_map(|message| message["payload"].get("update").cloned())
                .collect();
            (updates.iter().filter(|update| update["state"] == state).count() >= times).then_some(updates)
        })
    }

    /// Returns the descriptions of the warnings about a trial in the device's history.
    fn warnings(&self, warning: &str) -> Vec<String> {
        let history = self.device.history();
        let about = history.iter().map(|message| &message["payload"]["process"]);
        let about =
            about.filter(|process| process["function"] == "trial" && process["status"]["warning"] == warning);
        about
            .map(|process| process["description"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    fn says(&self, what: &str, times: usize) {
        wait_for(&format!("{times} x {what}"), || {
            let history = self.device.history();
            (history
                .iter()
                .filter(|message| message["payload"]["runs"] == what)
                .count()
                >= times)
                .then_some(())
        });
    }
}

#[test]
fn a_release_is_committed_a_bad_one_goes_back_and_a_forged_one_is_refused() {
    let _turn = beside_others();
    let bench = Bench::new();
    let _cloud = bench.cloud.start();
    let agent = bench.device.start();
    bench.says("factory", 1);

    let first = bench.release(&GOOD.replace("RELEASE", "first"), &[]);
    let updates = bench.told("committed", 1);
    bench.says("first", 1);
    assert_eq!(updates.len(), 1, "the history holds how it ended: {updates:?}");

    // The release traps within its trial.
    bench.release(SPINS, &[]);
    let updates = bench.told("rolled_back", 1);
    let end = updates
        .iter()
        .find(|update| update["state"] == "rolled_back")
        .expect("told");
    assert_eq!(end["reason"], "crash_loop", "{end}");
    bench.says("first", 2);

    // After a restart the committed release runs, not the factory's.
    agent.terminate();
    let _agent = bench.device.start();
    bench.says("first", 3);

    let third = bench.release(&GOOD.replace("RELEASE", "third"), &["--deadline", "60"]);
    assert_ne!(first, third);
    bench.told("committed", 2);
    bench.says("third", 1);
}

#[test]
fn a_release_that_does_not_work_is_taken_back_although_it_never_crashes() {
    let _turn = beside_others();
    let bench = Bench::new();
    let _cloud = bench.cloud.start();
    let _agent = bench.device.start();
    bench.says("factory", 1);
    let broken = [
        "function loop() { const t = readTemperature(); send_msg({ t }); }",
        "function init() { setInterval(() => missing(), 200); }",
        "function loop() { throw new Fault('io', 'no sensor'); } function health() {}",
    ];
    for (times, script) in (1..).zip(broken) {
        bench.release(script, &[]);
        let updates = bench.told("rolled_back", times);
        assert!(
            updates
                .iter()
                .all(|update| update["state"] == "rolled_back" && update["reason"] == "unhealthy"),
            "{updates:?}"
        );
        bench.says("factory", 1 + times);
    }
    let warnings = bench.warnings("not working");
    assert!(
        warnings
            .iter()
            .any(|text| text.contains("readTemperature is not defined")),
        "{warnings:?}"
    );

    // Firmware that fails at first and then works is kept, and so is one that sends nothing more, with a
    // warning.
    bench.release(
        "let n = 0; function loop() { if (n++ < 3) missing(); send_msg({ runs: 'late' }); return 100; }",
        &[],
    );
    bench.told("committed", 1);
    bench.says("late", 20);
    bench.release("function loop() { return 200; }", &[]);
    bench.told("committed", 2);
    wait_for("the warning", || {
        (!bench.warnings("sends no messages").is_empty()).then_some(())
    });
}

#[test]
fn a_changed_byte_anywhere_is_refused_by_name() {
    let _turn = beside_others();
    let bench = Bench::new();
    bench.release(&GOOD.replace("RELEASE", "first"), &[]);
    let targets = bench.cloud.dir.path().join("repository/targets/app/main");
    let file = std::fs::read_dir(targets)
        .expect("folder")
        .flatten()
        .next()
        .expect("a target")
        .path();
    let mut bytes = std::fs::read(&file).expect("component");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).expect("component");
    let _cloud = bench.cloud.start();
    let _agent = bench.device.start();
    let updates = bench.told("failed", 1);
    let end = updates
        .iter()
        .find(|update| update["state"] == "failed")
        .expect("told");
    assert_eq!(end["reason"], "chunk_corrupt", "{end}");

    // The next directive is changed after it was signed.
    let path = bench
        .cloud
        .dir
        .path()
        .join("repository/directives")
        .join(format!("{}.json", bench.device.id));
    let text = std::fs::read_to_string(&path).expect("directive");
    let mut document: Value = serde_json::from_str(&text).expect("json");
    let counter = document["signed"]["counter"].as_u64().expect("counter");
    document["signed"]["counter"] = (counter + 1).into();
    std::fs::write(&path, document.to_string()).expect("directive");
    let updates = bench.told("rejected", 1);
    let end = updates
        .iter()
        .find(|update| update["state"] == "rejected")
        .expect("told");
    assert_eq!(end["reason"], "bad_signature", "{end}");
    bench.says("factory", 1);
}

#[test]
fn an_engine_is_signed_beside_a_release_that_needs_it() {
    let _turn = beside_others();
    let bench = Bench::new();
    let file = bench.cloud.dir.path().join("new.wasm");
    std::fs::write(&file, build(GOOD)).expect("component");
    bench.run(&["release", "add", &text(&file)], &["--engine"]);
    let (repository, keys) = (bench.repository(), text(&bench.cloud.dir.path().join("keys")));
    let (_, shown, _) = iottly(&["release", "show", "--repository", &repository], "");
    let shown: Value = serde_json::from_str(&shown).expect("json");
    let engine = &shown["manifest"]["engine"];
    let (digest, path) = (
        engine["target"]["sha256"].as_str().expect("a digest"),
        engine["target"]["path"].as_str().expect("a path"),
    );
    let (folder, name) = path.rsplit_once('/').expect("a folder");
    let served = Path::new(&repository)
        .join("targets")
        .join(folder)
        .join(format!("{digest}.{name}"));
    let size = std::fs::metadata(served).expect("the engine").len();
    assert_eq!(engine["target"]["size"], size);

    // Code of its own needs no engine, and a release that cannot use it is not made.
    std::fs::write(&file, b"\0asm\x0d\0\x01\0").expect("component");
    let file = text(&file);
    let seal = text(&bench.cloud.dir.path().join("seal"));
    let add = ["release", "add", &file, "--engine", "--repository", &repository];
    let (code, _, errors) = iottly(&[&add[..], &["--keys", &keys, "--seal", &seal]].concat(), "");
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("needs no script engine"), "{errors}");
    let (_, all, _) = iottly(&["release", "show", "--repository", &repository], "");
    assert_eq!(all.lines().count(), 1, "{all}");
}
