//! A fleet that returns at one moment: devices over TLS whose connections all end at once, on a server with one core.
//!
//! `cargo bench -p iottly --bench storm -- [--devices 10000]`. The cloud is a real `iottly serve` on core 0; the devices
//! are tasks of this process on core 1. They do what the agent does: TLS with a ticket of the connection before, login,
//! subscription, hello, and pauses with full jitter between attempts. A device is back when the cloud has welcomed it, and
//! at the end each sends one message and waits until it is committed.
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]
#![allow(clippy::unwrap_used, reason = "a benchmark that fails may panic")]

use std::io::BufRead;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use iottly_cloud::database_path;
use iottly_core::command::seeded_definitions;
use iottly_core::model::{Project, Scope};
use iottly_e2e::program;
use iottly_protocol::{
    BootId, ConnId, DeviceId, Down, GroupId, Hello, Message, MessageKind, ProjectId, Record, StreamClass,
    StreamId, StreamInfo, Topic, Up, Versions, encode_batch,
};
use iottly_store as store;
use iottly_store::{Database, NewDevice};
use iottly_web::auth;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Barrier, watch};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const DEVICES: usize = 10_000;
/// Fewest descriptors with which the benchmark starts.
const DESCRIPTORS: u64 = 12_000;
const SECRET: &str = "the secret of a device";
/// Longest time of an attempt, as in the agent.
const ATTEMPT: Duration = Duration::from_secs(20);

fn main() {
    // `cargo test --benches` starts benchmarks with `--test`: it must not measure then.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let mut args = std::env::args().skip_while(|arg| arg != "--devices").skip(1);
    let count = args
        .next()
        .map_or(DEVICES, |text| text.parse().expect("a number"));
    raise_descriptors(count);
    let folder = tempfile::Builder::new()
        .prefix("iottly-bench-")
        .tempdir_in(".")
        .expect("folder");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let ids = runtime.block_on(create(folder.path(), count));
    let (mut cloud, port) = serve(folder.path());
    let mut core = CpuSet::new();
    core.set(1);
    sched_setaffinity(None, &core).expect("there is a second core");
    runtime.block_on(measure(folder.path(), port, &ids, cloud.id()));
    cloud.kill().expect("killed");
    cloud.wait().expect("ended");
}

fn raise_descriptors(count: usize) {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(1 << 20);
    let needed = if count < DEVICES {
        count as u64 + 500
    } else {
        DESCRIPTORS
    };
    assert!(
        most >= needed,
        "the limit of open files is {most}, and {needed} are needed"
    );
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(most),
            maximum: limit.maximum,
        },
    )
    .expect("raised");
}

/// Creates a project with devices in the cloud's data folder.
async fn create(folder: &Path, count: usize) -> Vec<DeviceId> {
    let (store, _) = store::open(&Database::File(database_path(folder)))
        .await
        .expect("a database");
    let random = *DeviceId::random().as_bytes();
    let project = ProjectId::from_bytes(std::array::from_fn(|index| random[index]));
    let group = GroupId::random();
    let made = Project {
        id: project,
        name: "storm".to_owned(),
        created: 0,
        retention_days: None,
    };
    store
        .create_project(&made, group, &seeded_definitions())
        .await
        .expect("created");
    let ids: Vec<_> = (0..count).map(|_| DeviceId::random()).collect();
    for (n, device) in ids.iter().enumerate() {
        let scope = Scope {
            project,
            device: *device,
        };
        let secret = auth::hash_secret(SECRET.as_bytes());
        let device = NewDevice {
            scope,
            name: format!("device {n}"),
            group,
            secret,
        };
        store.create_device(&device).await.expect("created");
    }
    ids
}

fn serve(folder: &Path) -> (Child, u16) {
    let mut child = Command::new("taskset")
        .args([
            "-c",
            "0",
            program(),
            "serve",
            "--json",
            "--listen",
            "127.0.0.1:0",
            "--data",
        ])
        .arg(folder)
        .env("IOTTLY_LOG", "error")
        .stdout(Stdio::piped())
        .spawn()
        .expect("taskset starts");
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .expect("a line");
    let ready: serde_json::Value = serde_json::from_str(&line).expect("json");
    let port = ready["https"]
        .as_str()
        .and_then(|https| https.rsplit(':').next()?.parse().ok());
    (child, port.expect("a port"))
}

