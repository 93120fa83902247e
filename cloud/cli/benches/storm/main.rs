//! A fleet that returns at one moment: devices over TLS whose connections all end at once, on a server with one core.
//!
//! `cargo bench -p iottly --bench storm -- [--devices 10000] [--mosquitto]`. The cloud is a real `iottly serve` on core 0;
//! the devices are a process of their own on core 1. They do what the agent does: TLS with a ticket of the connection
//! before, login, subscription, hello, and pauses with full jitter between attempts. A device is back when the cloud has
//! welcomed it, and at the end each sends one message and waits until it is committed. Meanwhile a few devices that stay
//! connected get commands. With `--mosquitto` the same devices then return to mosquitto, which has neither hello nor database.
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]
#![allow(clippy::unwrap_used, reason = "a benchmark that fails may panic")]

mod device;
mod generator;
mod wire;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use iottly_cloud::database_path;
use iottly_core::command::seeded_definitions;
use iottly_core::model::{Project, Scope};
use iottly_e2e::{Api, free_port, program};
use iottly_protocol::{DeviceId, GroupId, ProjectId};
use iottly_store as store;
use iottly_store::{Database, NewDevice};
use iottly_web::auth;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use device::{SECRET, Server};
use generator::{Task, micros};

const DEVICES: usize = 10_000;
/// Devices that stay connected and get commands.
const STEADY: usize = 20;
/// Fewest descriptors with which the benchmark starts.
const DESCRIPTORS: u64 = 12_000;
/// Interval between two commands.
const COMMAND_EVERY: Duration = Duration::from_millis(200);
/// First argument of the process of the devices.
const GENERATOR: &str = "generator";

fn main() {
    let args: Vec<String> = std::env::args().collect();
    // `cargo test --benches` starts benchmarks with `--test`: it must not measure then.
    if args.iter().any(|arg| arg == "--test") {
        return;
    }
    raise_descriptors();
    if let [_, word, server, port, authority, ids] = &args[..]
        && word == GENERATOR
    {
        let is_cloud = server == "cloud";
        generator::run(&Task {
            server: if is_cloud { Server::Cloud } else { Server::Broker },
            port: port.parse().expect("a port"),
            authority: Path::new(authority),
            ids: Path::new(ids),
            steady: if is_cloud { STEADY } else { 0 },
        });
        return;
    }
    let count = args
        .iter()
        .skip_while(|arg| *arg != "--devices")
        .nth(1)
        .map_or(DEVICES, |text| text.parse().expect("a number"));
    let folder = tempfile::Builder::new()
        .prefix("iottly-bench-")
        .tempdir_in(".")
        .expect("folder");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let site = runtime.block_on(Site::create(folder.path(), count));
    println!("load average at the start: {}", load());
    println!("| what | result |\n|---|---|");
    site.cloud(count);
    if args.iter().any(|arg| arg == "--mosquitto") {
        site.mosquitto(count);
    }
    println!("load average at the end: {}", load());
}

fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").expect("the load");
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(1 << 20);
    assert!(
        most >= DESCRIPTORS,
        "the limit of open files is {most}, and {DESCRIPTORS} are needed"
    );
    let raised = Rlimit {
        current: Some(most),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("raised");
}

/// Data folder with a project, its devices and a token.
struct Site {
    folder: PathBuf,
    project: ProjectId,
    token: String,
    steady: Vec<DeviceId>,
}

impl Site {
    async fn create(folder: &Path, count: usize) -> Self {
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
        let token = auth::create_token(store.as_ref(), project, "storm")
            .await
            .expect("a token");
        let ids: Vec<_> = (0..count + STEADY).map(|_| DeviceId::random()).collect();
        for (n, device) in ids.iter().enumerate() {
            let device = NewDevice {
                scope: Scope {
                    project,
                    device: *device,
                },
                name: format!("device {n}"),
                group,
                secret: auth::hash_secret(SECRET.as_bytes()),
            };
            store.create_device(&device).await.expect("created");
        }
        let text: String = ids.iter().map(|id| format!("{id}\n")).collect();
        std::fs::write(folder.join("ids"), text).expect("written");
        let text: String = ids[STEADY..].iter().map(|id| format!("{id}\n")).collect();
        std::fs::write(folder.join("storm-ids"), text).expect("written");
        Self {
            folder: folder.to_owned(),
            project,
            token,
            steady: ids[..STEADY].to_vec(),
        }
    }

