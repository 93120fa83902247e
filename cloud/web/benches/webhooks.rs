//! Benchmark of webhooks: deliveries to a receiver on this machine, their cost to the ingest, a dead
//! receiver, a long queue.
//!
//! Run `cargo bench -p iottly-cloud --bench webhooks [-- SECONDS]`. Cloud, receiver and the source of
//! messages share one process and the machine's cores. The data is in SQLite, in a folder beside the build,
//! or with `IOTTLY_BENCH_DATABASE_URL` in that PostgreSQL database, which must be empty.
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use iottly_cloud::{Cloud, CloudConfig, Services, database_path, random};
use iottly_core::SealKey;
use iottly_core::command::seeded_definitions;
use iottly_core::ingest::{Entry, Upload, UploadBody};
use iottly_core::model::{
    Change, Project, Scope, Scopes, SecretHash, Webhook, WebhookId, WebhookKey, WebhookKind,
};
use iottly_core::webhooks::sign::Secret;
use iottly_core::webhooks::{sealed_headers, sealed_secret};
use iottly_protocol::{DeviceId, GroupId, MessageKind, ProjectId, StreamId};
use iottly_store as store;
use iottly_store::webhooks::{ClaimQuery, DeliveryResult, Disposition, WorkerId};
use iottly_store::{Database, NewDevice, Store};
use iottly_web::auth;
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const RATE: u64 = 5000;
const SECONDS: u64 = 20;
const DEVICES: u64 = 20;
/// Number of deliveries that are drained without other load.
const BACKLOG: u64 = 30_000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // `cargo test --benches` starts benchmarks with `--test`: a measurement is not a test.
    if std::env::args().any(|arg| arg == "--test") {
        return Ok(());
    }
    let seconds = std::env::args()
        .skip(1)
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(SECONDS);
    let folder = tempfile::Builder::new().prefix("iottly-bench-").tempdir_in(".")?;
    println!("| what | result |\n|---|---|");
    sending(folder.path(), Duration::from_secs(seconds)).await?;
    claiming(&folder.path().join("claims")).await
}

/// A receiver that accepts every request, and the time at which each number first arrived.
struct Receiver {
    address: SocketAddr,
    count: Arc<AtomicU64>,
    came: Arc<Mutex<HashMap<u64, Instant>>>,
}

impl Receiver {
    async fn start(answers: bool) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (count, came) = (Arc::new(AtomicU64::new(0)), Arc::default());
        let shared = (Arc::clone(&count), Arc::clone(&came));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (count, came) = shared.clone();
                if answers {
                    tokio::spawn(serve(stream, count, came));
                } else {
                    // Held open, and never answered.
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_secs(600)).await;
                        drop(stream);
                    });
                }
            }
        });
        Ok(Self { address, count, came })
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

async fn serve(
    mut stream: TcpStream,
    count: Arc<AtomicU64>,
    came: Arc<Mutex<HashMap<u64, Instant>>>,
) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut buffer = Vec::with_capacity(4096);
    loop {
        while let Some(whole) = whole(&buffer) {
            let text = String::from_utf8_lossy(&buffer[..whole]);
            let number = text
                .rsplit_once("%22n%22%3A")
                .and_then(|(_, rest)| rest.split('%').next()?.parse().ok());
            came.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(number?)
                .or_insert_with(Instant::now);
            count.fetch_add(1, Ordering::Relaxed);
            buffer.drain(..whole);
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                .await
                .ok()?;
        }
        if stream.read_buf(&mut buffer).await.ok()? == 0 {
            return None;
        }
    }
}

/// Returns the length of the request at the start of the buffer.
fn whole(buffer: &[u8]) -> Option<usize> {
    let end = buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&buffer[..end]).ok()?.to_ascii_lowercase();
    let length: usize = head
        .split("content-length: ")
        .nth(1)?
        .split("\r\n")
        .next()?
        .parse()
        .ok()?;
    (buffer.len() >= end + length).then_some(end + length)
}

/// Devices of a project as a source of messages.
struct Source {
    project: ProjectId,
    devices: Vec<DeviceId>,
    next: u64,
    sent: HashMap<u64, Instant>,
}

impl Source {
    async fn new(store: &dyn Store, byte: u8) -> anyhow::Result<Self> {
        let project = ProjectId::from_bytes([byte; 12]);
        let group = GroupId::random();
        let about = Project {
            id: project,
            name: format!("p{byte}"),
            created: 0,
            retention_days: None,
        };
        store.create_project(&about, group, &seeded_definitions()).await?;
        let devices: Vec<_> = std::iter::repeat_with(DeviceId::random)
            .take(DEVICES as usize)
            .collect();
        for device in &devices {
            let scope = Scope {
                project,
                device: *device,
            };
            store
                .create_device(&NewDevice {
                    scope,
                    name: "board".into(),
                    group,
                    secret: SecretHash([0; 32]),
                })
                .await?;
        }
        Ok(Self {
            project,
            devices,
            next: 0,
            sent: HashMap::new(),
        })
    }

