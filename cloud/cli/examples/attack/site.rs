//! The cloud under attack, and the process that attacks it.

use std::fs::File;
use std::io::{BufRead, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tempfile::TempDir;

/// A project with a device, and the address of its cloud.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Tenant {
    pub(crate) url: String,
    pub(crate) mqtt: SocketAddr,
    pub(crate) token: String,
    pub(crate) project: String,
    pub(crate) device: String,
    pub(crate) secret: String,
}

/// A running cloud in a folder of its own.
pub(crate) struct Site {
    folder: TempDir,
    process: Child,
    url: String,
    mqtt: SocketAddr,
}

/// A process that has prepared an attack.
pub(crate) struct Attacker {
    process: Child,
}

fn program() -> PathBuf {
    let own = std::env::current_exe().expect("a program knows its path");
    let program = own
        .parent()
        .and_then(Path::parent)
        .expect("examples are in a folder of the target folder")
        .join("iottly");
    assert!(
        program.exists(),
        "{} is missing: cargo build --release --workspace",
        program.display()
    );
    program
}

fn first_line(process: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(process.stdout.take().expect("piped"))
        .read_line(&mut line)
        .expect("the process speaks");
    line
}

impl Site {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = File::create(folder.path().join("log")).expect("a log");
        // The usual limit of open files, which connections of strangers could use up.
        let mut command = Command::new("sh");
        command
            .args(["-c", "ulimit -n 1024; exec \"$0\" \"$@\""])
            .arg(program());
        command.args([
            "serve",
            "--json",
            "--http",
            "127.0.0.1:0",
            "--mqtt",
            "127.0.0.1:0",
            "--webhook-allow",
            "127.0.0.0/8",
        ]);
        command
            .arg("--data")
            .arg(folder.path().join("cloud"))
            .stdout(Stdio::piped())
            .stderr(log);
        let mut process = command.spawn().expect("the cloud starts");
        let line = first_line(&mut process);
        let ready: Value = serde_json::from_str(&line).expect("the cloud is ready");
        let url = ready["http"].as_str().expect("an address").to_owned();
        let mqtt = ready["mqtt"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .expect("an address");
        Self {
            folder,
            process,
            url,
            mqtt,
        }
    }

    /// Creates a project of this name with one device.
    pub(crate) fn tenant(&self, name: &str) -> Tenant {
        let out = self.folder.path().join(name);
        let mut command = Command::new(program());
        command
            .args(["provision", "--project", name, "--device", name, "--data"])
            .arg(self.folder.path().join("cloud"));
        let output = command.arg("--out").arg(&out).output().expect("iottly starts");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let made: Value = serde_json::from_slice(&output.stdout).expect("json");
        let field = |name: &str| made[name].as_str().expect("text").to_owned();
        let config = std::fs::read_to_string(out.join("agent.toml")).expect("the device's configuration");
        let secret = config
            .lines()
            .find_map(|line| line.strip_prefix("secret = "))
            .expect("a secret")
            .trim_matches('"')
            .to_owned();
        let (url, mqtt) = (self.url.clone(), self.mqtt);
        Tenant {
            url,
            mqtt,
            token: field("token"),
            project: field("project_id"),
            device: field("device_id"),
            secret,
        }
    }

    /// Starts the process of an attack and waits until it is prepared.
    pub(crate) fn attacker(&self, name: &str) -> Attacker {
        let context = serde_json::to_string(&self.tenant("attacker")).expect("text");
        let own = std::env::current_exe().expect("a program knows its path");
        let mut command = Command::new("nice");
        command
            .args(["-n", "19"])
            .arg(own)
            .args(["--attacker", name, &context]);
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the attacker starts");
        let line = first_line(&mut process);
        assert_eq!(line.trim(), "ready", "the attack {name} could not be prepared");
        Attacker { process }
    }

    /// Returns the resident memory of the cloud, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("the cloud runs");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("the kernel tells it");
        line.trim()
            .trim_end_matches(" kB")
            .parse::<u64>()
            .expect("a number")
            << 10
    }

    /// Returns the length of the cloud's log, in bytes.
    pub(crate) fn log_bytes(&self) -> u64 {
        std::fs::metadata(self.folder.path().join("log")).map_or(0, |log| log.len())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Attacker {
    pub(crate) fn begin(&mut self) {
        self.process
            .stdin
            .as_mut()
            .expect("piped")
            .write_all(b"go\n")
            .expect("the attacker waits");
    }

    pub(crate) fn end(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        self.stop();
    }
}
