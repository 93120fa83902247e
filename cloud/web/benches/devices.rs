//! Benchmark of the list of devices of a project with 100,000 devices.
//!
//! Run `cargo bench -p iottly-web --bench devices [-- DEVICES]`. Times are those of whole requests over HTTP, one at a time;
//! the client is on the same cores. Processor time is that of the process for one request in the mean, the client included: it
//! does not depend on what else the machine does. With `IOTTLY_BENCH_DATABASE_URL` the data is in that PostgreSQL database, which must be
//! empty; otherwise in SQLite, in a folder beside the build.
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use iottly_cloud::{Cloud, CloudConfig, Services};
use iottly_core::model::{
    Change, MessageId, NewRollout, Policy, Principal, Project, RolloutId, RolloutKind, Scope, SecretHash,
    StoredMessage, StoredRelease,
};
use iottly_protocol::{DeviceId, GroupId, MessageKind, ProjectId};
use iottly_store::NewDevice;
use iottly_web::WebServices;
use iottly_web::auth;
use iottly_web::http::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

const DEVICES: usize = 100_000;
const ROUNDS: usize = 20;
/// Number of open dashboards.
const DASHBOARDS: usize = 50;
/// Number of devices whose messages the dashboards show.
const SENDERS: usize = 10_000;
/// Number of dashboards of one login.
const STREAMS: usize = 8;
/// Length of the measurement of the dashboards.
const SECONDS: usize = 10;
/// Name of each filter, and the filter as it stands in an address.
const FILTERS: [(&str, &str); 6] = [
    ("a group, which all are in", "group:field"),
    ("a part of the name", "name:*7777*"),
    ("a tag", "tag:none"),
    ("presence and its length", "offline%3E1h"),
    ("state of the firmware", "firmware:quarantined"),
    ("kind of the login", "legacy:true"),
];
/// Filter that needs more steps than it may.
const COSTLY: &str = "%7B%22name%22%3A%7B%22%24regex%22%3A%22((((a%3F)%7B50%7D)%7B50%7D)%2B)%2By%22%7D%7D";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // `cargo test --benches` starts benchmarks with `--test`: a measurement is not a test.
    if std::env::args().any(|arg| arg == "--test") {
        return Ok(());
    }
    let devices = std::env::args()
        .skip(1)
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(DEVICES);
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

    let project = ProjectId::from_bytes([1; 12]);
    let began = Instant::now();
    let group = fill(&services, project, devices).await?;
    let token = auth::create_token(services.store.as_ref(), project, "bench").await?;
    println!(
        "{devices} devices made in {:.0} s; memory {:.0} MB",
        began.elapsed().as_secs_f64(),
        resident_mb()
    );
    let visit = Visit::log_in(address, &token).await?;
    println!("| what | p50 | p95 | slowest | processor time |\n|---|---|---|---|---|");
    let (page, rest) = (
        format!("/p/{project}/devices"),
        format!("/v1.0/project/{project}/devices/props"),
    );
    let late = "ffffffff-ffff-ffff-ffff-ffffffffffff%20board%20050000";
    visit.measure("page, first rows", &page).await?;
    visit
        .measure("page, rows of the middle", &format!("{page}?after={late}"))
        .await?;
    visit
        .measure("REST, first 50", &format!("{rest}?limit=50"))
        .await?;
    visit
        .measure("REST, 50 of the middle", &format!("{rest}?limit=50&after={late}"))
        .await?;
    for (name, filter) in FILTERS {
        visit
            .measure(
                &format!("REST, filter: {name}"),
                &format!("{rest}?limit=50&filter={filter}"),
            )
            .await?;
    }
    visit
        .measure("page, filter: a group", &format!("{page}?filter=group:field"))
        .await?;
    visit
        .refused("an expression that is too large", &rest, COSTLY)
        .await?;
    visit
        .refused("a filter of too many steps", &rest, &many_names())
        .await?;
    dashboards(&services, address, project, &token, "no rollout").await?;
    let rollout = roll_out(&services, project, group).await?;
    for (what, path) in [
        ("page, overview", String::new()),
        ("page, groups", "groups".into()),
        ("page, a group with a rollout", format!("groups/{group}")),
        ("page, releases", "releases".into()),
        ("page, code", "code/main/loop".into()),
        ("page, crashes", "crashes".into()),
        ("page, plots", "plots".into()),
    ] {
        visit.measure(what, &format!("/p/{project}/{path}")).await?;
    }
    let api = format!("/v1.0/project/{project}");
    for (what, path) in [
        (
            "REST, groups, one board of each",
            "deploymentgroups?limit=1".to_owned(),
        ),
        (
            "REST, 1,000 boards of a group",
            format!("deploymentgroups/{group}?limit=1000"),
        ),
        ("REST, a rollout", format!("rollouts/{rollout}")),
        (
            "REST, 1,000 devices of a rollout",
            format!("rollouts/{rollout}/devices?limit=1000"),
        ),
    ] {
        visit.measure(what, &format!("{api}/{path}")).await?;
    }
    visit.measure("REST, without a limit: all devices", &rest).await?;
    dashboards(
        &services,
        address,
        project,
        &token,
        "during a rollout to all devices",
    )
    .await?;
    println!("| memory of the process, at the end | {:.0} MB |", resident_mb());
    server.shutdown().await;
    cloud.shutdown().await;
    Ok(())
}

