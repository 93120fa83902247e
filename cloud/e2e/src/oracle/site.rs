//! The cloud's side: a real `iottly serve` in a folder of its own, and faults in it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};
use tokio::runtime::Handle;

use super::PATIENCE;

/// Folder and ports of a cloud, and its process while it runs.
pub struct Site {
    program: PathBuf,
    folder: PathBuf,
    http: u16,
    /// Port of the broker.
    pub mqtt: u16,
    process: Option<Child>,
    rest: ureq::Agent,
}

/// A device as `iottly provision` made it.
#[derive(Debug, Clone)]
pub struct Device {
    /// Id of the device.
    pub id: String,
    /// Folder of the agent's files.
    pub folder: PathBuf,
    /// Id of the device's project.
    pub project: String,
    /// Token of the project.
    pub token: String,
}

impl Site {
    /// Creates a site that does not run yet; `ports` are those of HTTP and MQTT.
    pub fn new(program: &Path, folder: &Path, ports: [u16; 2]) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(10 * PATIENCE))
            .build();
        let (program, folder) = (program.to_owned(), folder.to_owned());
        Self {
            program,
            folder,
            http: ports[0],
            mqtt: ports[1],
            process: None,
            rest: config.into(),
        }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("cloud")
    }

    /// Starts the cloud and waits until it is up.
    pub fn start(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("cloud.log"))
            .expect("a log");
        // A process that exceeds its limit of file size is killed unless it was started with that signal ignored.
        let mut command = Command::new("sh");
        command
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
            .arg(&self.program)
            .args(["serve", "--json"]);
        command
            .arg("--http")
            .arg(format!("127.0.0.1:{}", self.http))
            .arg("--mqtt")
            .arg(format!("127.0.0.1:{}", self.mqtt));
        command
            .arg("--data")
            .arg(self.data())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut process = command.spawn().expect("the cloud starts");
        let mut line = String::new();
        let mut out = BufReader::new(process.stdout.take().expect("piped"));
        out.read_line(&mut line).expect("the cloud speaks");
        assert!(
            line.starts_with('{'),
            "the cloud did not start, see {}: {line:?}",
            self.folder.join("cloud.log").display()
        );
        self.process = Some(process);
    }

    fn pid(&self) -> Pid {
        Pid::from_child(self.process.as_ref().expect("the cloud runs"))
    }

    /// Sends SIGKILL, as if the power failed.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().expect("the cloud runs");
        process.kill().expect("kill");
        process.wait().expect("wait");
    }

    /// Stops the cloud cleanly.
    pub fn stop(&mut self) {
        kill_process(self.pid(), Signal::TERM).expect("signal");
        let status = self.process.take().expect("the cloud runs").wait().expect("wait");
        assert!(status.success(), "the cloud ended with {status}");
    }

    /// Stops the growth of every file of the cloud for `time`.
    pub(crate) fn fill_disk(&self, time: Duration) {
        let whole = getrlimit(Resource::Fsize);
        prlimit(
            Some(self.pid()),
            Resource::Fsize,
            Rlimit {
                current: Some(1),
                ..whole
            },
        )
        .expect("limit");
        std::thread::sleep(time);
        prlimit(Some(self.pid()), Resource::Fsize, whole).expect("no limit");
    }

    /// Holds the database's write lock for `time`.
    pub(crate) fn lock_database(&self, runtime: &Handle, time: Duration) {
        let options = SqliteConnectOptions::new()
            .filename(self.data().join("cloud.db"))
            .busy_timeout(PATIENCE);
        runtime.block_on(async {
            let mut other = SqliteConnection::connect_with(&options)
                .await
                .expect("a second connection");
            sqlx::query("BEGIN IMMEDIATE")
                .execute(&mut other)
                .await
                .expect("the lock");
            tokio::time::sleep(time).await;
            sqlx::query("ROLLBACK")
                .execute(&mut other)
                .await
                .expect("the lock is given back");
            other.close().await.expect("closed");
        });
    }

    /// Creates a device whose agent connects to the broker at `broker`.
    pub fn provision(&self, name: &str, broker: &str) -> Device {
        let folder = self.folder.join(name);
        let mut command = Command::new(&self.program);
        command
            .args([
                "provision",
                "--project",
                "oracle",
                "--device",
                name,
                "--broker",
                broker,
                "--data",
            ])
            .arg(self.data());
        let output = command.arg("--out").arg(&folder).output().expect("iottly starts");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let made: Value = serde_json::from_slice(&output.stdout).expect("json");
        let field = |name: &str| made[name].as_str().expect("text").to_owned();
        Device {
            id: field("device_id"),
            folder,
            project: field("project_id"),
            token: field("token"),
        }
    }

    fn url(&self, device: &Device, path: &str) -> String {
        format!(
            "http://127.0.0.1:{}/v1.0/project/{}/device/{}/{path}",
            self.http, device.project, device.id
        )
    }

    /// Returns status and body; none without an answer.
    pub(crate) fn get(&self, device: &Device, path: &str) -> Option<(u16, Value)> {
        let request = self
            .rest
            .get(self.url(device, path))
            .header("Authorization", format!("Bearer {}", device.token));
        let mut response = request.call().ok()?;
        let status = response.status().as_u16();
        Some((
            status,
            serde_json::from_str(&response.body_mut().read_to_string().ok()?).ok()?,
        ))
    }

    /// Returns status and body; none without an answer, although the request may have been served.
    pub(crate) fn post(&self, device: &Device, path: &str, body: &Value) -> Option<(u16, Value)> {
        let request = self
            .rest
            .post(self.url(device, path))
            .header("Authorization", format!("Bearer {}", device.token));
        let mut response = request
            .header("Content-Type", "application/json")
            .send(body.to_string())
            .ok()?;
        let status = response.status().as_u16();
        Some((
            status,
            serde_json::from_str(&response.body_mut().read_to_string().ok()?).ok()?,
        ))
    }

    /// Returns the whole history of a device, one entry a line.
    pub fn export(&self, device: &Device) -> impl Read + use<> {
        let request = self.rest.get(self.url(device, "messages/export"));
        let response = request
            .header("Authorization", format!("Bearer {}", device.token))
            .call()
            .expect("an answer");
        assert_eq!(response.status().as_u16(), 200);
        response.into_body().into_reader()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
