//! `iottly dev` with a real cloud and real agents: saves, errors, and every way back to the release.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use iottly_e2e::{CloudHome, Dev, DeviceHome, Process, beside_others, firmware_folder, save, wait_for};
use serde_json::{Value, json};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

const RELEASE: &str = "function init() { send_msg({ runs: 'release' }); } function loop() { send_msg({ tick: 'release' }); return 200; }";

fn script(name: &str) -> String {
    format!(
        "function init() {{ send_msg({{ runs: '{name}' }}); }} function loop() {{ send_msg({{ tick: '{name}' }}); return 200; }}"
    )
}

/// A cloud, a device that runs its firmware, and a folder to develop in.
struct Desk {
    cloud: CloudHome,
    device: DeviceHome,
    folder: PathBuf,
    serve: Option<Process>,
    agent: Option<Process>,
}

impl Desk {
    fn new() -> Self {
        Self::with_config("")
    }

    /// Starts the device with more keys in its configuration.
    fn with_config(keys: &str) -> Self {
        let cloud = CloudHome::new();
        let device = cloud.updating_device("acme", "porch", RELEASE);
        let path = device.path.join("agent.toml");
        let text = std::fs::read_to_string(&path).expect("configuration");
        std::fs::write(&path, format!("{keys}{text}")).expect("configuration");
        let serve = Some(cloud.start());
        let agent = Some(device.start());
        let folder = firmware_folder(cloud.dir.path(), "lamp", &script("one"));
        let desk = Self {
            cloud,
            device,
            folder,
            serve,
            agent,
        };
        desk.runs("release", 1);
        desk
    }

    fn dev(&self, args: &[&str]) -> Dev {
        Dev::start(&self.device.api, &self.folder, args)
    }

    /// Waits until code has started so often, by the device's history.
    fn runs(&self, name: &str, times: usize) {
        wait_for(&format!("{times} starts of {name}"), || {
            let history = self.device.history();
            let starts = history
                .iter()
                .filter(|message| message["payload"]["runs"] == name);
            (starts.count() >= times).then_some(())
        });
    }
}

/// Returns the names of the code that sent the messages of a history, oldest first, each once in a row.
fn makers(history: &[Value]) -> Vec<String> {
    let of = |message: &Value| {
        let payload = &message["payload"];
        payload["runs"]
            .as_str()
            .or(payload["tick"].as_str())
            .map(str::to_owned)
    };
    let mut names: Vec<_> = history.iter().rev().filter_map(of).collect();
    names.dedup();
    names
}

/// Moves the end of all leases in the cloud's database: the shortest lease that can be asked for lasts an hour.
fn move_ends(database: &Path, to_ms: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(database);
        let mut connection = SqliteConnection::connect_with(&options)
            .await
            .expect("the cloud's database");
        let moved = sqlx::query("UPDATE developer_leases SET expires = $1")
            .bind(i64::try_from(to_ms).expect("a date"))
            .execute(&mut connection)
            .await
            .expect("written");
        assert_eq!(moved.rows_affected(), 1);
        connection.close().await.expect("closed");
    });
}

fn is_message(line: &Value, payload: &Value) -> bool {
    line["event"] == "message" && line["payload"] == *payload
}

/// Waits for a save that runs; returns its digest.
fn running(dev: &mut Dev, from: usize) -> String {
    let line = dev.wait_from(from, "the code to run", |line| line["event"] == "running");
    line["digest"].as_str().expect("digest").to_owned()
}