/// Returns a filter whose conditions need more steps on many devices than a filter may take.
fn many_names() -> String {
    let names: Vec<_> = (0..130).map(|n| format!("%7B%22name%22:%22{n}%22%7D")).collect();
    format!("%7B%22$or%22:[{}]%7D", names.join(","))
}

/// Starts a rollout to all devices.
async fn roll_out(services: &Services, project: ProjectId, group: GroupId) -> anyhow::Result<RolloutId> {
    let release = StoredRelease {
        seq: 1,
        path: "app/main/1.wasm".into(),
        branch: "main".into(),
        revision: 1,
        sha256: "5d07".into(),
        size: 5,
        source: "source".into(),
        capabilities: Vec::new(),
        grace_ms: 7,
        author: "bench".into(),
        created: 1,
    };
    let rollout = NewRollout {
        id: RolloutId::random(),
        group,
        release: 1,
        kind: RolloutKind::Install,
        policy: Policy::default(),
        approved: Vec::new(),
        force: false,
        note: String::new(),
    };
    let id = rollout.id;
    let by = Principal::system(project, "bench");
    for change in [
        Change::AddRelease(Box::new(release)),
        Change::StartRollout(Box::new(rollout)),
    ] {
        services.store.change(project, &by, change, 1).await?;
    }
    Ok(id)
}

/// Makes a project with devices, every second of which logs in with a secret that does not expire.
async fn fill(services: &Services, project: ProjectId, devices: usize) -> anyhow::Result<GroupId> {
    let group = GroupId::random();
    let about = Project {
        id: project,
        name: "many".into(),
        created: 0,
        retention_days: None,
    };
    services.store.create_project(&about, group, &[]).await?;
    for number in 0..devices {
        let scope = Scope {
            project,
            device: DeviceId::random(),
        };
        let new = NewDevice {
            scope,
            name: format!("board {number:06}"),
            group,
            secret: SecretHash([u8::from(number % 2 == 0); 32]),
        };
        services.store.create_device(&new).await?;
    }
    Ok(group)
}

/// Opens as many dashboards as a project may have at a time, and sends messages to all of them.
async fn dashboards(
    services: &Services,
    address: SocketAddr,
    project: ProjectId,
    token: &str,
    beside: &str,
) -> anyhow::Result<()> {
    let (readers, read) = readers();
    for first in (0..DASHBOARDS).step_by(STREAMS) {
        let visit = Visit::log_in(address, token).await?;
        for _ in first..DASHBOARDS.min(first + STREAMS) {
            let head = format!(
                "GET /p/{project}/events HTTP/1.1\r\nHost: {address}\r\nCookie: {}\r\n\r\n",
                visit.cookie
            );
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(head.as_bytes()).await?;
            readers.send(stream.into_std()?)?;
        }
    }
    let devices = services.store.device_page(project, None, SENDERS).await?;
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    let (began, before) = (Instant::now(), processor_time());
    for number in 0..SECONDS * 100 {
        tick.tick().await;
        let now = i64::try_from(number)?;
        services.live.publish(&StoredMessage {
            id: MessageId([0; 12]),
            scope: devices[number * 7919 % devices.len()].scope,
            kind: MessageKind::UserDefined,
            timestamp: now,
            device_timestamp: now,
            channel: None,
            payload: serde_json::value::to_raw_value(
                &serde_json::json!({"temperature": now, "target": 20, "heating": true}),
            )?,
            origin: None,
            firmware: None,
        });
    }
    let (took, all) = (began.elapsed().as_secs_f64(), processor_time() - before);
    drop(readers);
    let read = read.join().map_err(|_| anyhow::anyhow!("the readers failed"))??;
    println!(
        "| {DASHBOARDS} open dashboards, 100 messages/s, {beside} | {:.1} % of a core; their readers in the same process {:.1} % more |",
        (all - read.seconds) / took * 100.0,
        read.seconds / took * 100.0
    );
    ensure!(
        read.messages == DASHBOARDS * SECONDS * 100,
        "{} messages were read",
        read.messages
    );
    Ok(())
}

/// Number of messages that the readers of the dashboards got, and their processor time in seconds.
struct Read {
    messages: usize,
    seconds: f64,
}