fn memory_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

async fn measure(folder: &Path, port: u16, ids: &[DeviceId], cloud: u32) {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(folder.join("tls/ca.pem")).expect("a certificate"))
        .expect("an authority");
    let roots = Arc::new(roots);
    let idle = memory_kb(cloud);
    let (arrived, storm, settled) = (
        Arc::new(Barrier::new(ids.len() + 1)),
        watch::channel(false),
        Arc::new(Barrier::new(ids.len() + 1)),
    );
    let began = Instant::now();
    let tasks: Vec<_> = ids
        .iter()
        .enumerate()
        .map(|(n, id)| {
            let mut device = Device::new(*id, n as u64, port, Arc::clone(&roots));
            let (arrived, mut storm, settled) = (Arc::clone(&arrived), storm.1.clone(), Arc::clone(&settled));
            tokio::spawn(async move {
                // The first arrival is spread, so that it does not measure the storm.
                tokio::time::sleep(Duration::from_millis(n as u64 * 4)).await;
                let stream = device.back().await;
                arrived.wait().await;
                storm.wait_for(|storm| *storm).await.unwrap();
                drop(stream);
                let cut = Instant::now();
                let mut stream = device.back().await;
                let took = cut.elapsed();
                settled.wait().await;
                device.send(&mut stream).await;
                (took, device.attempts, device.resumed)
            })
        })
        .collect();
    arrived.wait().await;
    println!("| what | result |\n|---|---|");
    println!(
        "| {} devices arrive, spread | {:.1} s |",
        ids.len(),
        began.elapsed().as_secs_f64()
    );
    let connected = memory_kb(cloud);
    println!(
        "| memory per 1,000 TLS devices | {:.1} MB |",
        (connected - idle) as f64 / ids.len() as f64
    );
    let began = Instant::now();
    storm.0.send_replace(true);
    settled.wait().await;
    println!(
        "| all connections end at once; all devices are welcomed again after | {:.1} s |",
        began.elapsed().as_secs_f64()
    );
    let began = Instant::now();
    let (mut times, mut attempts, mut resumed) = (Vec::new(), 0, 0);
    for task in tasks {
        let (took, tried, again) = task.await.expect("a device");
        times.push(took);
        attempts += tried;
        resumed += u64::from(again);
    }
    times.sort();
    println!(
        "| p50; p99 of a device | {:.1} s; {:.1} s |",
        times[times.len() / 2].as_secs_f64(),
        times[times.len() * 99 / 100].as_secs_f64()
    );
    println!(
        "| attempts for each return; returns with a ticket | {:.2}; {resumed} |",
        attempts as f64 / ids.len() as f64 - 1.0
    );
    println!(
        "| one message of each committed after; lost | {:.1} s; 0 |",
        began.elapsed().as_secs_f64()
    );
    println!(
        "| memory of the cloud at the end | {:.0} MB |",
        memory_kb(cloud) as f64 / 1000.0
    );
}

struct Device {
    id: DeviceId,
    port: u16,
    tls: TlsConnector,
    stream: StreamId,
    boot: BootId,
    attempts: u64,
    failed: u32,
    random: u64,
    resumed: bool,
}

impl Device {
    fn new(id: DeviceId, seed: u64, port: u16, roots: Arc<RootCertStore>) -> Self {
        let mut config =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("TLS")
                .with_root_certificates(roots)
                .with_no_client_auth();
        config.alpn_protocols = vec![b"mqtt".to_vec()];
        // A device has tickets of its own.
        config.resumption = Resumption::in_memory_sessions(2);
        Self {
            id,
            port,
            tls: TlsConnector::from(Arc::new(config)),
            stream: StreamId::random(),
            boot: BootId::random(),
            attempts: 0,
            failed: 0,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            resumed: false,
        }
    }