#[test]
fn a_save_runs_an_error_leaves_what_ran_and_ctrl_c_gives_the_release_back() {
    let _turn = beside_others();
    let desk = Desk::new();
    // Without a name: the project has one device.
    let mut dev = desk.dev(&[]);
    let first = running(&mut dev, 0);
    let told = dev.wait("its message", |line| is_message(line, &json!({"runs": "one"})));
    assert_eq!(told["digest"].as_str(), Some(&first[..]), "{told}");
    assert_eq!(told["device"].as_str(), Some(&desk.device.id[..]), "{told}");

    let from = dev.count();
    save(&desk.folder, &script("two"));
    let second = running(&mut dev, from);
    assert_ne!(first, second);
    let told = dev.wait_from(from, "its message", |line| {
        is_message(line, &json!({"runs": "two"}))
    });
    assert_eq!(told["digest"].as_str(), Some(&second[..]), "{told}");

    // The build refuses it, and nothing is sent.
    let from = dev.count();
    save(&desk.folder, "function init() {\n  send_msg({ runs: ;\n}\n");
    let error = dev.wait_from(from, "the error", |line| line["event"] == "error");
    assert_eq!(
        (error["file"].as_str(), error["line"].as_u64()),
        (Some("main.js"), Some(2)),
        "{error}"
    );
    assert!(error["column"].is_u64() && error["device"].is_null(), "{error}");
    let ticks = |line: &Value| is_message(line, &json!({"tick": "two"}));
    let from = dev.count();
    dev.wait_from(from, "the code before it", ticks);

    // The device refuses it by its first call.
    let from = dev.count();
    save(&desk.folder, "function init() {\n  missing();\n}\n");
    let error = dev.wait_from(from, "the error", |line| line["event"] == "error");
    assert_eq!(
        (error["file"].as_str(), error["line"].as_u64()),
        (Some("main.js"), Some(2)),
        "{error}"
    );
    let from = dev.count();
    let told = dev.wait_from(from, "the code before it", ticks);
    assert_eq!(told["digest"].as_str(), Some(&second[..]), "{told}");

    let lines = dev.interrupt();
    assert!(
        lines.iter().any(|line| line["event"] == "ended"),
        "{:?}",
        lines.last()
    );
    desk.runs("release", 2);
    // The history tells the codes apart as well.
    for message in desk.device.history() {
        let made = match message["payload"]["tick"].as_str() {
            Some("one") => Some(&first[..]),
            Some("two") => Some(&second[..]),
            Some("release") => None,
            _ => continue,
        };
        assert_eq!(message["firmware"].as_str(), made, "{message}");
    }
    for line in lines.iter().filter(|line| line["event"] == "message") {
        let (name, digest) = (&line["payload"]["tick"], line["digest"].as_str());
        let made = match name.as_str() {
            Some("one") => &first[..],
            Some("two") => &second[..],
            Some("release") => "release",
            _ => continue,
        };
        assert_eq!(digest, Some(made), "{line}");
    }
}

#[test]
fn state_is_kept_over_saves_and_the_way_back() {
    let _turn = beside_others();
    let desk = Desk::new();
    let count = "function init() { const n = (state.get('n') ?? 0) + 1; state.set('n', n); send_msg({ n, v: 'V' }); }";
    save(&desk.folder, &count.replace('V', "1"));
    let mut dev = desk.dev(&["porch"]);
    dev.wait("the first count", |line| {
        is_message(line, &json!({"n": 1, "v": "1"}))
    });
    save(&desk.folder, &count.replace('V', "2"));
    dev.wait("the second count", |line| {
        is_message(line, &json!({"n": 2, "v": "2"}))
    });
    dev.interrupt();
}

#[test]
fn a_restarted_agent_runs_its_release_and_the_next_save_runs_again() {
    let _turn = beside_others();
    let mut desk = Desk::new();
    let mut dev = desk.dev(&["porch"]);
    running(&mut dev, 0);
    desk.agent.take().expect("an agent").kill();
    let from = dev.count();
    desk.agent = Some(desk.device.start());
    desk.runs("release", 2);
    dev.wait_from(from, "the end", |line| line["event"] == "ended");
    let from = dev.count();
    save(&desk.folder, &script("two"));
    running(&mut dev, from);
    dev.interrupt();
    desk.runs("release", 3);
}

#[test]
fn a_revoked_lease_ends_at_once_on_a_device_that_is_online() {
    let _turn = beside_others();
    let desk = Desk::new();
    let mut dev = desk.dev(&["porch"]);
    running(&mut dev, 0);
    let api = &desk.device.api;
    let (_, leases) = api.get(&format!("/project/{}/leases", api.project));
    let id = leases["leases"][0]["id"].as_str().expect("a lease").to_owned();
    dev.wait("its messages", |line| is_message(line, &json!({"tick": "one"})));

    let (code, _, errors) = api.iottly(desk.cloud.dir.path(), &["lease", "end", &id]);
    assert_eq!(code, Some(0), "{errors}");
    let began = Instant::now();
    // The lease would last for an hour, and the connection stays: nothing else ends the code.
    let lease = wait_for("the device's report", || {
        let (_, answer) = api.get(&format!("/project/{}/leases/{id}", api.project));
        (answer["lease"]["devices"][0]["report"]["state"] == "ended").then(|| answer["lease"].clone())
    });
    eprintln!(
        "a revoked lease: {:?} until the device's report was seen",
        began.elapsed()
    );
    assert_eq!(
        lease["devices"][0]["report"]["detail"], "the lease was ended",
        "{lease}"
    );
    dev.wait("the end", |line| line["event"] == "ended");
    let (status, errors) = dev.ended();
    assert_eq!(status.code(), Some(1), "{errors}");
    assert!(errors.contains("the lease has ended"), "{errors}");

    desk.runs("release", 2);
    // A save after the end runs nowhere.
    save(&desk.folder, &script("two"));
    api.wait_for_message(&desk.device.id, "the release's loop", |message| {
        message["payload"]["tick"] == "release"
    });
    assert_eq!(makers(&desk.device.history()), ["release", "one", "release"]);
}