/// Starts a thread that reads the dashboards, so that its processor time is counted apart; it ends when its sender is dropped.
fn readers() -> (
    mpsc::UnboundedSender<std::net::TcpStream>,
    std::thread::JoinHandle<anyhow::Result<Read>>,
) {
    let (sender, mut streams) = mpsc::unbounded_channel::<std::net::TcpStream>();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let messages = Arc::new(AtomicUsize::new(0));
        runtime.block_on(async {
            while let Some(stream) = streams.recv().await {
                tokio::spawn(count(TcpStream::from_std(stream)?, Arc::clone(&messages)));
            }
            // The last messages are on their way.
            tokio::time::sleep(Duration::from_millis(500)).await;
            anyhow::Ok(())
        })?;
        let read = Read {
            messages: messages.load(Ordering::Relaxed),
            seconds: spent("/proc/thread-self/stat"),
        };
        Ok(read)
    });
    (sender, thread)
}

/// Counts the messages that a dashboard gets.
async fn count(mut stream: TcpStream, messages: Arc<AtomicUsize>) {
    const NAME: &[u8] = b"event: entry";
    let (mut buffer, mut text) = (vec![0; 64 << 10], Vec::new());
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        text.extend_from_slice(&buffer[..length]);
        let found = text.windows(NAME.len()).filter(|part| *part == NAME).count();
        messages.fetch_add(found, Ordering::Relaxed);
        // The beginning of a name may stand at the end.
        text.drain(..text.len() - text.len().min(NAME.len() - 1));
    }
}

/// Returns the processor time of this process, in seconds.
fn processor_time() -> f64 {
    spent("/proc/self/stat")
}

/// Returns the processor time of a process or thread, in seconds.
fn spent(stat: &str) -> f64 {
    let stat = std::fs::read_to_string(stat).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: f64 = fields
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    ticks / 100.0
}

struct Visit {
    address: SocketAddr,
    token: String,
    cookie: String,
}

impl Visit {
    async fn log_in(address: SocketAddr, token: &str) -> anyhow::Result<Self> {
        let mut visit = Self {
            address,
            token: token.to_owned(),
            cookie: String::new(),
        };
        let form = format!("token={token}");
        let head = format!(
            "POST /login HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
            form.len()
        );
        let answer = visit.send(&format!("{head}{{}}\r\n{form}")).await?;
        let cookie = answer
            .lines()
            .find_map(|line| {
                line.split_once(": ")
                    .filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"))
            })
            .context("no cookie")?;
        visit.cookie = cookie.1.split(';').next().unwrap_or_default().to_owned();
        Ok(visit)
    }

    /// Sends a request with the head's other lines in place of `{}`, and returns the whole response.
    async fn send(&self, request: &str) -> anyhow::Result<String> {
        let own = format!("Host: {}\r\nConnection: close\r\n", self.address);
        let mut stream = TcpStream::connect(self.address).await?;
        stream
            .write_all(request.replacen("{}", &own, 1).as_bytes())
            .await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    async fn get(&self, path: &str) -> anyhow::Result<String> {
        let login = if path.starts_with("/v1.0") {
            format!("Authorization: Bearer {}", self.token)
        } else {
            format!("Cookie: {}", self.cookie)
        };
        self.send(&format!("GET {path} HTTP/1.1\r\n{login}\r\n{{}}\r\n"))
            .await
    }

    async fn refused(&self, what: &str, path: &str, filter: &str) -> anyhow::Result<()> {
        let (began, before) = (Instant::now(), processor_time());
        let refused = self.get(&format!("{path}?limit=50&filter={filter}")).await?;
        let reason = refused.split("\r\n\r\n").nth(1).unwrap_or_default();
        println!(
            "| {what}: {} | {:.0} ms | | | {:.0} ms | {}",
            refused.get(9..12).unwrap_or_default(),
            began.elapsed().as_secs_f64() * 1000.0,
            (processor_time() - before) * 1000.0,
            reason.get(..120).unwrap_or(reason)
        );
        Ok(())
    }

    async fn measure(&self, what: &str, path: &str) -> anyhow::Result<()> {
        let (mut times, before) = (Vec::with_capacity(ROUNDS), processor_time());
        for _ in 0..ROUNDS {
            let began = Instant::now();
            let answer = self.get(path).await?;
            times.push(began.elapsed());
            ensure!(answer.starts_with("HTTP/1.1 200"), "{what}: {answer}");
        }
        let each = (processor_time() - before) / ROUNDS as f64;
        times.sort_unstable();
        let at = |percent: usize| milliseconds(times[(times.len() - 1) * percent / 100]);
        println!(
            "| {what} | {:.0} ms | {:.0} ms | {:.0} ms | {:.0} ms |",
            at(50),
            at(95),
            at(100),
            each * 1000.0
        );
        Ok(())
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
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
