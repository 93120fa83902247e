//! Benchmark of the API on a million messages of a hundred devices.
//!
//! Run `cargo bench -p iottly-cloud --bench api [-- MESSAGES]`. Server and client share the machine's cores.
//! With `IOTTLY_BENCH_DATABASE_URL` the data is in that PostgreSQL database, which must be empty; otherwise
//! in SQLite, in a folder beside the build.
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use iottly_cloud::{Cloud, CloudConfig, Services};
use iottly_core::command::seeded_definitions;
use iottly_core::ingest::{Entry, Upload, UploadBody};
use iottly_core::model::{Project, Scope, SecretHash, UnixMs};
use iottly_filter::{Budget, Document, Filter};
use iottly_protocol::{DeviceId, GroupId, MessageKind, ProjectId, StreamId};
use iottly_store::NewDevice;
use iottly_web::WebServices;
use iottly_web::auth;
use iottly_web::http::Server;
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const MESSAGES: u64 = 1_000_000;
const DEVICES: u64 = 100;
/// Number of devices of the project whose inspection is measured.
const MANY_DEVICES: usize = 10_000;
/// Number of messages per transaction.
const GROUP: u64 = 1000;
const ROUNDS: usize = 300;
const PING_TIME: Duration = Duration::from_secs(5);
const PING_CONNECTIONS: usize = 16;
/// Time of the first message: 2017-04-19; each device sends one message per second from then on.
const START: UnixMs = 1_492_597_597_019;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // `cargo test --benches` starts benchmarks with `--test`: a measurement is not a test.
    if std::env::args().any(|arg| arg == "--test") {
        return Ok(());
    }
    let messages = std::env::args()
        .skip(1)
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(MESSAGES);
    let folder = tempfile::Builder::new().prefix("iottly-bench-").tempdir_in(".")?;
    let mut config = CloudConfig::new(
        folder.path().to_owned(),
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
    );
    config.database_url = std::env::var("IOTTLY_BENCH_DATABASE_URL").ok();
    let cloud = Cloud::start(config).await?;
    let services = cloud.services();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let server = Server::start(listener, WebServices::new(services.clone()));
    println!("| what | result |\n|---|---|");
    println!("| memory of the process, idle | {:.1} MB |", resident_mb());

    let fleet = Fleet::new(&services, 1, DEVICES as usize).await?;
    fleet.fill(&services, messages).await?;
    histories(address, &fleet, messages).await?;
    let many = Fleet::new(&services, 2, MANY_DEVICES).await?;
    let path = format!("/v1.0/project/{}/inspect", many.project);
    report(
        "inspect of a project with 10,000 devices",
        &mut requests(address, &many.token, ROUNDS / 10, |_| path.clone()).await?,
    );
    pings(address, &fleet.token).await?;
    println!("| memory of the process, at the end | {:.1} MB |", resident_mb());
    filter_alone();
    server.shutdown().await;
    cloud.shutdown().await;
    Ok(())
}

struct Fleet {
    project: ProjectId,
    token: String,
    devices: Vec<DeviceId>,
}

impl Fleet {
    async fn new(services: &Services, byte: u8, count: usize) -> anyhow::Result<Self> {
        let project = ProjectId::from_bytes([byte; 12]);
        let group = GroupId::random();
        let about = Project {
            id: project,
            name: format!("p{byte}"),
            created: 0,
            retention_days: None,
        };
        services
            .store
            .create_project(&about, group, &seeded_definitions())
            .await?;
        let devices: Vec<_> = std::iter::repeat_with(DeviceId::random).take(count).collect();
        for (index, device) in devices.iter().enumerate() {
            let (scope, secret) = (
                Scope {
                    project,
                    device: *device,
                },
                SecretHash([0; 32]),
            );
            services
                .store
                .create_device(&NewDevice {
                    scope,
                    name: format!("board {index}"),
                    group,
                    secret,
                })
                .await?;
        }
        let token = auth::create_token(services.store.as_ref(), project, "bench").await?;
        Ok(Self {
            project,
            token,
            devices,
        })
    }

    /// Stores messages in the order in which a fleet would send them.
    async fn fill(&self, services: &Services, messages: u64) -> anyhow::Result<()> {
        let began = Instant::now();
        for first in (0..messages).step_by(GROUP as usize) {
            let uploads = (0..DEVICES).map(|device| {
                let each = GROUP / DEVICES;
                let round = first / DEVICES;
                let records = (round..round + each).map(|n| Ok(entry(n))).collect();
                Upload {
                    scope: Scope {
                        project: self.project,
                        device: self.devices[device as usize],
                    },
                    stream: StreamId::from_bytes([1; 16]),
                    received: START + (round * 1000) as i64,
                    body: UploadBody::Records {
                        first: round + 1,
                        records,
                    },
                }
            });
            services.store.ingest(uploads.collect()).await?;
        }
        println!(
            "| {messages} messages stored, {GROUP} a transaction | {:.0}/s |",
            messages as f64 / began.elapsed().as_secs_f64()
        );
        Ok(())
    }
}

fn entry(n: u64) -> Entry {
    let text = payload(n);
    let payload = RawValue::from_string(text).expect("written as JSON");
    Entry::Message {
        kind: MessageKind::UserDefined,
        at: START,
        channel: None,
        payload,
        firmware: None,
    }
}

fn payload(n: u64) -> String {
    format!(
        r#"{{"temperature":{}.{},"humidity":{},"battery":{{"volts":3.{},"low":false}},"n":{n}}}"#,
        15 + n % 20,
        n % 10,
        n % 100,
        n % 10
    )
}