    /// Commits `count` messages in one transaction, like a group of the ingest. Returns the duration.
    async fn say(&mut self, store: &dyn Store, count: u64) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let each = count.div_ceil(DEVICES);
        let now = iottly_cloud::clock::now();
        let uploads = self.devices.iter().enumerate().map(|(index, device)| {
            let first = self.next / DEVICES + 1;
            let records = (0..each)
                .map(|n| Ok(entry(self.next + n * DEVICES + index as u64)))
                .collect();
            let scope = Scope {
                project: self.project,
                device: *device,
            };
            Upload {
                scope,
                stream: StreamId::from_bytes([1; 16]),
                received: now,
                body: UploadBody::Records { first, records },
            }
        });
        store.ingest(uploads.collect()).await?;
        let committed = Instant::now();
        for n in self.next..self.next + each * DEVICES {
            self.sent.insert(n, committed);
        }
        self.next += each * DEVICES;
        Ok(began.elapsed())
    }

    /// Commits messages at a rate for a while. Returns the rate that was reached and the durations of the
    /// commits.
    async fn pace(
        &mut self,
        store: &dyn Store,
        rate: u64,
        time: Duration,
    ) -> anyhow::Result<(f64, Vec<Duration>)> {
        let (began, from, mut times) = (Instant::now(), self.next, Vec::new());
        while began.elapsed() < time {
            let due = ((began.elapsed().as_secs_f64() * rate as f64) as u64).saturating_add(DEVICES);
            let behind = due.saturating_sub(self.next - from);
            if behind >= DEVICES {
                // Like the ingest: messages that arrive during a commit are in the next one.
                times.push(self.say(store, behind.min(1000)).await?);
            }
            if behind < 1000 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        Ok(((self.next - from) as f64 / began.elapsed().as_secs_f64(), times))
    }
}

