//! A real `iottly serve` and strangers: they exhaust neither its descriptors nor its log, and do not read its
//! files.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use iottly_e2e::{Api, PATIENCE, Process, alone, beside_others, iottly, program, secrets, wait_for};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::Value;
use tempfile::TempDir;

/// Largest log that strangers may cause, in bytes.
const QUIET_LOG: u64 = 100_000;

/// A cloud with a limit of open files, and a device that may log in.
pub(crate) struct Cloud {
    pub(crate) process: Process,
    http: SocketAddr,
    pub(crate) mqtt: SocketAddr,
    metrics: Option<SocketAddr>,
    pub(crate) device: String,
    pub(crate) secret: String,
    pub(crate) api: Api,
    pub(crate) dir: TempDir,
}

impl Cloud {
    pub(crate) fn start(files: u32, more: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let text = |name: &str| dir.path().join(name).to_str().expect("utf-8").to_owned();
        let (data, out) = (text("cloud"), text("device"));
        let args = [
            "provision",
            "--data",
            &data,
            "--project",
            "p",
            "--device",
            "d",
            "--broker",
            "127.0.0.1:1",
            "--out",
            &out,
        ];
        let (code, stdout, stderr) = iottly(&args, "");
        assert_eq!(code, Some(0), "{stderr}");
        let made: Value = serde_json::from_str(&stdout).expect("json");
        let settings = std::fs::read_to_string(dir.path().join("device/agent.toml")).expect("settings");
        let secret = settings
            .lines()
            .find_map(|line| line.strip_prefix("secret = "))
            .expect("a secret")
            .trim_matches('"');
        secrets::remember(secret);
        let mut command = Command::new("sh");
        // Soft and hard limit, so that the program cannot raise it.
        command.args([
            "-c",
            r#"ulimit -n "$0"; exec "$@""#,
            &files.to_string(),
            program(),
            "serve",
            "--json",
        ]);
        command
            .args(["--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--data", &data])
            .args(more);
        let log = dir.path().join("log");
        let (process, ready) = Process::start_until_ready_with_log("the cloud", &mut command, &log);
        let address = |name: &str| -> Option<SocketAddr> {
            let text = ready[name].as_str()?.trim_end_matches("/metrics");
            Some(text.rsplit('/').next()?.parse().expect("an address"))
        };
        let (http, mqtt) = (
            address("http").expect("an address"),
            address("mqtt").expect("an address"),
        );
        let field = |name: &str| made[name].as_str().expect("a field").to_owned();
        let device = field("device_id");
        let api = Api::new(&format!("http://{http}"), &field("token"), &field("project_id"));
        Self {
            http,
            mqtt,
            metrics: address("metrics"),
            device,
            secret: secret.to_owned(),
            api,
            process,
            dir,
        }
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.path().join("log")).expect("the log")).into_owned()
    }

    /// Checks that the device can log in and that the database answers.
    fn serves(&self) -> Result<(), String> {
        let answer = exchange(
            self.mqtt,
            &connect_packet(&self.device, &self.device, &self.secret),
            4,
        );
        if answer != [0x20, 2, 0, 0] {
            return Err(format!("CONNACK {answer:?}"));
        }
        let answer = exchange(
            self.http,
            b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            usize::MAX,
        );
        let answer = String::from_utf8_lossy(&answer).into_owned();
        if answer.starts_with("HTTP/1.1 200") {
            Ok(())
        } else {
            Err(format!("HTTP {answer:?}"))
        }
    }

    /// Returns the processor time of the cloud, in clock ticks (a hundredth of a second each).
    fn ticks(&self) -> u64 {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).expect("the process runs");
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .expect("fields")
            .split_whitespace()
            .collect();
        fields[11..=12]
            .iter()
            .map(|field| field.parse::<u64>().expect("a number"))
            .sum()
    }
}

fn exchange(address: SocketAddr, request: &[u8], wanted: usize) -> Vec<u8> {
    let mut answer = Vec::new();
    let mut talk = || -> std::io::Result<()> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(10))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(request)?;
        let mut buffer = [0; 1024];
        while answer.len() < wanted {
            match stream.read(&mut buffer)? {
                0 => break,
                count => answer.extend_from_slice(&buffer[..count]),
            }
        }
        Ok(())
    };
    // What was read before an error is the answer.
    let _ = talk();
    answer
}

