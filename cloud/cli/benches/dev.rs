//! Times of `iottly dev`: from a save to the first message of the new code, and the pause between the last call
//! of the old code and the first of the new.
//!
//! `cargo bench --workspace --bench dev [-- SAVES]`. Everything is real: build, check, signature, broker, an agent
//! with its fsyncs, and the live feed.
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::time::{Duration, Instant};

use iottly_e2e::{Dev, demo, firmware_folder, save};
use serde_json::{Value, json};

const SAVES: usize = 60;

fn main() {
    // `cargo test --benches` starts benchmarks with `--test`: it must not measure then.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let saves = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .next()
        .unwrap_or(SAVES);
    let dir = tempfile::Builder::new()
        .prefix("iottly-bench-")
        .tempdir_in(".")
        .expect("folder");
    let data = dir.path().join("data");
    let (process, ready, api) = demo(&["--devices", "1", "--data", data.to_str().expect("utf-8 path")]);
    let folder = firmware_folder(dir.path(), "lamp", &script(0));
    let mut dev = Dev::start(&api, &folder, &[]);
    let is_of = |line: &Value, name: &str, n: usize| {
        line["event"] == "message" && line["payload"] == json!({ name: n })
    };
    dev.wait("the first code", |line| is_of(line, "new", 0));
    let (mut to_message, mut to_running) = (Vec::new(), Vec::new());
    for n in 1..=saves {
        // Saves of people are not in step with anything.
        std::thread::sleep(Duration::from_millis(200 + (n as u64 * 37) % 150));
        let from = dev.count();
        let began = Instant::now();
        save(&folder, &script(n));
        dev.wait_from(from, "the new code", |line| is_of(line, "new", n));
        to_message.push(began.elapsed());
        let running = dev.wait_from(from, "its report", |line| line["event"] == "running");
        to_running.push(Duration::from_millis(running["ms"].as_u64().expect("ms")));
    }
    dev.interrupt();
    let device = ready["devices"][0].as_str().expect("device").to_owned();
    let gaps = gaps(&api.history(&device));
    process.terminate();
    println!("| {saves} saves | p50 | p99 | most |\n|---|---|---|---|");
    print("save to the first message of the new code", to_message);
    print("save seen to its report (`ms` of `running`)", to_running);
    print("pause between the codes, by the device's clock", gaps);
}

/// Returns the code of a save: the old one reports its last call, the new one its first.
fn script(n: usize) -> String {
    format!(
        "function init() {{ send_msg({{ new: {n} }}); }}\nfunction loop() {{ return 50; }}\nfunction shutdown() {{ send_msg({{ old: {n} }}); }}\n"
    )
}

/// Returns the times between the last message of each code and the first of the next.
fn gaps(history: &[Value]) -> Vec<Duration> {
    let date = |name: &str, n: u64| {
        let found = history.iter().find(|message| message["payload"][name] == n)?;
        found["devicetimestamp"]["$date"].as_u64()
    };
    (1..)
        .map_while(|n| Some((date("old", n - 1)?, date("new", n)?)))
        .map(|(old, new)| Duration::from_millis(new.saturating_sub(old)))
        .collect()
}

fn print(step: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| {
        let index = (times.len() * percent).div_ceil(100).max(1) - 1;
        times.get(index).map_or(0, Duration::as_millis)
    };
    println!("| {step} | {} ms | {} ms | {} ms |", at(50), at(99), at(100));
}