async fn histories(address: SocketAddr, fleet: &Fleet, messages: u64) -> anyhow::Result<()> {
    let path = |round: usize| {
        format!(
            "/v1.0/project/{}/messages/{}",
            fleet.project,
            fleet.devices[round % fleet.devices.len()]
        )
    };
    let newest = requests(address, &fleet.token, ROUNDS, |round| {
        format!("{}?numMessages=100", path(round))
    })
    .await;
    report("newest 100 messages", &mut newest?);
    let seconds = messages / DEVICES;
    let bounded = |round: usize| {
        let until = START + ((round as u64 * 7919 % seconds) * 1000) as i64;
        let filter = format!(r#"{{"timestamp":{{"$lte":{{"$date":{until}}}}}}}"#);
        let encoded: String = filter.bytes().map(|byte| format!("%{byte:02X}")).collect();
        format!("{}?numMessages=100&queryJson={encoded}", path(round))
    };
    report(
        "a page of 100 behind a timestamp",
        &mut requests(address, &fleet.token, ROUNDS, bounded).await?,
    );
    let none = |round: usize| format!("{}?queryJson=%7B%22humidity%22%3A%22none%22%7D", path(round));
    let mut times = requests(address, &fleet.token, ROUNDS / 10, none).await?;
    let looked = (seconds as f64).min(200_000.0);
    times.sort_unstable();
    let median = times[times.len() / 2];
    println!(
        "| filter that matches nothing, over a whole history, store included | {:.0} documents/s |",
        looked / median.as_secs_f64()
    );
    Ok(())
}

/// Measures parsing and matching alone, on one core.
fn filter_alone() {
    let filter = Filter::parse(r#"{"payload.humidity":"none"}"#).expect("a filter");
    let documents: Vec<_> = (0..50_000)
        .map(|n| format!(r#"{{"payload":{}}}"#, payload(n)))
        .collect();
    let began = Instant::now();
    let matches = |text: &&String| {
        Document::parse(text)
            .is_ok_and(|document| filter.matches(&document, &mut Budget::steps(1_000_000)) == Ok(true))
    };
    let matching = documents.iter().filter(matches).count();
    let rate = documents.len() as f64 / began.elapsed().as_secs_f64();
    println!(
        "| filter that matches nothing ({matching}), parsing included, one core | {rate:.0} documents/s |"
    );
}

/// Returns the durations of requests on one connection, one after the other.
async fn requests(
    address: SocketAddr,
    token: &str,
    rounds: usize,
    path: impl Fn(usize) -> String,
) -> anyhow::Result<Vec<Duration>> {
    let mut client = Client::connect(address, token).await?;
    let mut times = Vec::with_capacity(rounds);
    for round in 0..rounds + 10 {
        let path = path(round);
        let began = Instant::now();
        client.get(&path).await?;
        // The first requests warm up caches.
        if round >= 10 {
            times.push(began.elapsed());
        }
    }
    Ok(times)
}

async fn pings(address: SocketAddr, token: &str) -> anyhow::Result<()> {
    let (began, mut clients) = (Instant::now(), tokio::task::JoinSet::new());
    for _ in 0..PING_CONNECTIONS {
        let mut client = Client::connect(address, token).await?;
        clients.spawn(async move {
            let mut count = 0u64;
            while began.elapsed() < PING_TIME {
                client.get("/v1.0/ping").await?;
                count += 1;
            }
            anyhow::Ok(count)
        });
    }
    let mut count = 0;
    while let Some(done) = clients.join_next().await {
        count += done??;
    }
    println!(
        "| ping, {PING_CONNECTIONS} connections, client on the same cores | {:.0}/s |",
        count as f64 / began.elapsed().as_secs_f64()
    );
    Ok(())
}

/// A connection that stays open.
struct Client {
    stream: TcpStream,
    head: String,
    buffer: Vec<u8>,
}

impl Client {
    async fn connect(address: SocketAddr, token: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let head = format!(" HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n");
        Ok(Self {
            stream,
            head,
            buffer: Vec::with_capacity(1 << 20),
        })
    }

    async fn get(&mut self, path: &str) -> anyhow::Result<()> {
        self.stream
            .write_all(format!("GET {path}{}", self.head).as_bytes())
            .await?;
        self.buffer.clear();
        loop {
            if let Some(whole) = whole(&self.buffer)? {
                ensure!(
                    self.buffer.len() == whole,
                    "answer to {path} is followed by something"
                );
                return Ok(());
            }
            ensure!(
                self.stream.read_buf(&mut self.buffer).await? > 0,
                "answer to {path} broke off"
            );
        }
    }
}

/// Returns the length of the response at the start of the buffer, once its head is complete; an error unless
/// it is a success.
fn whole(buffer: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&buffer[..end])?.to_ascii_lowercase();
    ensure!(head.starts_with("http/1.1 200"), "{head}");
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .context("an answer without a length")?;
    let whole = end + 4 + length.parse::<usize>()?;
    Ok((buffer.len() >= whole).then_some(whole))
}

fn report(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
    println!("| {what} | p50 {:.2} ms, p99 {:.2} ms |", at(50), at(99));
}

fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|line| {
        line.strip_prefix("VmRSS:")?
            .trim()
            .strip_suffix("kB")?
            .trim()
            .parse::<f64>()
            .ok()
    });
    kib.unwrap_or_default() / 1000.0 * 1.024
}
