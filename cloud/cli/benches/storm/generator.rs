//! The process of the devices. Told by its standard input, it prints lines: `arrived`, after `storm` one line `back …`, after
//! `send` one line `committed`, and `command ID MICROSECONDS` whenever a steady device gets a command.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use iottly_protocol::{DeviceId, Down};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::{Barrier, watch};

use crate::device::{Device, Server};

/// Interval between the first connections, in milliseconds, so that they do not measure the storm.
const SPREAD_MS: u64 = 4;
/// Interval between the pings of a steady device: shorter than its keep-alive of five minutes.
const STEADY: Duration = Duration::from_secs(600);

/// Arguments of the process.
pub(crate) struct Task<'t> {
    pub(crate) server: Server,
    pub(crate) port: u16,
    /// File of the authority.
    pub(crate) authority: &'t Path,
    /// File with an id in each line; the first are the steady devices, which no storm cuts.
    pub(crate) ids: &'t Path,
    /// Number of steady devices.
    pub(crate) steady: usize,
}

/// Stages that the parent asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Arrive,
    Storm,
    Send,
}

/// Runs until the parent closes the standard input.
pub(crate) fn run(task: &Task<'_>) {
    let mut core = CpuSet::new();
    core.set(1);
    sched_setaffinity(None, &core).expect("there is a second core");
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(task.authority).expect("a certificate"))
        .expect("an authority");
    let text = std::fs::read_to_string(task.ids).expect("the ids");
    let ids: Vec<DeviceId> = text.lines().map(|line| line.parse().expect("an id")).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(devices(task, &ids, Arc::new(roots)));
}

async fn devices(task: &Task<'_>, ids: &[DeviceId], roots: Arc<RootCertStore>) {
    let (steady, ids) = ids.split_at(task.steady);
    for (n, id) in steady.iter().enumerate() {
        let mut device = Device::new(*id, task.server, n as u64 + 1, task.port, Arc::clone(&roots));
        let mut stream = device.back().await;
        tokio::spawn(async move {
            loop {
                let command = device.until(&mut stream, |down| match down {
                    Down::Command(command) => Some(command.id),
                    _ => None,
                });
                match tokio::time::timeout(STEADY, command).await {
                    Ok(Ok(id)) => println!("command {id} {}", micros()),
                    other => panic!("a steady device lost its connection: {other:?}"),
                }
            }
        });
    }
    let (stages, stage) = watch::channel(Stage::Arrive);
    let done = Arc::new(Barrier::new(ids.len() + 1));
    let tasks: Vec<_> = ids
        .iter()
        .enumerate()
        .map(|(n, id)| {
            let device = Device::new(*id, task.server, n as u64 + 100, task.port, Arc::clone(&roots));
            let pause = Duration::from_millis(n as u64 * SPREAD_MS);
            tokio::spawn(one(device, pause, stage.clone(), Arc::clone(&done), task.server))
        })
        .collect();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    done.wait().await;
    println!("arrived");
    expect(&mut lines, "storm").await;
    let began = Instant::now();
    stages.send_replace(Stage::Storm);
    done.wait().await;
    let whole = began.elapsed();
    println!("settled {:.1}", whole.as_secs_f64());
    expect(&mut lines, "send").await;
    stages.send_replace(Stage::Send);
    let (mut times, mut attempts, mut resumed) = (Vec::new(), 0, 0);
    for task in tasks {
        let (took, tried, again) = task.await.expect("a device");
        times.push(took.as_secs_f64());
        attempts += tried;
        resumed += u64::from(again);
    }
    times.sort_by(f64::total_cmp);
    println!(
        "committed {:.1} {:.1} {:.2} {resumed}",
        times[times.len() / 2],
        times[times.len() * 99 / 100],
        attempts as f64 / ids.len() as f64 - 1.0,
    );
    expect(&mut lines, "end").await;
}

async fn one(
    mut device: Device,
    pause: Duration,
    mut stage: watch::Receiver<Stage>,
    done: Arc<Barrier>,
    server: Server,
) -> (Duration, u64, bool) {
    tokio::time::sleep(pause).await;
    let stream = device.back().await;
    done.wait().await;
    stage
        .wait_for(|stage| *stage >= Stage::Storm)
        .await
        .expect("the main task runs");
    drop(stream);
    let cut = Instant::now();
    let mut stream = device.back().await;
    let took = cut.elapsed();
    done.wait().await;
    stage
        .wait_for(|stage| *stage >= Stage::Send)
        .await
        .expect("the main task runs");
    if server == Server::Cloud {
        device.send(&mut stream).await;
    }
    (took, device.attempts, device.resumed)
}

async fn expect(lines: &mut tokio::io::Lines<BufReader<tokio::io::Stdin>>, word: &str) {
    match lines.next_line().await.expect("standard input") {
        Some(line) => assert_eq!(line, word),
        // The parent is gone.
        None => std::process::exit(1),
    }
}

/// Returns the microseconds of the system's clock, which both processes read.
#[expect(
    clippy::disallowed_methods,
    reason = "milliseconds are too coarse for the latencies that the bench prints"
)]
pub(crate) fn micros() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_micros()
}