fn entry(n: u64) -> Entry {
    let text =
        format!(r#"{{"temperature":21.5,"humidity":40,"battery":{{"volts":3.7,"low":false}},"n":{n}}}"#);
    let payload = RawValue::from_string(text).expect("written as JSON");
    Entry::Message {
        kind: MessageKind::UserDefined,
        at: 1_492_597_597_019,
        channel: None,
        payload,
        firmware: None,
    }
}

async fn hook(
    store: &dyn Store,
    seal: &SealKey,
    project: ProjectId,
    url: String,
) -> anyhow::Result<WebhookKey> {
    let key = WebhookKey {
        project,
        hook: WebhookId::random(),
    };
    let by = auth::mint_token(project, "bench", Scopes::PROJECT, None, 1)?
        .token
        .into();
    let hook = Webhook {
        key,
        description: String::new(),
        url,
        kind: WebhookKind::All,
        channel: None,
        filter: None,
        payload_only: false,
        ordered: false,
        enabled: true,
        reason: String::new(),
        headers: sealed_headers(seal, key.hook, &Vec::new(), random::nonce()?)?,
        secret: sealed_secret(seal, key.hook, &Secret::new(random::bytes()?), random::nonce()?)?,
        former: None,
        created: 1,
        changed: 1,
    };
    store
        .change(project, &by, Change::CreateWebhook(Box::new(hook)), 1)
        .await?;
    Ok(key)
}

async fn sending(folder: &Path, time: Duration) -> anyhow::Result<()> {
    let mut config = CloudConfig::new(folder.to_owned(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    config.database_url = std::env::var("IOTTLY_BENCH_DATABASE_URL").ok();
    config.webhooks.allow = vec!["127.0.0.0/8".parse()?];
    let cloud = Cloud::start(config).await?;
    let services = cloud.services();
    let store = services.store.as_ref();
    let mut plain = Source::new(store, 1).await?;
    let (alone, mut times) = plain.pace(store, RATE, time).await?;
    report(
        &format!("ingest at {RATE}/s without webhooks: {alone:.0}/s, commits"),
        &mut times,
    );
    let (most, _) = plain.pace(store, u64::MAX / 1000, time / 2).await?;
    let mut source = Source::new(store, 2).await?;
    let receiver = Receiver::start(true).await?;
    let key = hook(
        store,
        services.webhooks.seal(),
        source.project,
        format!("http://{}/", receiver.address),
    )
    .await?;
    let (beside, mut times) = source.pace(store, RATE, time).await?;
    let delivered = receiver.count() as f64 / time.as_secs_f64();
    report(
        &format!("ingest at {RATE}/s with a webhook on every message: {beside:.0}/s, commits"),
        &mut times,
    );
    println!("| deliveries beside it | {delivered:.0}/s |");
    drained(&services, key, &receiver, source.next).await?;
    let (most_beside, _) = source.pace(store, u64::MAX / 1000, time / 2).await?;
    println!(
        "| ingest as fast as it goes | {most:.0}/s without webhooks, {most_beside:.0}/s with a webhook on every message |"
    );
    drained(&services, key, &receiver, source.next).await?;
    let already = receiver.count();
    let began = Instant::now();
    while source.next < already + BACKLOG {
        source.say(store, 1000).await?;
    }
    let filled = began.elapsed();
    let (at, from) = (Instant::now(), receiver.count());
    drained(&services, key, &receiver, source.next).await?;
    let rate = (receiver.count() - from) as f64 / at.elapsed().as_secs_f64();
    println!(
        "| a backlog of {BACKLOG} ({:.1} s to store), drained alone | {rate:.0}/s |",
        filled.as_secs_f64()
    );
    neighbours(&services, time).await?;
    cloud.shutdown().await;
    Ok(())
}

async fn drained(
    services: &Services,
    key: WebhookKey,
    receiver: &Receiver,
    count: u64,
) -> anyhow::Result<()> {
    let (began, mut last) = (Instant::now(), 0);
    while receiver.count() < count {
        ensure!(
            began.elapsed() < Duration::from_secs(600),
            "{} of {count} were delivered",
            receiver.count()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
        last = receiver.count().max(last);
    }
    // Wait until the last deliveries are recorded.
    while services
        .store
        .webhook(key)
        .await?
        .context("the webhook is there")?
        .queue
        .waiting
        > 0
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Measures the time from commit to receiver, alone and beside a receiver that never answers.
async fn neighbours(services: &Services, time: Duration) -> anyhow::Result<()> {
    let store = services.store.as_ref();
    for dead in [false, true] {
        let mut source = Source::new(store, 10 + u8::from(dead)).await?;
        let receiver = Receiver::start(true).await?;
        hook(
            store,
            services.webhooks.seal(),
            source.project,
            format!("http://{}/", receiver.address),
        )
        .await?;
        let silent = Receiver::start(false).await?;
        if dead {
            hook(
                store,
                services.webhooks.seal(),
                source.project,
                format!("http://{}/", silent.address),
            )
            .await?;
        }
        source.pace(store, 200, time).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let came = receiver.came.lock().unwrap_or_else(PoisonError::into_inner);
        let mut times: Vec<_> = source
            .sent
            .iter()
            .filter_map(|(n, sent)| Some(came.get(n)?.saturating_duration_since(*sent)))
            .collect();
        ensure!(
            times.len() as u64 == source.next,
            "{} of {} arrived",
            times.len(),
            source.next
        );
        let beside = if dead { "beside a dead receiver" } else { "alone" };
        report(&format!("commit to receiver at 200/s, {beside}"), &mut times);
    }
    Ok(())
}

/// Measures claiming and releasing a hundred deliveries, by the number of waiting ones.
async fn claiming(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let (store, _) = store::open(&Database::File(database_path(folder))).await?;
    let seal = SealKey::new(&[7; 32]).context("32 bytes are a key")?;
    let (mut keys, mut queued) = (Vec::new(), 0u64);
    let mut sources = Vec::new();
    for project in 0..2 {
        let source = Source::new(store.as_ref(), 100 + project).await?;
        for _ in 0..5 {
            keys.push(
                hook(
                    store.as_ref(),
                    &seal,
                    source.project,
                    "http://127.0.0.1:9/".into(),
                )
                .await?,
            );
        }
        sources.push(source);
    }
    for goal in [1_000, 10_000, 100_000, 1_000_000] {
        while queued < goal {
            for source in &mut sources {
                source
                    .say(store.as_ref(), 100.max((goal - queued) / 10).min(1000))
                    .await?;
                source.sent.clear();
            }
            queued = sources.iter().map(|source| source.next * 5).sum();
        }
        let (mut times, mut polls) = (Vec::new(), Vec::new());
        for round in 0..100 {
            let key = keys[round % keys.len()];
            let now = iottly_cloud::clock::now();
            let began = Instant::now();
            store.due_webhooks(now, 1000).await?;
            polls.push(began.elapsed());
            let began = Instant::now();
            let query = ClaimQuery {
                key,
                worker: WorkerId(1),
                now,
                until: now + 60_000,
                limit: 100,
                ordered: false,
            };
            let claims = store.claim(&query).await?;
            times.push(began.elapsed());
            let back = claims.into_iter().map(|claim| DeliveryResult {
                key,
                message: claim.message,
                device: Some(claim.device),
                timestamp: claim.timestamp,
                disposition: Disposition::Wait {
                    due: now,
                    attempts: 0,
                },
                attempt: None,
                health: None,
                announce: false,
            });
            store.settle(WorkerId(1), &back.collect::<Vec<_>>()).await?;
        }
        report(&format!("claim of 100 with {queued} queued"), &mut times);
        report(&format!("finding what is due with {queued} queued"), &mut polls);
    }
    store.close().await;
    Ok(())
}

fn report(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |percent: usize| {
        times
            .get((times.len().saturating_sub(1)) * percent / 100)
            .map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    };
    println!("| {what} | p50 {:.2} ms, p99 {:.2} ms |", at(50), at(99));
}
