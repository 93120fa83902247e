//! Times of releases: a fleet of virtual devices, one edited script, and a release that is rolled back.
//!
//! `cargo bench -p iottly --bench rollout [-- DEVICES]`. Everything is real: agents, signatures, downloads,
//! compiled firmware, fsyncs.
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use iottly_e2e::{Api, Process, program};
use serde_json::{Value, json};

const DEVICES: u64 = 200;
/// Size to which the release is padded, in bytes.
const SIZE: usize = 1 << 20;
/// Longest wait for a rollout.
const PATIENCE: Duration = Duration::from_secs(300);

fn main() {
    // `cargo test --benches` starts benchmarks with `--test`: it must not measure then.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let devices = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .next()
        .unwrap_or(DEVICES);
    let dir = tempfile::Builder::new()
        .prefix("iottly-bench-")
        .tempdir_in(".")
        .expect("folder");
    println!("| step | time |\n|---|---|");
    let desk = Desk::start(dir.path(), "one", 1);
    desk.edit_to_committed();
    desk.roll_back();
    desk.process.terminate();
    let desk = Desk::start(dir.path(), "fleet", devices);
    desk.fleet(devices);
    desk.process.terminate();
}

struct Desk {
    process: Process,
    api: Api,
    group: String,
    folder: std::path::PathBuf,
}

impl Desk {
    fn start(dir: &Path, name: &str, devices: u64) -> Self {
        let folder = dir.join(name);
        std::fs::create_dir_all(&folder).expect("folder");
        let mut command = Command::new(program());
        command
            .args([
                "demo",
                "--json",
                "--http",
                "127.0.0.1:0",
                "--devices",
                &devices.to_string(),
                "--data",
            ])
            .arg(folder.join("data"));
        let (process, ready) = Process::start_until_ready("the demo", &mut command);
        let text = |name: &str| ready[name].as_str().expect("text").to_owned();
        let api = Api::new(&text("http"), &text("token"), &text("project_id"));
        let desk = Self {
            process,
            api,
            group: text("group_id"),
            folder,
        };
        desk.run(&["init", "porch", "--lang", "js"]);
        desk
    }

    fn run(&self, args: &[&str]) {
        let mut command = Command::new(program());
        command.args(args).current_dir(&self.folder);
        command
            .env("IOTTLY_URL", &self.api.url)
            .env("IOTTLY_TOKEN", &self.api.token)
            .env("IOTTLY_PROJECT", &self.api.project);
        let output = command.output().expect("the command starts");
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn push(&self, script: &str) {
        std::fs::write(self.folder.join("porch/main.js"), script).expect("script");
        self.run(&["push", "porch"]);
    }

    /// Starts a rollout and waits for a status of the group; returns the answer of the start, and both times.
    fn flash(&self, grace_ms: u64, status: &str) -> (Value, Duration) {
        let began = Instant::now();
        let policy = json!({"canary": 1, "failure_percent": 0, "sample": 1, "grace_ms": grace_ms});
        let path = format!("/project/{}/deploymentgroups/{}", self.api.project, self.group);
        let (code, flashed) = self
            .api
            .post(&format!("{path}/flashfw"), &json!({ "policy": policy }));
        assert_eq!(code, 200, "{flashed}");
        loop {
            let (_, shown) = self.api.get(&path);
            if shown["deployment_group"]["status"] == status {
                return (flashed, began.elapsed());
            }
            assert!(began.elapsed() < PATIENCE, "waited for {status}: {shown}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn edit_to_committed(&self) {
        self.push("function init() { log('first'); } function loop() { return 1000; }");
        self.flash(500, "deployed");
        let mut times = Vec::new();
        for round in 0..5 {
            let began = Instant::now();
            self.push(&format!(
                "function init() {{ log('{round}'); }} function loop() {{ return 1000; }}"
            ));
            self.flash(500, "deployed");
            times.push(began.elapsed());
        }
        times.sort_unstable();
        println!(
            "| script edited → committed on one device, grace 0.5 s, median of {} | {} |",
            times.len(),
            ms(times[times.len() / 2])
        );
    }

    fn roll_back(&self) {
        self.push("function loop() { for (;;) {} }");
        let (flashed, _) = self.flash(2000, "halted");
        let id = flashed["rollout"].as_str().expect("an id");
        let (_, devices) = self
            .api
            .get(&format!("/project/{}/rollouts/{id}/devices", self.api.project));
        let steps = devices["devices"][0]["steps"].as_array().expect("steps").clone();
        let at = |state: &str| {
            let step = steps
                .iter()
                .find(|step| step["state"] == state)
                .unwrap_or_else(|| panic!("no {state}: {steps:?}"));
            step["at"]["$date"].as_u64().expect("a time")
        };
        let took = Duration::from_millis(at("rolled_back") - at("rolling_back"));
        println!(
            "| failing verdict → old firmware back, as the cloud hears of both | {} |",
            ms(took)
        );
    }

    fn fleet(&self, devices: u64) {
        self.push("function init() { log('plain'); } function loop() { return 1000; }");
        let plain = std::fs::metadata(self.folder.join("porch/target/porch.wasm"))
            .expect("component")
            .len();
        let plain = usize::try_from(plain).expect("it fits");
        let padding = "x".repeat(SIZE.saturating_sub(plain));
        self.push(&format!(
            "const padding = '{padding}';\nfunction init() {{ log(padding.length); }} function loop() {{ return 1000; }}"
        ));
        let (flashed, took) = self.flash(1000, "deployed");
        let size = &flashed["release"]["size"];
        println!(
            "| {devices} devices, a release of {size} bytes, grace 1 s: flashfw → all committed | {} |",
            ms(took)
        );
    }
}

fn ms(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1000.0)
}
