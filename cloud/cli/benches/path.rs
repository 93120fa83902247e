//! Times of the whole path: the start of the demo, and a command until its reply is in the history.
//!
//! `cargo bench -p iottly --bench path`. Everything is a real process on a real disk; the fsync of that disk
//! is measured in the same run, because the path contains four of them.
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use iottly_e2e::{Api, Process, free_port, program, wait_for};
use serde_json::{Value, json};

/// Number of fsyncs between the POST and the reply in the history: ARCHITECTURE.md, "Data path 2".
const FSYNCS: u32 = 4;
const ROUNDS: usize = 300;

fn main() {
    // `cargo test --benches` starts benchmarks with `--test`: it must not measure then.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let dir = tempfile::Builder::new()
        .prefix("iottly-bench-")
        .tempdir_in(".")
        .expect("folder");
    println!("| step | time |\n|---|---|");
    starts(dir.path());
    let fsync = percentile(&mut fsyncs(dir.path()), 50);
    println!(
        "| one 4 KiB write and fsync on the data's disk, p50 | {} |",
        ms(fsync)
    );
    round_trips(dir.path(), fsync);
}

/// Starts the demo twice on one folder: first with nothing built or compiled, then with both there.
fn starts(dir: &Path) {
    let data = dir.join("demo");
    for what in ["first ever", "again"] {
        let began = Instant::now();
        let (process, api, device) = demo(&data, began, what);
        api.wait_for_message(&device, "a message of this run", |message| {
            message["payload"].get("temperature").is_some()
                && message["timestamp"]["$date"].as_u64() >= Some(unix_ms(began))
        });
        println!(
            "| start, {what}: first stored message | {} |",
            ms(began.elapsed())
        );
        println!("| stop | {} |", ms(process.terminate()));
    }
}

#[expect(clippy::disallowed_methods, reason = "reads the wall clock for the bench")]
fn unix_ms(began: Instant) -> u64 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970");
    u64::try_from((now - began.elapsed()).as_millis()).expect("milliseconds fit")
}

fn demo(data: &Path, began: Instant, what: &str) -> (Process, Api, String) {
    let port = free_port();
    let mut command = Command::new(program());
    let http = format!("127.0.0.1:{port}");
    command
        .args(["demo", "--json", "--http", &http, "--data"])
        .arg(data)
        .stdout(Stdio::piped());
    let url = format!("http://{http}");
    let answering = std::thread::spawn({
        let url = url.clone();
        move || {
            let api = Api::new(&url, "", "");
            wait_for("rest", || api.try_get("/ping"));
            began.elapsed()
        }
    });
    let (process, ready) = Process::start_until_ready("the demo", &mut command);
    println!(
        "| start, {what}: REST answers | {} |",
        ms(answering.join().expect("poller"))
    );
    println!(
        "| start, {what}: every device online, firmware running | {} |",
        ms(began.elapsed())
    );
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    (
        process,
        Api::new(&url, &text(&ready["token"]), &text(&ready["project_id"])),
        text(&ready["devices"][0]),
    )
}

fn round_trips(dir: &Path, fsync: Duration) {
    let (process, api, device) = demo(&dir.join("demo"), Instant::now(), "third");
    let mut times = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        let content = format!("round {round}");
        let began = Instant::now();
        let (status, answer) = api.command(
            &device,
            &json!({"cmd_type": "echo", "values": {"echo.content": content}}),
        );
        assert_eq!(status, 200, "{answer}");
        let reply = json!({"ECHO": {"echo": {"content": content}}});
        loop {
            let (_, page) = api.get(&format!(
                "/project/{}/messages/{device}?numMessages=3",
                api.project
            ));
            if page["messages"]
                .as_array()
                .expect("messages")
                .iter()
                .any(|message| message["payload"] == reply)
            {
                break;
            }
        }
        times.push(began.elapsed());
    }
    let (p50, p99) = (percentile(&mut times, 50), percentile(&mut times, 99));
    println!("| command: POST → reply in the history, p50 | {} |", ms(p50));
    println!("| command: POST → reply in the history, p99 | {} |", ms(p99));
    println!(
        "| p50 beyond the {FSYNCS} fsyncs on the path | {} |",
        ms(p50.saturating_sub(fsync * FSYNCS))
    );
    process.terminate();
}

fn fsyncs(dir: &Path) -> Vec<Duration> {
    let mut file = File::create(dir.join("fsync")).expect("file");
    (0..200)
        .map(|_| {
            let began = Instant::now();
            file.write_all(&[7; 4096]).expect("write");
            file.sync_data().expect("fsync");
            began.elapsed()
        })
        .collect()
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