/// Returns the time since 1970, by which device and cloud end a lease.
#[expect(clippy::disallowed_methods, reason = "the programs read the same clock")]
fn date() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("a date after 1970")
}

#[test]
fn a_lease_ends_by_its_time_without_its_developer_and_without_the_cloud() {
    let _turn = beside_others();
    let mut desk = Desk::new();
    let mut dev = desk.dev(&["porch"]);
    running(&mut dev, 0);
    let end = date() + Duration::from_secs(12);
    move_ends(
        &desk.cloud.database(),
        u64::try_from(end.as_millis()).expect("a date"),
    );
    // The order of this save is the first one with the new end.
    let from = dev.count();
    save(&desk.folder, &script("two"));
    running(&mut dev, from);
    dev.kill();
    desk.serve.take().expect("a cloud").kill();
    wait_for("the end of the lease, and some time after it", || {
        (date() > end + Duration::from_secs(2)).then_some(())
    });

    let back = date();
    desk.serve = Some(desk.cloud.start());
    desk.runs("release", 2);
    let history = desk.device.history();
    assert_eq!(makers(&history), ["release", "one", "two", "release"]);
    let started = history
        .iter()
        .find(|message| message["payload"]["runs"] == "release")
        .expect("a start");
    let at = started["devicetimestamp"]["$date"].as_u64().expect("a date");
    assert!(
        u128::from(at) < back.as_millis(),
        "the release ran before the cloud was back: {started}"
    );
    let api = &desk.device.api;
    wait_for("the report about the end", || {
        let (_, leases) = api.get(&format!("/project/{}/leases", api.project));
        (leases["leases"][0]["devices"][0]["report"]["detail"] == "the lease's time is over").then_some(())
    });
}

#[test]
fn an_owner_who_wants_no_developers_gets_none() {
    let _turn = beside_others();
    let desk = Desk::with_config("developer = false\n");
    let mut dev = desk.dev(&["porch"]);
    let error = dev.wait("the refusal", |line| line["event"] == "error");
    assert!(
        error["text"]
            .as_str()
            .is_some_and(|text| text.contains("developer_off")),
        "{error}"
    );
    dev.wait("the release", |line| {
        is_message(line, &json!({"tick": "release"})) && line["digest"] == "release"
    });
    dev.interrupt();
    let started = desk.device.history();
    let started = started
        .iter()
        .filter(|message| !message["payload"]["runs"].is_null());
    assert_eq!(started.count(), 1, "the release was never interrupted");
}

#[test]
fn a_release_takes_a_device_under_a_lease_and_no_update_is_lost() {
    let _turn = beside_others();
    let desk = Desk::new();
    let mut dev = desk.dev(&["porch"]);
    running(&mut dev, 0);
    let project = format!("/project/{}", desk.device.api.project);
    let api = &desk.device.api;
    let (status, made) = api.post(
        &format!("{project}/deploymentgroups"),
        &json!({"name": "field", "branch": "main"}),
    );
    assert_eq!(status, 200, "{made}");
    let id = made["deployment_group"]["id"].as_str().expect("an id").to_owned();
    let (status, moved) = api.post(
        &format!("{project}/deploymentgroups/{id}/devices"),
        &json!({"devices": [desk.device.id]}),
    );
    assert_eq!(status, 200, "{moved}");
    firmware_folder(desk.cloud.dir.path(), "next", &script("next"));
    let (code, _, errors) = api.iottly(desk.cloud.dir.path(), &["push", "--branch", "main", "next"]);
    assert_eq!(code, Some(0), "{errors}");
    let from = dev.count();
    let (status, begun) = api.post(
        &format!("{project}/deploymentgroups/{id}/flashfw"),
        &json!({"policy": {"canary": 1, "failure_percent": 0, "sample": 1, "grace_ms": 1000}}),
    );
    assert_eq!(status, 200, "{begun}");
    dev.wait_from(from, "the end", |line| line["event"] == "ended");
    desk.runs("next", 1);
    let rollout = begun["rollout"].as_str().expect("rollout").to_owned();
    wait_for("the commit", || {
        let (_, state) = api.get(&format!("{project}/rollouts/{rollout}"));
        (state["rollout"]["status"] == "deployed").then_some(())
    });
    let from = dev.count();
    save(&desk.folder, &script("two"));
    running(&mut dev, from);
    dev.interrupt();
    desk.runs("next", 2);
}