pub(crate) fn connect_packet(client_id: &str, user: &str, secret: &str) -> Vec<u8> {
    let text = |text: &str| {
        [
            &u16::try_from(text.len()).expect("short").to_be_bytes()[..],
            text.as_bytes(),
        ]
        .concat()
    };
    let body = [
        &text("MQTT")[..],
        &[4, 0xc2, 0, 30],
        &text(client_id),
        &text(user),
        &text(secret),
    ]
    .concat();
    let (mut packet, mut rest) = (vec![0x10], body.len());
    while rest > 0x7f {
        packet.push(u8::try_from(rest & 0x7f).expect("seven bits") | 0x80);
        rest >>= 7;
    }
    packet.push(u8::try_from(rest).expect("seven bits"));
    [packet, body].concat()
}

/// Opens silent connections; raises the test's own limit of open files for them.
fn silent(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("raised");
    (0..count)
        .map(|_| TcpStream::connect_timeout(&address, Duration::from_secs(10)).expect("connected"))
        .collect()
}

#[test]
fn more_idle_connections_than_descriptors_leave_the_cloud_to_others() {
    // Measures processor time.
    let _turn = alone();
    for (files, count) in [(1024, 1050), (128, 200)] {
        let cloud = Cloud::start(files, &[]);
        assert_eq!(cloud.serves(), Ok(()), "{files}: undisturbed");
        for address in [cloud.mqtt, cloud.http] {
            let (before, began) = (cloud.ticks(), Instant::now());
            let held = silent(address, count);
            let served = cloud.serves();
            assert_eq!(
                served,
                Ok(()),
                "{files} files, {count} idle connections: {}",
                cloud.log()
            );
            std::thread::sleep(Duration::from_secs(3));
            assert_eq!(
                cloud.serves(),
                Ok(()),
                "{files} files, {count} idle connections, 3 s later"
            );
            let (used, passed) = (cloud.ticks() - before, began.elapsed().as_millis() as u64 / 10);
            assert!(
                used < passed / 2 + 50,
                "{used} ticks of processor time in {passed}: something spins"
            );
            drop(held);
        }
        let both = (silent(cloud.mqtt, count), silent(cloud.http, count));
        assert_eq!(
            cloud.serves(),
            Ok(()),
            "{files} files, {count} idle connections to both"
        );
        drop(both);
        assert!(
            cloud.log().len() as u64 <= QUIET_LOG,
            "{} bytes of log",
            cloud.log().len()
        );
        cloud.process.terminate();
    }
}

#[test]
fn a_limit_of_open_files_that_is_too_low_is_named() {
    let _turn = beside_others();
    let dir = tempfile::tempdir().expect("a folder");
    let mut command = Command::new("sh");
    command.args([
        "-c",
        r#"ulimit -n 60; exec "$@""#,
        "sh",
        program(),
        "serve",
        "--http",
        "127.0.0.1:0",
        "--mqtt",
        "127.0.0.1:0",
    ]);
    let output = command.arg("--data").arg(dir.path()).output().expect("runs");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(1) && stderr.contains("open files is 60"),
        "{stderr}"
    );
}

#[test]
fn strangers_neither_fill_nor_forge_the_log() {
    let _turn = beside_others();
    let cloud = Cloud::start(1024, &[]);
    let long = "x".repeat(60_000);
    let forged = "x\n2026-11-26T00:00:00.000000Z ERROR iottly_cloud: forged line\r\u{1b}[31mred";
    let unknown = "00000000-0000-4000-8000-000000000000";
    for _ in 0..100 {
        for id in [
            long.as_str(),
            forged,
            &format!("cert:{forged}"),
            unknown,
            &forged.repeat(40),
        ] {
            exchange(cloud.mqtt, &connect_packet(id, id, "wrong"), 4);
        }
        exchange(
            cloud.http,
            format!("GET /{forged} HTTP/1.1\r\n\r\n").as_bytes(),
            1,
        );
    }
    assert_eq!(cloud.serves(), Ok(()));
    let log = cloud.log();
    assert!(log.len() as u64 <= QUIET_LOG, "{} bytes of log", log.len());
    assert!(
        log.contains("refused an MQTT login"),
        "a stranger's attempt is logged: {log}"
    );
    assert!(
        !log.lines()
            .any(|line| line.starts_with("2026-11-26T00:00:00.000000Z ERROR")),
        "{log}"
    );
    assert!(
        !log.contains('\u{1b}') && log.lines().all(|line| line.len() < 2000),
        "{log}"
    );
    cloud.process.terminate();
}

