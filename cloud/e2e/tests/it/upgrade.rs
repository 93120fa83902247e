//! Data of earlier releases: this program opens it without a loss, and the device's queue arrives complete.
//!
//! The processes live a minute after the data was made: later, its command has expired, and so have its signatures.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use iottly_e2e::{
    Api, Date, Process, agent_program, beside_others, every_seq_exactly_once, free_port, program, secrets,
    wait_for,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::cluster;

/// The unpacked data of one release, with ports of its own.
struct Fixture {
    folder: TempDir,
    date: Date,
    source: PathBuf,
    expected: Value,
    http: u16,
    mqtt: u16,
}

impl Fixture {
    /// Returns nothing where libfaketime is not installed, except under CI.
    #[expect(
        clippy::disallowed_methods,
        reason = "the offset of the date is what this is about"
    )]
    fn unpack(version: &str) -> Option<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../.ci/fixtures")
            .join(version);
        let folder = tempfile::tempdir().expect("a folder");
        let status = Command::new("tar")
            .arg("-xJf")
            .arg(source.join("files.tar.xz"))
            .arg("-C")
            .arg(folder.path())
            .status();
        assert!(
            status.expect("tar starts").success(),
            "the archive cannot be unpacked: apt-get install xz-utils"
        );
        let date = Date::new(folder.path(), "date")?;
        let made = std::fs::metadata(folder.path().join("cloud/cloud.db"))
            .and_then(|file| file.modified())
            .expect("the time at which the data was made");
        let age = SystemTime::now()
            .duration_since(made)
            .expect("the data was made in the past");
        date.set(&format!("-{}", age.as_secs().saturating_sub(60)));
        let text = std::fs::read_to_string(source.join("expected.json")).expect("expectations");
        let expected = serde_json::from_str(&text).expect("json");
        let fixture = Self {
            folder,
            date,
            source,
            expected,
            http: free_port(),
            mqtt: free_port(),
        };
        fixture.move_ports();
        Some(fixture)
    }

    /// Configures the device with the ports of this test's cloud.
    fn move_ports(&self) {
        let path = self.folder.path().join("device/agent.toml");
        let mut text = std::fs::read_to_string(&path).expect("the device's configuration");
        for (name, port) in [("http", self.http), ("mqtt", self.mqtt)] {
            let (old, new) = (
                format!("127.0.0.1:{}", self.expected[name]),
                format!("127.0.0.1:{port}"),
            );
            assert!(text.contains(&old), "{text}");
            text = text.replace(&old, &new);
        }
        std::fs::write(&path, text).expect("the device's configuration");
    }

    fn api(&self) -> Api {
        let field = |name: &str| self.expected[name].as_str().expect("text").to_owned();
        Api::new(
            &format!("http://127.0.0.1:{}", self.http),
            &field("token"),
            &field("project"),
        )
    }

    fn device(&self) -> &str {
        self.expected["device"].as_str().expect("text")
    }

    fn start_cloud(&self, database: Option<&str>, more: &[&str]) -> Process {
        let mut command = Command::new(program());
        command
            .args(["serve", "--json", "--data"])
            .arg(self.folder.path().join("cloud"));
        command
            .arg("--http")
            .arg(format!("127.0.0.1:{}", self.http))
            .arg("--mqtt")
            .arg(format!("127.0.0.1:{}", self.mqtt));
        if let Some(url) = database {
            command.args(["--database-url", url]);
        }
        command.args(more);
        self.date.of(&mut command);
        Process::start_until_ready("the cloud", &mut command).0
    }

    fn start_agent(&self) -> Process {
        let mut command = Command::new(agent_program());
        command
            .arg("run")
            .arg("--data")
            .arg(self.folder.path().join("device"));
        self.date.of(&mut command);
        Process::start("the agent", &mut command)
    }

    /// Fills an empty PostgreSQL database with the release's dump.
    fn load_dump(&self, url: &str) {
        let unpack = Command::new("xz")
            .arg("-dc")
            .arg(self.source.join("postgres.sql.xz"))
            .stdout(Stdio::piped())
            .spawn();
        let dump = unpack.expect("xz starts").stdout.expect("piped");
        let output = Command::new("psql")
            .args(["-q", "-v", "ON_ERROR_STOP=1", url])
            .stdin(dump)
            .output()
            .expect("psql starts");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Starts this program's cloud and agent on the data of the release.
    fn runs_on(&self, database: Option<&str>) {
        let cloud = self.start_cloud(database, &[]);
        let (api, device) = (self.api(), self.device());
        let project = format!("/project/{}", api.project);
        let before = api.history(device);
        assert_eq!(
            before.len() as u64,
            self.expected["stored"].as_u64().expect("a number"),
            "entries of the history"
        );
        self.holds_its_objects(&api);

        let agent = self.start_agent();
        // The command waited in the cloud, the messages on the device.
        api.wait_for_message(device, "the answer", |message| {
            message["payload"]["ECHO"].is_object() || message["payload"]["ECHO"].is_string()
        });
        let sent = self.expected["sent"].as_u64().expect("a number");
        for stream in self.expected["queue"]
            .as_array()
            .expect("streams")
            .iter()
            .filter(|stream| stream["class"] != "control")
        {
            let (id, next) = (
                stream["stream"].as_str().expect("id"),
                stream["next"].as_u64().expect("a number"),
            );
            api.wait_for_message(device, "the whole queue", |message| {
                message["stream"] == id && message["seq"].as_u64() >= Some(next - 1)
            });
        }
        api.wait_for_message(device, "what the firmware sends now", |message| {
            message["payload"]["n"].as_u64() > Some(sent + 60)
        });
        let (_, groups) = api.get(&format!("{project}/deploymentgroups"));
        let field = groups["deployment_groups"]
            .as_array()
            .expect("groups")
            .iter()
            .find(|group| group["name"] == "field");
        assert_eq!(field.expect("the group")["status"], "deployed");
        agent.terminate();

        let after = api.history(device);
        every_seq_exactly_once(&after);
        assert!(
            !after
                .iter()
                .any(|message| message["payload"].get("gap").is_some()),
            "nothing is lost"
        );
        let mut counted: Vec<u64> = after
            .iter()
            .filter_map(|message| message["payload"]["n"].as_u64())
            .collect();
        counted.sort_unstable();
        let highest = *counted.last().expect("counters");
        assert_eq!(
            counted,
            (1..=highest).collect::<Vec<_>>(),
            "each counter is stored once"
        );
        assert!(after.ends_with(&before), "what was stored is unchanged");
        cloud.terminate();
    }

    fn holds_its_objects(&self, api: &Api) {
        let project = format!("/project/{}", api.project);
        let (status, definitions) = api.get(&format!("{project}/messagedefinitions"));
        assert!(
            status == 200 && definitions.to_string().contains("set_target"),
            "{definitions}"
        );
        let (status, hooks) = api.get(&format!("{project}/webhooks"));
        assert!(
            status == 200 && hooks["webhooks"][0]["url"] == "https://example.com/hook",
            "{hooks}"
        );
        let (status, releases) = api.get(&format!("{project}/releases"));
        assert!(
            status == 200
                && releases["releases"]
                    .as_array()
                    .is_some_and(|list| list.len() == 1),
            "{releases}"
        );
        let (status, settings) = api.get(&format!("{project}/device/{}/config", self.device()));
        assert!(
            status == 200 && settings.to_string().contains("\"interval\""),
            "{settings}"
        );
    }
}