    fn cloud(&self, count: usize) {
        let (listen, http) = (free_port(), free_port());
        let mut serve = Command::new("taskset");
        serve
            .args(["-c", "0", program(), "serve", "--json", "--listen"])
            .arg(format!("127.0.0.1:{listen}"))
            .arg("--http")
            .arg(format!("127.0.0.1:{http}"))
            .arg("--data")
            .arg(&self.folder)
            .env("IOTTLY_LOG", "error")
            .stdout(Stdio::piped());
        let mut process = Running::start(serve);
        process.first_line();
        let idle = process.memory_kb();
        let mut devices = Devices::start("cloud", listen, &self.folder, "ids");
        let began = Instant::now();
        devices.wait("arrived");
        println!(
            "| {count} devices arrive, spread | {:.1} s |",
            began.elapsed().as_secs_f64()
        );
        let memory = (process.memory_kb() - idle) as f64 / 1000.0 / (count + STEADY) as f64 * 1000.0;
        println!("| memory per 1,000 TLS devices | {memory:.1} MB |");
        devices.say("storm");
        let began = Instant::now();
        let api = Api::new(
            &format!("http://127.0.0.1:{http}"),
            &self.token,
            &self.project.to_string(),
        );
        let mut sent: HashMap<String, u128> = HashMap::new();
        let (mut posts, mut n) = (Vec::new(), 0);
        let settled = loop {
            let device = self.steady[n % STEADY].to_string();
            let body = json!({"cmd_type": "echo", "values": {"echo.content": format!("command {n}")}});
            let (at, before) = (micros(), Instant::now());
            let (status, answer) = api.command(&device, &body);
            assert_eq!(status, 200, "{answer}");
            posts.push((before.elapsed().as_secs_f64(), began.elapsed().as_secs_f64()));
            sent.insert(answer["id"].as_str().expect("an id").to_owned(), at);
            n += 1;
            if let Some(line) = devices.poll("settled") {
                break line;
            }
            std::thread::sleep(COMMAND_EVERY);
        };
        println!(
            "| all connections end at once; all devices are welcomed again after | {settled} s ({:.1} s seen from outside) |",
            began.elapsed().as_secs_f64()
        );
        std::thread::sleep(Duration::from_secs(1));
        let times = devices.commands(&sent);
        println!(
            "| commands to connected devices meanwhile: sent; received; p50; p99 | {}; {}; {:.2} s; {:.2} s |",
            sent.len(),
            times.len(),
            times[times.len() / 2],
            times[times.len() * 99 / 100]
        );
        posts.sort_by(|one, other| one.0.total_cmp(&other.0));
        let worst = posts.iter().rev().take(3);
        let worst: Vec<_> = worst
            .map(|(took, end)| format!("{took:.2} s at {end:.1} s"))
            .collect();
        println!(
            "| p99 of the request alone; the slowest | {:.2} s; {} |",
            posts[posts.len() * 99 / 100].0,
            worst.join(", ")
        );
        let began = Instant::now();
        devices.say("send");
        let line = devices.wait("committed");
        let [p50, p99, attempts, resumed] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        println!("| p50; p99 of a device | {p50} s; {p99} s |");
        println!(
            "| attempts beyond the first for each return; returns with a ticket | {attempts}; {resumed} |"
        );
        println!(
            "| one message of each committed after; lost | {:.1} s; 0 |",
            began.elapsed().as_secs_f64()
        );
        println!(
            "| memory of the cloud at the end | {:.0} MB |",
            process.memory_kb() as f64 / 1000.0
        );
        devices.say("end");
    }

    fn mosquitto(&self, count: usize) {
        let port = free_port();
        let tls = self.folder.join("tls");
        let config = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\nmax_connections -1\ncafile {0}/ca.pem\ncertfile {0}/server.pem\nkeyfile {0}/server.key\n",
            tls.canonicalize().expect("a folder").display()
        );
        let file = self.folder.join("mosquitto.conf");
        std::fs::write(&file, config).expect("written");
        let mut serve = Command::new("taskset");
        serve
            .args(["-c", "0", "mosquitto", "-c"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = Running::start(serve);
        std::thread::sleep(Duration::from_secs(1));
        let idle = process.memory_kb();
        let mut devices = Devices::start("mosquitto", port, &self.folder, "storm-ids");
        devices.wait("arrived");
        let memory = (process.memory_kb() - idle) as f64 / 1000.0 / count as f64 * 1000.0;
        println!("| mosquitto: memory per 1,000 TLS devices | {memory:.1} MB |");
        devices.say("storm");
        let settled = devices.wait("settled");
        println!("| mosquitto: all devices are subscribed again after | {settled} s |");
        devices.say("send");
        let line = devices.wait("committed");
        println!("| mosquitto: p50, p99, attempts beyond the first, tickets | {line} |");
        devices.say("end");
    }
}

/// A server on core 0, killed on drop.
struct Running(Child);

impl Running {
    fn start(mut command: Command) -> Self {
        Self(command.spawn().expect("taskset and the server start"))
    }

    fn first_line(&mut self) {
        let mut line = String::new();
        let mut out = BufReader::new(self.0.stdout.take().expect("piped"));
        out.read_line(&mut line).expect("a line");
        assert!(line.starts_with('{'), "{line}");
    }

    fn memory_kb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).expect("it runs");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("memory");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The process of the devices, killed on drop.
struct Devices {
    process: Child,
    to: ChildStdin,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Devices {
    fn start(server: &str, port: u16, folder: &Path, ids: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("this program"))
            .args([GENERATOR, server, &port.to_string()])
            .arg(folder.join("tls/ca.pem"))
            .arg(folder.join(ids))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the devices start");
        let (to, out) = (
            process.stdin.take().expect("piped"),
            process.stdout.take().expect("piped"),
        );
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        Self { process, to, lines }
    }

    fn say(&mut self, word: &str) {
        writeln!(self.to, "{word}").expect("the devices listen");
    }

    /// Returns the rest of the line that begins with a word, if it was printed.
    fn poll(&mut self, word: &str) -> Option<String> {
        if let Some(status) = self.process.try_wait().expect("wait") {
            panic!("the devices ended with {status}");
        }
        let lines = self.lines.lock().unwrap();
        let found = lines.iter().find_map(|line| line.strip_prefix(word));
        found.map(|rest| rest.trim().to_owned())
    }

    fn wait(&mut self, word: &str) -> String {
        loop {
            if let Some(line) = self.poll(word) {
                return line;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns the times from the requests to the devices, sorted, in seconds.
    fn commands(&self, sent: &HashMap<String, u128>) -> Vec<f64> {
        let lines = self.lines.lock().unwrap();
        let mut times: Vec<f64> = lines
            .iter()
            .filter_map(|line| {
                let (id, at) = line.strip_prefix("command ")?.split_once(' ')?;
                let at: u128 = at.parse().ok()?;
                Some(at.saturating_sub(*sent.get(id)?) as f64 / 1e6)
            })
            .collect();
        times.sort_by(f64::total_cmp);
        times
    }
}

impl Drop for Devices {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