    /// Connects until the cloud has welcomed the device.
    async fn back(&mut self) -> TlsStream<TcpStream> {
        loop {
            let (first_ms, limit_ms) = if self.failed >= 100 {
                (30_000, 300_000)
            } else {
                (200, 30_000)
            };
            let nominal: u64 = (first_ms << (self.failed % 100).min(12)).min(limit_ms);
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            tokio::time::sleep(Duration::from_millis(self.random % (nominal + 1))).await;
            self.attempts += 1;
            match tokio::time::timeout(ATTEMPT, self.attempt()).await {
                Ok(Ok(stream)) => {
                    self.failed = 0;
                    return stream;
                }
                // CONNACK 3: the cloud has no room.
                Ok(Err(error)) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                    self.failed = self.failed.max(99) + 1
                }
                _ => self.failed += 1,
            }
        }
    }

    async fn attempt(&mut self) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        let name = "localhost".try_into().expect("a name");
        let mut stream = self.tls.connect(name, stream).await?;
        self.resumed = stream.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        let id = self.id.to_string();
        let mut body = b"\0\x04MQTT\x04\xc2\x01\x2c".to_vec();
        for text in [&id, &id, &SECRET.to_owned()] {
            put_text(&mut body, text);
        }
        stream.write_all(&packet(0x10, &body)).await?;
        let (kind, ack) = read_packet(&mut stream).await?;
        match (kind, ack.get(1)) {
            (0x20, Some(0)) => {}
            (0x20, Some(3)) => return Err(std::io::ErrorKind::ResourceBusy.into()),
            other => panic!("{other:?}"),
        }
        let mut subscribe = vec![0, 1];
        put_text(&mut subscribe, &Topic::Down(self.id).to_string());
        subscribe.push(1);
        stream.write_all(&packet(0x82, &subscribe)).await?;
        let hello = Hello {
            boot: self.boot,
            conn: ConnId::random(),
            versions: Versions {
                agent: "storm".into(),
                runtime: "none".into(),
                firmware_abi: "none".into(),
            },
            capabilities: Vec::new(),
            directive_counter: 0,
            streams: vec![StreamInfo {
                stream: self.stream,
                class: StreamClass::History,
                oldest: 1,
                next: 1,
            }],
        };
        stream
            .write_all(&self.publish(2, &Up::Hello(hello).encode()))
            .await?;
        self.until(&mut stream, |down| matches!(down, Down::Welcome(_)))
            .await?;
        Ok(stream)
    }

    fn publish(&self, id: u16, payload: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        put_text(&mut body, &Topic::Up(self.id).to_string());
        body.extend(id.to_be_bytes());
        body.extend(payload);
        packet(0x32, &body)
    }

    /// Reads until a message of the cloud; confirms each.
    async fn until(
        &self,
        stream: &mut TlsStream<TcpStream>,
        wanted: impl Fn(&Down) -> bool,
    ) -> std::io::Result<()> {
        loop {
            let (kind, body) = read_packet(stream).await?;
            if kind & 0xf0 != 0x30 {
                continue;
            }
            let topic = usize::from(u16::from_be_bytes([body[0], body[1]])) + 2;
            let quality = usize::from(kind & 6 != 0) * 2;
            if quality != 0 {
                stream.write_all(&packet(0x40, &body[topic..topic + 2])).await?;
            }
            if Down::decode(&body[topic + quality..]).is_ok_and(|down| wanted(&down)) {
                return Ok(());
            }
        }
    }

    /// Sends one message and waits until it is committed.
    async fn send(&self, stream: &mut TlsStream<TcpStream>) {
        let payload = RawValue::from_string("{\"n\":1}".to_owned()).expect("json");
        let message = Message {
            kind: MessageKind::UserDefined,
            at_ms: 0,
            at_error_ms: None,
            channel: None,
            payload: &payload,
            firmware: None,
        };
        let record = Record::Message(message).encode();
        let batch = encode_batch(self.stream, 1, [&record[..]]);
        stream.write_all(&self.publish(3, &batch)).await.expect("sent");
        self.until(stream, |down| matches!(down, Down::Ack(_)))
            .await
            .expect("committed");
    }
}

fn put_text(body: &mut Vec<u8>, text: &str) {
    body.extend(u16::try_from(text.len()).expect("short").to_be_bytes());
    body.extend(text.as_bytes());
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let (mut packet, mut rest) = (vec![kind], body.len());
    loop {
        let byte = u8::try_from(rest % 128).expect("small");
        rest /= 128;
        packet.push(if rest == 0 { byte } else { byte | 0x80 });
        if rest == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

async fn read_packet(stream: &mut TlsStream<TcpStream>) -> std::io::Result<(u8, Vec<u8>)> {
    let kind = stream.read_u8().await?;
    let (mut length, mut shift) = (0, 0);
    loop {
        let byte = stream.read_u8().await?;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok((kind, body))
}
