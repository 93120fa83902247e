//! A cloud and agents as separate processes, with fixed ports so that either side can be restarted.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::{Api, Process, agent_program, free_port, iottly, program, secrets};

/// Data folder and ports of a cloud, over restarts of its process.
pub struct CloudHome {
    /// Folder with the cloud's data and its devices' folders.
    pub dir: TempDir,
    data: PathBuf,
    /// Address of a PostgreSQL database in place of a file in the folder.
    server: Option<String>,
    http: u16,
    mqtt: u16,
}

/// Folder of a device, with a configuration made by `iottly provision`.
pub struct DeviceHome {
    /// Id of the device.
    pub id: String,
    /// Folder of the agent's files.
    pub path: PathBuf,
    /// Client for the device's project.
    pub api: Api,
}

impl CloudHome {
    /// Creates an empty folder and takes two ports.
    #[expect(clippy::new_without_default, reason = "a default has no side effects")]
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("folder");
        Self {
            data: dir.path().join("cloud"),
            server: None,
            dir,
            http: free_port(),
            mqtt: free_port(),
        }
    }

    fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// Sets a PostgreSQL database for the next commands; without one the database is a file in the data folder.
    pub fn on_server(&mut self, url: Option<String>) {
        self.server = url;
    }

    /// Returns the options of the database.
    fn server(&self) -> Vec<&str> {
        let url = self.server.as_deref();
        url.map_or_else(Vec::new, |url| vec!["--database-url", url])
    }

    /// Sets another data folder for the next start, as if the cloud had moved to another machine with the same address.
    pub fn move_to(&mut self, data: PathBuf) {
        self.data = data;
    }

    /// Enrols a board with a pair code over TLS (the cloud listens with `--listen`); its firmware is the script `main_js`.
    pub fn enrolled_device(&self, api: &Api, name: &str, main_js: &str) -> DeviceHome {
        let (code, out, errors) = api.iottly(
            self.dir.path(),
            &["device", "enroll", "--name", name, "--output", "json"],
        );
        assert_eq!(code, Some(0), "{errors}");
        let made: Value = serde_json::from_str(&out).expect("json");
        let field = |name: &str| made[name].as_str().expect("field").to_owned();
        let path = self.dir.path().join(name);
        let done = Command::new(agent_program())
            .args(["enroll", &field("url"), "--data"])
            .arg(&path)
            .output()
            .expect("iottly-agent starts");
        let errors = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{errors}");
        secrets::remember_identity(&path);
        secrets::check("what iottly-agent enroll says", &errors);
        std::fs::write(path.join("firmware.wasm"), build(main_js)).expect("firmware");
        // Settings of the board, without a word about who it is.
        std::fs::write(path.join("agent.toml"), "firmware = \"firmware.wasm\"\n").expect("settings");
        DeviceHome {
            id: field("device_id"),
            path,
            api: api.clone(),
        }
    }

    /// Returns the path of the cloud's SQLite database.
    pub fn database(&self) -> PathBuf {
        self.data().join("cloud.db")
    }

    /// Starts the cloud and waits until it is up.
    pub fn start(&self) -> Process {
        self.start_with(&[])
    }

    /// Starts the cloud with more arguments of `iottly serve`.
    pub fn start_with(&self, args: &[&str]) -> Process {
        self.start_as(args, |_| {})
    }

    /// Starts the cloud with a changed command, for example another environment.
    pub fn start_as(&self, args: &[&str], kind: impl FnOnce(&mut Command)) -> Process {
        self.start_ready(args, kind).0
    }

    /// Starts the cloud as [`Self::start_as`] does; returns what it prints when it is ready as well, such as the link for
    /// the first person.
    pub fn start_ready(&self, args: &[&str], kind: impl FnOnce(&mut Command)) -> (Process, Value) {
        let (http, mqtt) = (
            format!("127.0.0.1:{}", self.http),
            format!("127.0.0.1:{}", self.mqtt),
        );
        let mut command = Command::new(program());
        command
            .args(["serve", "--json", "--http", &http, "--mqtt", &mqtt, "--data"])
            .arg(self.data())
            .args(self.server())
            .args(args);
        kind(&mut command);
        let started = Process::start_until_ready("the cloud", &mut command);
        secrets::remember_keys(&self.data());
        started
    }

    /// Creates a device whose firmware is the script `main_js`.
    pub fn device(&self, project: &str, name: &str, main_js: &str) -> DeviceHome {
        self.provision(project, name, main_js, &[])
    }

    /// Creates a device whose factory firmware is the script `main_js` and which takes releases of the cloud.
    pub fn updating_device(&self, project: &str, name: &str, main_js: &str) -> DeviceHome {
        self.provision(
            project,
            name,
            main_js,
            &["--cloud", &format!("http://127.0.0.1:{}", self.http)],
        )
    }

    fn provision(&self, project: &str, name: &str, main_js: &str, more: &[&str]) -> DeviceHome {
        let path = self.dir.path().join(name);
        let broker = format!("127.0.0.1:{}", self.mqtt);
        let text = |path: &Path| path.to_str().expect("utf-8 path").to_owned();
        let (data, out) = (text(&self.data()), text(&path));
        let args = [
            "provision",
            "--data",
            &data,
            "--project",
            project,
            "--device",
            name,
            "--broker",
            &broker,
            "--out",
            &out,
        ];
        let (code, stdout, stderr) = iottly(&[&args[..], &self.server(), more].concat(), "");
        assert_eq!(code, Some(0), "{stderr}");
        let made: Value = serde_json::from_str(&stdout).expect("json");
        secrets::remember_device(&path);
        std::fs::write(path.join("firmware.wasm"), build(main_js)).expect("firmware");
        let field = |name: &str| made[name].as_str().expect("field").to_owned();
        let api = Api::new(
            &format!("http://127.0.0.1:{}", self.http),
            &field("token"),
            &field("project_id"),
        );
        DeviceHome {
            id: field("device_id"),
            path,
            api,
        }
    }
}

impl DeviceHome {
    /// Starts the device's agent.
    pub fn start(&self) -> Process {
        self.start_as(|_| {})
    }

    /// Starts the device's agent with a changed command, for example another environment.
    pub fn start_as(&self, kind: impl FnOnce(&mut Command)) -> Process {
        Process::start("the agent", &mut self.command(kind))
    }

    /// Starts the device's agent with a changed command; its log is a new file.
    pub fn start_with_log(&self, kind: impl FnOnce(&mut Command), log: &Path) -> Process {
        Process::start_with_log("the agent", &mut self.command(kind), log)
    }

    fn command(&self, kind: impl FnOnce(&mut Command)) -> Command {
        let mut command = Command::new(agent_program());
        command
            .arg("run")
            .arg("--data")
            .arg(&self.path)
            .env("IOTTLY_LOG", "warn");
        kind(&mut command);
        command
    }

    /// Returns the whole history of the device, newest first.
    pub fn history(&self) -> Vec<Value> {
        self.api.history(&self.id)
    }
}

/// Builds a script.
pub fn build(main_js: &str) -> Vec<u8> {
    iottly_builder::Source::script(main_js)
        .component()
        .expect("the script is one")
}