#[test]
fn a_cloud_and_a_device_of_0_1_continue() {
    let _turn = beside_others();
    if let Some(fixture) = Fixture::unpack("0.1") {
        fixture.runs_on(None);
    }
}

#[test]
fn a_device_of_0_1_gets_a_key_of_its_own_at_the_first_contact() {
    let _turn = beside_others();
    let Some(fixture) = Fixture::unpack("0.1") else {
        return;
    };
    let folder = fixture.folder.path().join("device");
    secrets::remember_device(&folder);
    let listen = format!("127.0.0.1:{}", free_port());
    let cloud = fixture.start_cloud(None, &["--listen", &listen]);
    let (api, device) = (fixture.api(), fixture.device());
    let is_legacy = || {
        let (_, props) = api.get(&format!("/project/{}/device/{device}/props", api.project));
        props["legacy"] == true
    };
    assert!(is_legacy());
    let agent = fixture.start_agent();
    wait_for("a key", || {
        (!is_legacy() && folder.join("identity").exists()).then_some(())
    });
    let sent = fixture.expected["sent"].as_u64().expect("a number");
    let newer = |than: u64| {
        let message = api.wait_for_message(device, "what the firmware sends", |message| {
            message["payload"]["n"].as_u64() > Some(than)
        });
        message["payload"]["n"].as_u64().expect("a number")
    };
    let seen = newer(sent + 30);
    agent.terminate();
    let identity = secrets::remember_identity(&folder);
    assert_eq!(identity["device_id"], device);
    // It reaches the cloud over TLS from now on, although its file names the listener without.
    let text = std::fs::read_to_string(folder.join("agent.toml")).expect("the configuration");
    let nowhere = text.replace(&format!("127.0.0.1:{}", fixture.mqtt), "127.0.0.1:1");
    std::fs::write(folder.join("agent.toml"), nowhere).expect("the configuration");
    let agent = fixture.start_agent();
    newer(seen + 30);
    agent.terminate();
    every_seq_exactly_once(&api.history(device));
    cloud.terminate();
}

#[test]
fn a_cloud_of_0_1_on_postgresql_continues() {
    let _turn = beside_others();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let Some(url) = runtime.block_on(cluster::database()) else {
        return;
    };
    let Some(fixture) = Fixture::unpack("0.1") else {
        return;
    };
    fixture.load_dump(&url);
    fixture.runs_on(Some(&url));
}