#[test]
fn the_log_is_safe_at_every_level() {
    let _turn = beside_others();
    for level in ["info", "debug"] {
        let dir = tempfile::tempdir().expect("a folder");
        let log = dir.path().join("log");
        let mut command = Command::new(program());
        command
            .args([
                "serve",
                "--json",
                "--http",
                "127.0.0.1:0",
                "--mqtt",
                "127.0.0.1:0",
                "--data",
            ])
            .arg(dir.path().join("cloud"));
        command.env("IOTTLY_LOG", level);
        let (process, ready) = Process::start_until_ready_with_log("the cloud", &mut command, &log);
        let mqtt: SocketAddr = ready["mqtt"]
            .as_str()
            .expect("an address")
            .parse()
            .expect("an address");
        let id = "x\n2026 ERROR iottly_cloud: forged line\u{1b}[31m".repeat(20);
        exchange(mqtt, &connect_packet(&id, &id, "wrong"), 4);
        let text = wait_for("the log to name the client", || {
            let text = String::from_utf8_lossy(&std::fs::read(&log).expect("the log")).into_owned();
            text.contains("forged line").then_some(text)
        });
        assert!(
            !text.contains('\u{1b}') && !text.lines().any(|line| line.starts_with("2026 ERROR")),
            "{text}"
        );
        assert!(text.lines().all(|line| line.len() < 2000), "{text}");
        process.terminate();
    }
}

fn mode(path: &Path) -> u32 {
    path.metadata()
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .permissions()
        .mode()
        & 0o777
}

#[test]
fn what_the_cloud_writes_is_for_its_user_alone() {
    let _turn = beside_others();
    let cloud = Cloud::start(1024, &[]);
    let (data, backup) = (cloud.dir.path().join("cloud"), cloud.dir.path().join("backup.db"));
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).expect("opened");
    let (code, _, stderr) = iottly(
        &[
            "backup",
            backup.to_str().expect("utf-8"),
            "--data",
            data.to_str().expect("utf-8"),
        ],
        "",
    );
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(mode(&backup), 0o600);
    cloud.process.terminate();
    std::fs::set_permissions(data.join("cloud.db"), std::fs::Permissions::from_mode(0o644)).expect("opened");
    let mut command = Command::new("sh");
    command.args([
        "-c",
        r#"umask 022; exec "$@""#,
        "sh",
        program(),
        "serve",
        "--json",
        "--http",
        "127.0.0.1:0",
        "--mqtt",
        "127.0.0.1:0",
    ]);
    let (process, _) = Process::start_until_ready("the cloud", command.arg("--data").arg(&data));
    assert_eq!(mode(&data), 0o700);
    for entry in std::fs::read_dir(&data).expect("listed") {
        let entry = entry.expect("an entry");
        assert_eq!(mode(&entry.path()) & 0o077, 0, "{}", entry.path().display());
    }
    assert_eq!(mode(&data.join("cloud.db-wal")), 0o600);
    process.terminate();
}

#[test]
fn metrics_have_an_address_of_their_own_and_hangup_ends_nothing() {
    let _turn = beside_others();
    let cloud = Cloud::start(1024, &["--metrics", "127.0.0.1:0"]);
    let metrics = cloud.metrics.expect("an address of the metrics");
    let get = |address, path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        String::from_utf8_lossy(&exchange(address, request.as_bytes(), usize::MAX)).into_owned()
    };
    assert!(get(cloud.http, "/metrics").starts_with("HTTP/1.1 404"));
    assert!(get(metrics, "/metrics").contains("iottly_process_memory_bytes"));
    for _ in 0..3 {
        cloud.process.hang_up();
    }
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(cloud.serves(), Ok(()));
    cloud.process.terminate();
}

#[test]
fn a_connection_that_waits_is_closed() {
    let _turn = beside_others();
    let cloud = Cloud::start(1024, &[]);
    let began = Instant::now();
    for mut stream in [silent(cloud.http, 1), silent(cloud.mqtt, 1)]
        .into_iter()
        .flatten()
    {
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0);
    }
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    cloud.process.terminate();
}
