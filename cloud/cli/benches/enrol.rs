//! Time to get in: from the pasted string to a connected device, a thousand boards with one key, and the check of
//! a token.
//!
//! `cargo bench -p iottly --bench enrol`; with nothing of the machine's own network and mounts:
//! `unshare --net --mount sh -c 'ip link set lo up; cargo bench -p iottly --bench enrol --offline'`.
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]
#![allow(clippy::unwrap_used, reason = "a benchmark that fails may panic")]

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use iottly_core::model::SecretHash;
use iottly_e2e::{Api, CloudHome, agent_program, free_port};
use iottly_protocol::enroll::{BoardFacts, DeviceSigner, EnrollRequest, SealingSecret};
use iottly_store as store;
use iottly_store::Database;
use serde_json::{Value, json};

/// Boards that enrol with one key.
const BOARDS: u64 = 1000;
/// Boards that enrol at the same time.
const AT_ONCE: u64 = 8;
/// Boards that are enrolled one after the other, from the paste to the tick.
const PASTES: usize = 5;
/// Checks of a token.
const CHECKS: u32 = 20_000;
const SCRIPT: &str = "function loop() { return 1000; }";

fn main() {
    // `cargo test --benches` starts benchmarks with `--test`: it must not measure then.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let load = std::fs::read_to_string("/proc/loadavg").unwrap();
    println!("load average at the start: {load}");
    println!("| what | result |\n|---|---|");
    let home = CloudHome::new();
    let listen = format!("127.0.0.1:{}", free_port());
    let cloud = home.start_with(&["--listen", &listen, "--rate-limit", "0"]);
    let api = home.device("bench", "unused", SCRIPT).api;
    pastes(&home, &api);
    thousand(&api);
    cloud.terminate();
    token_check(&home, &api);
}

/// Enrols boards one after the other, each until the cloud shows it as connected.
fn pastes(home: &CloudHome, api: &Api) {
    let mut times: Vec<f64> = (0..PASTES)
        .map(|n| {
            let (code, out, errors) = api.iottly(home.dir.path(), &["device", "enroll", "--output", "json"]);
            assert_eq!(code, Some(0), "{errors}");
            let made: Value = serde_json::from_str(&out).unwrap();
            let folder = home.dir.path().join(format!("board-{n}"));
            let began = Instant::now();
            let done = Command::new(agent_program())
                .args(["enroll", made["url"].as_str().unwrap(), "--data"])
                .arg(&folder)
                .output()
                .unwrap();
            assert!(done.status.success(), "{done:?}");
            let mut agent = Command::new(agent_program())
                .args(["run", "--data"])
                .arg(&folder)
                .env("IOTTLY_LOG", "error")
                .spawn()
                .unwrap();
            let id = made["device_id"].as_str().unwrap();
            let path = format!("/project/{}/device/{id}/props", api.project);
            while api.get(&path).1["operatingstatus"] != "connected" {
                std::thread::sleep(Duration::from_millis(5));
            }
            let took = began.elapsed().as_secs_f64();
            agent.kill().unwrap();
            agent.wait().unwrap();
            took
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!(
        "| paste to tick: median; slowest of {PASTES} | {:.2} s; {:.2} s |",
        times[PASTES / 2],
        times[PASTES - 1]
    );
}

/// Enrols boards with one enrolment key.
fn thousand(api: &Api) {
    let (status, key) = api.post(
        &format!("/project/{}/enrolmentkeys", api.project),
        &json!({"name": "line", "max_uses": BOARDS}),
    );
    assert_eq!(status, 200, "{key}");
    let code = key["enrolment_key"].as_str().unwrap();
    let (next, began) = (AtomicU64::new(0), Instant::now());
    std::thread::scope(|threads| {
        for _ in 0..AT_ONCE {
            threads.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= BOARDS {
                        break;
                    }
                    let mut secret = [7; 32];
                    secret[..8].copy_from_slice(&n.to_be_bytes());
                    let request = EnrollRequest::signed(
                        Some(code.parse().unwrap()),
                        &DeviceSigner::from_secret(&secret),
                        &SealingSecret::from_secret(secret),
                        BoardFacts::default(),
                        None,
                    );
                    let (status, answer) = api.post("/enroll", &serde_json::to_value(request).unwrap());
                    assert_eq!(status, 200, "{answer}");
                }
            });
        }
    });
    println!(
        "| {BOARDS} enrolments, {AT_ONCE} at a time | {:.1} s |",
        began.elapsed().as_secs_f64()
    );
}

/// Checks a token in this process, as each request does.
fn token_check(home: &CloudHome, api: &Api) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (store, _) = store::open(&Database::File(home.database())).await.unwrap();
        let began = Instant::now();
        for _ in 0..CHECKS {
            let hash = SecretHash::of(api.token.as_bytes());
            assert!(store.token(hash).await.unwrap().is_some());
        }
        let each = began.elapsed().as_secs_f64() * 1e6 / f64::from(CHECKS);
        println!("| check of a token, in process | {each:.1} µs |");
        store.close().await;
    });
}
