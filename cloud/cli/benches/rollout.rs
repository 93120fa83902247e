//! Times of releases: one edited script, a release that is rolled back, and a fleet of virtual devices.
//!
//! `cargo bench -p iottly --bench rollout [-- DEVICES]`. Everything is real: agents, signatures, downloads,
//! trials, fsyncs. With `strace` installed, one more rollout to the fleet counts the fsyncs; its time is not
//! that of a rollout.
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use iottly_e2e::{Api, Process, demo};
use serde_json::{Value, json};

const DEVICES: u64 = 200;
/// Number of rollouts to the fleet that are timed.
const ROUNDS: u32 = 3;
/// Grace period of the fleet's rollouts, in milliseconds.
const FLEET_GRACE_MS: u64 = 1000;
/// Grace period of the single device's rollouts, in milliseconds.
const GRACE_MS: u64 = 500;
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
    println!("| step | measured |\n|---|---|");
    println!(
        "| one 4 KiB write and fsync on the same disk, median | {} |",
        ms(one_fsync(dir.path()))
    );
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
        let (data, devices) = (folder.join("data"), devices.to_string());
        let data = data.to_str().expect("utf-8 path");
        let (process, ready, api) = demo(&["--devices", &devices, "--data", data]);
        let text = |name: &str| ready[name].as_str().expect("text").to_owned();
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
        let (code, _, errors) = self.api.iottly(&self.folder, args);
        assert_eq!(code, Some(0), "{args:?}: {errors}");
    }

    fn push(&self, script: &str) {
        std::fs::write(self.folder.join("porch/main.js"), script).expect("script");
        self.run(&["push", "porch"]);
    }

    /// Starts a rollout and waits for its status; returns the answer of the start, and the time of both.
    fn flash(&self, grace_ms: u64, status: &str) -> (Value, Duration) {
        let began = Instant::now();
        let policy = json!({"canary": 1, "failure_percent": 0, "sample": 1, "grace_ms": grace_ms});
        let path = format!("/project/{}/deploymentgroups/{}", self.api.project, self.group);
        let (code, flashed) = self
            .api
            .post(&format!("{path}/flashfw"), &json!({ "policy": policy }));
        assert_eq!(code, 200, "{flashed}");
        let rollout = flashed["rollout"].as_str().expect("an id").to_owned();
        let mut seen = String::new();
        loop {
            let path = format!("/project/{}/rollouts/{rollout}{seen}", self.api.project);
            let (_, shown) = self.api.get(&path);
            if shown["rollout"]["status"] == status {
                return (flashed, began.elapsed());
            }
            assert!(began.elapsed() < PATIENCE, "waited for {status}: {shown}");
            seen = format!("?seen={}&wait=10s", shown["mark"].as_str().expect("a mark"));
        }
    }

    /// Measures the commands of a developer: from the start of `push` to the end of `group flash --watch`.
    fn edit_to_committed(&self) {
        let (mut times, mut pushes) = (Vec::new(), Vec::new());
        let grace = GRACE_MS.to_string();
        // The first round warms what is compiled or opened once.
        for round in 0..6 {
            let began = Instant::now();
            self.push(&format!(
                "function init() {{ log('{round}'); }} function loop() {{ return 1000; }}"
            ));
            pushes.push(began.elapsed());
            self.run(&["group", "flash", "demo", "--grace-ms", &grace, "--watch"]);
            times.push(began.elapsed());
        }
        let steps = self.steps_of_newest();
        println!(
            "| script pushed and flashed → committed on one device, grace {GRACE_MS} ms, median of {} | {} |",
            times.len() - 1,
            ms(median(times.split_off(1)))
        );
        println!("| of these, `push` | {} |", ms(median(pushes.split_off(1))));
        println!("| the last one's states, as the cloud received them | {steps} |");
    }

    /// Returns the states of the first device of the newest rollout, each with the milliseconds since the
    /// directive was sent.
    fn steps_of_newest(&self) -> String {
        let (_, newest) = self
            .api
            .get(&format!("/project/{}/rollouts?numRollouts=1", self.api.project));
        let id = newest["rollouts"][0]["id"].as_str().expect("an id").to_owned();
        let device = self.devices(&id).swap_remove(0);
        let sent = device["told"]["$date"].as_u64().expect("a time");
        let steps = device["steps"].as_array().expect("steps").iter().map(|step| {
            let at = step["at"]["$date"].as_u64().expect("a time");
            format!("{} {}", step["state"].as_str().unwrap_or_default(), at - sent)
        });
        steps.collect::<Vec<_>>().join(", ")
    }

    fn devices(&self, rollout: &str) -> Vec<Value> {
        let (_, devices) = self.api.get(&format!(
            "/project/{}/rollouts/{rollout}/devices",
            self.api.project
        ));
        devices["devices"].as_array().expect("devices").clone()
    }

    fn roll_back(&self) {
        self.push("function loop() { for (;;) {} }");
        let (flashed, _) = self.flash(2000, "halted");
        let id = flashed["rollout"].as_str().expect("an id");
        let steps = self.devices(id)[0]["steps"].as_array().expect("steps").clone();
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
        let mut times = Vec::new();
        let mut size = Value::Null;
        for round in 0..ROUNDS {
            let (flashed, took) = self.release_to_fleet(&format!("round {round}"), devices);
            times.push(took);
            size = flashed["release"]["size"].clone();
        }
        let (least, most) = (times.iter().min().copied(), times.iter().max().copied());
        println!(
            "| {devices} devices, a script of {size} bytes, grace {FLEET_GRACE_MS} ms: flashfw → all committed, {ROUNDS} rounds | {} to {} |",
            ms(least.unwrap_or_default()),
            ms(most.unwrap_or_default())
        );
        let Some(count) = SyncCount::start(self.process.id(), &self.folder) else {
            println!("| fsyncs of such a rollout | not counted: strace is missing |");
            return;
        };
        self.release_to_fleet("counted", devices);
        let (cloud, device) = count.end();
        println!(
            "| fsyncs of such a rollout: cloud; devices; for each device | {cloud}; {device}; {:.1} |",
            device as f64 / devices as f64
        );
    }

    /// Deploys a script to all devices; each must commit it.
    fn release_to_fleet(&self, text: &str, devices: u64) -> (Value, Duration) {
        self.push(&format!(
            "function init() {{ log('{text}'); }} function loop() {{ return 1000; }}"
        ));
        let (flashed, took) = self.flash(FLEET_GRACE_MS, "deployed");
        let committed = self.devices(flashed["rollout"].as_str().expect("an id"));
        let committed = committed.iter().filter(|device| device["state"] == "committed");
        assert_eq!(committed.count() as u64, devices, "no device is left out");
        (flashed, took)
    }
}

