//! Updates of a real agent from a signed repository: wrong clocks, slow repositories, damaged and unexpected
//! files.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use iottly_agent::{Agent, AgentConfig, AgentHandle, UpdateConfig};
use iottly_protocol::{DeviceId, Down, Report, SignedDirective, UpdateReport};
use iottly_update::{Journal, Memory, SystemDisk};

use crate::component::{FINE, SEND, firmware};
use crate::repository::{Mode, Releases};
use crate::support::config;
use crate::support::peer::{Broker, PATIENCE, Peer, Proxy};
use crate::{compiler, message};

const YEAR_S: i64 = 365 * 86_400;
/// Body of `tick` whose fourth call, after a second and a half, traps.
const TRAPS_LATER: &str = "(i32.store (i32.const 8192) (i32.add (i32.load (i32.const 8192)) (i32.const 1))) \
    (if (i32.gt_u (i32.load (i32.const 8192)) (i32.const 3)) (then (unreachable))) (i32.const 1024)";

fn good() -> Vec<u8> {
    firmware(SEND, FINE)
}

/// A device, its repository, its broker, and the cloud's end of the wire.
pub(crate) struct Rig {
    dir: tempfile::TempDir,
    pub(crate) releases: Releases,
    pub(crate) device: DeviceId,
    broker: Broker,
    pub(crate) peer: Peer,
}

impl Rig {
    /// Creates a device. `ahead_s` is the lead of the cloud's and signer's clock over this machine's, the
    /// board's.
    pub(crate) async fn new(ahead_s: i64) -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let releases = Releases::new(dir.path(), ahead_s);
        let device = DeviceId::random();
        let broker = Broker::start().await;
        let peer = Peer::start(broker.address, device, Arc::default()).await;
        peer.with(|store| store.ahead_ms = ahead_s.wrapping_mul(1000) as u64);
        std::fs::write(dir.path().join("factory.wasm"), firmware(FINE, FINE)).expect("factory");
        Self {
            dir,
            releases,
            device,
            broker,
            peer,
        }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) async fn start(&self) -> AgentHandle {
        self.start_at(self.broker.address).await
    }

    async fn start_at(&self, broker: SocketAddr) -> AgentHandle {
        let updates = UpdateConfig::new(
            format!("http://{}", self.releases.address),
            self.releases.root(),
            self.releases.project,
        );
        let agent = Agent::start(AgentConfig {
            firmware: Some(self.dir.path().join("factory.wasm")),
            compiler: compiler(),
            updates: Some(UpdateConfig {
                poll_seconds: 1,
                ..updates
            }),
            ..config(&self.data(), self.device, broker)
        });
        agent.await.expect("the agent starts")
    }

    /// Waits until the device has reported a state, with a reason if one is given.
    pub(crate) async fn reported(&mut self, state: &str, reason: Option<&str>) {
        let is = |report: &UpdateReport| {
            report.state.as_str() == state
                && reason.is_none_or(|wanted| report.reason.is_some_and(|why| why.as_str() == wanted))
        };
        self.peer
            .until_report(
                &format!("the report {state} {reason:?}"),
                |report| matches!(report, Report::Update(report) if is(report)),
            )
            .await;
    }

    /// Waits until the device reports in its facts that it runs the release with this digest.
    pub(crate) async fn runs(&mut self, sha256: &str) {
        self.peer
            .until_report(
                "the facts",
                |report| matches!(report, Report::Facts(facts) if facts.running_sha256 == sha256),
            )
            .await;
    }

    pub(crate) async fn message(&mut self, parts: &[&str]) {
        message(&mut self.peer, parts).await;
    }

    pub(crate) fn updates(&self) -> Vec<UpdateReport> {
        let update = |report| match report {
            Report::Update(report) => Some(report),
            _ => None,
        };
        self.peer
            .with(|store| store.reports().into_iter().filter_map(update).collect())
    }

    pub(crate) fn memory(&self) -> Memory {
        let mut disk = SystemDisk::open(&self.data()).expect("disk");
        Journal::open(&mut disk).expect("journal").1
    }

    /// Stops the agent, which must end in order and soon.
    pub(crate) async fn stop(&self, agent: AgentHandle) {
        let began = Instant::now();
        agent.shutdown().await;
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        assert!(!self.data().join("running").exists(), "the stop was clean");
    }
}