/// Counter of the fsyncs of a process, by its calls.
struct SyncCount {
    strace: std::process::Child,
    calls: PathBuf,
}

impl SyncCount {
    /// Attaches to a process; none without `strace`, or if the system forbids it.
    fn start(process: u32, folder: &Path) -> Option<Self> {
        let calls = folder.join("calls");
        let mut command = Command::new("strace");
        command.args(["-f", "-q", "-y", "-e", "trace=fsync,fdatasync,msync", "-o"]);
        command.arg(&calls).arg("-p").arg(process.to_string());
        let mut strace = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        // Attaching to hundreds of threads takes a while, and nothing reports its end.
        std::thread::sleep(Duration::from_secs(5));
        matches!(strace.try_wait(), Ok(None)).then_some(Self { strace, calls })
    }

    /// Detaches. Returns the number of fsyncs of the cloud and of the devices.
    fn end(mut self) -> (usize, usize) {
        let pid = rustix::process::Pid::from_child(&self.strace);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("signal");
        self.strace.wait().expect("strace ends");
        let text = std::fs::read_to_string(&self.calls).expect("calls");
        // A call that was interrupted by another thread's has a second line without its file.
        let calls = text
            .lines()
            .filter(|line| line.contains("sync(") && line.contains('<'));
        let (device, cloud): (Vec<_>, Vec<_>) = calls.partition(|line| line.contains("/devices/"));
        (cloud.len(), device.len())
    }
}

/// Returns the median time of a small write with its fsync.
fn one_fsync(folder: &Path) -> Duration {
    use std::io::{Seek as _, Write as _};
    let mut file = std::fs::File::create(folder.join("raw")).expect("file");
    let mut times = Vec::new();
    for _ in 0..100 {
        let began = Instant::now();
        file.rewind().expect("file");
        file.write_all(&[7; 4096]).expect("file");
        file.sync_all().expect("file");
        times.push(began.elapsed());
    }
    median(times)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