pub(crate) async fn a_board_that_is_ten_years_behind_waits_for_the_time_and_then_takes_its_update() {
    let mut rig = Rig::new(10 * YEAR_S).await;
    // Later than the date of the metadata, or that would be taken for the time.
    rig.releases.pause = Duration::from_millis(1100);
    let sha256 = rig.releases.release(rig.device, &good(), 1000);
    let proxy = Proxy::start(None).await;
    let agent = rig.start_at(proxy.address).await;
    // The device finds the directive and is offline: the time is unknown.
    let asked = |rig: &Rig| {
        rig.releases
            .asked()
            .iter()
            .filter(|path| path.ends_with("timestamp.json"))
            .count()
    };
    let began = Instant::now();
    while asked(&rig) < 2 {
        assert!(began.elapsed() < PATIENCE, "{:?}", rig.releases.asked());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    proxy.retarget(rig.broker.address);
    rig.reported("committed", None).await;
    rig.runs(&sha256).await;
    let updates = rig.updates();
    let first = &updates[0];
    assert_eq!(
        (first.state.as_str(), first.reason.map(|why| why.as_str())),
        ("deferred", Some("clock")),
        "{updates:?}"
    );
    assert!(
        updates.iter().all(|report| report.state.as_str() != "rejected"),
        "{updates:?}"
    );
    let trusted: Vec<bool> = rig.peer.with(|store| {
        let facts = |report| match report {
            Report::Facts(facts) => Some(facts.clock_trusted),
            _ => None,
        };
        store.reports().into_iter().filter_map(facts).collect()
    });
    assert_eq!(
        (trusted.first(), trusted.last()),
        (Some(&false), Some(&true)),
        "{trusted:?}"
    );
    rig.stop(agent).await;
}

pub(crate) async fn a_board_that_is_a_year_ahead_takes_its_update_by_the_told_time() {
    let mut rig = Rig::new(-YEAR_S).await;
    let agent = rig.start().await;
    rig.peer.until("online", |store| store.online == Some(true)).await;
    let sha256 = rig.releases.release(rig.device, &good(), 1000);
    rig.runs(&sha256).await;
    rig.stop(agent).await;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let vouched = rig.memory().vouched.expect("something was accepted");
    assert!(vouched.unix <= now.saturating_add_signed(-YEAR_S), "{vouched:?}");
    assert!(
        vouched.unix >= now.saturating_add_signed(-YEAR_S) - 3600,
        "{vouched:?}"
    );
}

pub(crate) async fn a_journal_whose_floor_lies_in_2095_takes_its_update() {
    let mut rig = Rig::new(0).await;
    let mut disk = SystemDisk::open(&rig.data()).expect("disk");
    let (mut journal, memory, _) = Journal::open(&mut disk).expect("journal");
    journal
        .write(
            &mut disk,
            &Memory {
                clock_floor: 3_955_674_467,
                ..memory
            },
        )
        .expect("journal");
    let sha256 = rig.releases.release(rig.device, &good(), 1000);
    let agent = rig.start().await;
    rig.runs(&sha256).await;
    rig.stop(agent).await;
}

pub(crate) async fn a_dripping_repository_delays_neither_the_roll_back_nor_the_stop() {
    let mut rig = Rig::new(0).await;
    let agent = rig.start().await;
    rig.peer.until("online", |store| store.online == Some(true)).await;
    rig.releases
        .release(rig.device, &firmware(SEND, TRAPS_LATER), 30_000);
    rig.reported("trial", None).await;
    let began = Instant::now();
    rig.releases.mode(Mode::Drip);
    // An attacker on the line sends directives as well.
    for n in 0..40 {
        let document = format!(r#"{{"signed":{{"id":"x-{n}"}},"signatures":[]}}"#);
        let document = serde_json::value::RawValue::from_string(document).expect("json");
        rig.peer.send(&Down::Directive(SignedDirective { document }));
    }
    rig.reported("rolled_back", Some("crash_loop")).await;
    assert!(
        began.elapsed() < Duration::from_secs(25),
        "before the trial's own end: {:?}",
        began.elapsed()
    );
    rig.stop(agent).await;
}

pub(crate) async fn a_repository_that_does_not_answer_delays_no_stop() {
    for mode in [Mode::Silent, Mode::Drip] {
        let rig = Rig::new(0).await;
        rig.releases.release(rig.device, &good(), 1000);
        rig.releases.mode(mode);
        let agent = rig.start().await;
        let began = Instant::now();
        while rig.releases.asked().is_empty() {
            assert!(began.elapsed() < PATIENCE, "the repository is asked");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        rig.stop(agent).await;
    }
}

pub(crate) async fn a_redirect_is_not_followed() {
    let rig = Rig::new(0).await;
    rig.releases.mode(Mode::Redirect);
    let agent = rig.start().await;
    let began = Instant::now();
    while rig.releases.asked().len() < 2 {
        assert!(began.elapsed() < PATIENCE, "the repository is asked");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    rig.stop(agent).await;
    assert!(
        rig.releases.asked().iter().all(|path| !path.contains("internal")),
        "{:?}",
        rig.releases.asked()
    );
}

pub(crate) async fn damage_to_what_updates_need_is_mended_and_told() {
    let mut rig = Rig::new(0).await;
    let agent = rig.start().await;
    let first = rig.releases.release(rig.device, &good(), 1000);
    rig.runs(&first).await;
    rig.stop(agent).await;
    let data = rig.data();
    let flip = |name: &str| {
        let mut bytes = std::fs::read(data.join(name)).expect("file");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(data.join(name), bytes).expect("file");
    };
    flip("trust/root.json");
    std::fs::write(data.join("update/pointer"), "c\n").expect("file");
    std::fs::write(data.join("update/journal.0"), "").expect("file");
    std::fs::write(data.join("update/journal.1"), "").expect("file");
    let agent = rig.start().await;
    rig.message(&["update damaged", "journal"]).await;
    rig.message(&["update damaged", "pointer"]).await;
    rig.reported("failed", Some("invalid")).await;
    assert_eq!(
        rig.memory().committed.map(|committed| committed.sha256),
        Some(first),
        "the release is found by its digest"
    );
    rig.message(&["update damaged", "root"]).await;
    let second = rig.releases.release(rig.device, &firmware(FINE, SEND), 1000);
    rig.runs(&second).await;
    rig.stop(agent).await;
}

fn pipe(path: &Path) {
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from(0o600),
        0,
    )
    .expect("pipe");
}

pub(crate) async fn odd_files_are_put_aside_and_the_agent_starts() {
    let mut rig = Rig::new(0).await;
    let data = rig.data();
    for folder in ["commands.journal/inside", "lock", "running", "firmware.state"] {
        std::fs::create_dir_all(data.join(folder)).expect("folder");
    }
    for name in ["clock", "settings.json", "settings.new"] {
        pipe(&data.join(name));
    }
    for name in ["cache", "trust", "update"] {
        std::fs::write(data.join(name), "a file").expect("file");
    }
    let agent = rig.start().await;
    let sha256 = rig.releases.release(rig.device, &good(), 1000);
    rig.runs(&sha256).await;
    for name in [
        "commands.journal",
        "clock",
        "settings.json",
        "cache",
        "trust",
        "update",
        "firmware.state",
    ] {
        rig.message(&["odd file", &format!("kept as {name}.odd")]).await;
    }
    rig.stop(agent).await;
    // The same inside of the folders.
    for name in [
        "update/pointer",
        "update/journal.0",
        "trust/timestamp.json",
        "trust/root.json",
    ] {
        std::fs::remove_file(data.join(name)).expect("removed");
        pipe(&data.join(name));
    }
    let agent = rig.start().await;
    let second = rig.releases.release(rig.device, &firmware(FINE, SEND), 1000);
    rig.runs(&second).await;
    rig.stop(agent).await;
}

/// Runs the agent's program under a shell's limits for at most `run_s` seconds, then sends SIGTERM. Returns
/// the exit status, `true` if it ended by itself, and its standard error.
fn program(config: &Path, limits: &str, run_s: u64) -> (ExitStatus, bool, String) {
    let script = format!(
        "{limits} exec {} run --config {}",
        env!("CARGO_BIN_EXE_iottly-agent"),
        config.display()
    );
    let mut child = Command::new("sh")
        .args(["-c", &script])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("started");
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(run_s) && child.try_wait().expect("waited").is_none() {
        std::thread::sleep(Duration::from_millis(50));
    }
    let ended = child.try_wait().expect("waited").is_some();
    if !ended {
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signalled");
    }
    let deadline = Instant::now() + Duration::from_secs(15);
    while child.try_wait().expect("waited").is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("SIGTERM is not obeyed");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let output = child.wait_with_output().expect("output");
    (
        output.status,
        ended,
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

pub(crate) async fn the_program_reads_regular_files_only_and_outlives_a_limit_on_their_size() {
    let dir = tempfile::tempdir().expect("dir");
    let odd = dir.path().join("pipe.toml");
    pipe(&odd);
    let (status, ended, said) = program(&odd, "", 10);
    assert!(
        ended && !status.success() && said.contains("not a regular file"),
        "{status}: {said}"
    );
    let config = dir.path().join("agent.toml");
    let text = format!(
        "device_id = \"{}\"\nsecret = \"x\"\nbroker = \"127.0.0.1:9\"\ndata_dir = \"data\"\nfirmware = \"/dev/zero\"\n",
        DeviceId::random()
    );
    std::fs::write(&config, text).expect("written");
    let (status, ended, said) = program(&config, "", 3);
    assert!(
        !ended && status.success() && said.contains("not a regular file"),
        "{status}: {said}"
    );
    std::fs::remove_dir_all(dir.path().join("data")).expect("removed");
    // Blocks of 512 bytes: the queue's first segment is larger.
    let (status, ended, said) = program(&config, "ulimit -f 100;", 3);
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(status.signal(), None, "ended: {ended}: {said}");
}
