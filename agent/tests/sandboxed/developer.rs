//! Developer orders to a real agent: code from memory, every way back to the release, and forged orders.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use iottly_agent::{Agent, AgentConfig, AgentHandle, UpdateConfig};
use iottly_protocol::release::{DeveloperOrder, DeveloperReport, DeveloperState, LeaseId, OrderAction};
use iottly_protocol::tuf::{Instant, SigningKey, sha256_hex};
use iottly_protocol::{DeviceId, Down, FirmwareMark, Report, SignedOrder};
use iottly_sandbox::Script;
use iottly_update::{Journal, Memory, SystemDisk};

use crate::component::{FINE, SEND, firmware};
use crate::repository::Releases;
use crate::support::config;
use crate::support::peer::{Broker, Peer};
use crate::{compiler, message};

const HOUR_S: u64 = 3600;

/// A device whose project has a key for developer orders, and the cloud's end of the wire.
struct Rig {
    dir: tempfile::TempDir,
    releases: Releases,
    device: DeviceId,
    key: SigningKey,
    lease: LeaseId,
    counter: u64,
    broker: Broker,
    peer: Peer,
}

fn script(text: &str, manifest: &str) -> Vec<u8> {
    let script = Script {
        engine: "script 1".to_owned(),
        exact: None,
        files: BTreeMap::from([("main.js".to_owned(), text.to_owned())]),
        sections: Vec::new(),
    };
    script.component(manifest).expect("component")
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

impl Rig {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let releases = Releases::new(dir.path(), 0);
        let device = DeviceId::random();
        let broker = Broker::start().await;
        let peer = Peer::start(broker.address, device, Arc::default()).await;
        let factory = firmware(SEND, SEND);
        std::fs::write(dir.path().join("factory.wasm"), factory).expect("factory");
        let key = SigningKey::from_secret(&[9; 32]);
        releases.add_developer(&key);
        Self {
            dir,
            releases,
            device,
            key,
            lease: LeaseId::random(),
            counter: 0,
            broker,
            peer,
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    async fn start(&self, developer: bool) -> AgentHandle {
        let updates = UpdateConfig::new(
            format!("http://{}", self.releases.address),
            self.releases.root(),
            self.releases.project,
        );
        let agent = Agent::start(AgentConfig {
            firmware: Some(self.dir.path().join("factory.wasm")),
            compiler: compiler(),
            cache_dir: Some(self.dir.path().join("cache")),
            developer,
            updates: Some(updates),
            ..config(&self.data(), self.device, self.broker.address)
        });
        agent.await.expect("the agent starts")
    }

    fn order(&mut self, component: Option<&[u8]>) -> DeveloperOrder {
        self.counter += 1;
        DeveloperOrder {
            id: format!("o-{}", self.counter),
            lease: self.lease,
            project: self.releases.project,
            devices: vec![self.device],
            action: component.map_or(OrderAction::End, |_| OrderAction::Run),
            sha256: component.map(sha256_hex).unwrap_or_default(),
            size: component.map_or(0, |bytes| bytes.len() as u64),
            approved: Vec::new(),
            not_before: Instant::from_unix(now() - 10),
            expires: Instant::from_unix(now() + HOUR_S),
            counter: self.counter,
            extra: BTreeMap::new(),
        }
    }

    fn send(&self, order: &DeveloperOrder, key: &SigningKey, component: Option<&[u8]>) {
        let document = String::from_utf8(order.sign(&[key]).expect("signed")).expect("text");
        let document = serde_json::value::RawValue::from_string(document).expect("json");
        self.peer
            .send(&Down::Developer(SignedOrder::new(document, component)));
    }

    /// Orders the device to run a script; returns the order's id and the script's mark.
    fn run(&mut self, component: &[u8]) -> (String, String) {
        let order = self.order(Some(component));
        self.send(&order, &self.key, Some(component));
        let mark = FirmwareMark::of(&order.sha256).expect("a digest");
        (order.id, mark.to_string())
    }

    /// Waits for the state that the device reports of an order; returns the report.
    async fn reported(&mut self, order: &str, state: DeveloperState) -> DeveloperReport {
        let is = |report: &DeveloperReport| report.order == order && report.state == state;
        let what = format!("{order} {}", state.as_str());
        self.peer
            .until_report(
                &what,
                |report| matches!(report, Report::Developer(report) if is(report)),
            )
            .await;
        let found = self.peer.with(|store| {
            store.reports().into_iter().find_map(|report| match report {
                Report::Developer(report) if is(&report) => Some(*report),
                _ => None,
            })
        });
        found.expect("it was seen")
    }

    async fn message(&mut self, parts: &[&str]) {
        message(&mut self.peer, parts).await;
    }

    fn memory(&self) -> Memory {
        let mut disk = SystemDisk::open(&self.data()).expect("disk");
        Journal::open(&mut disk).expect("journal").1
    }

    /// Waits until the factory's firmware has started so often.
    async fn factory_starts(&mut self, times: usize) {
        let starts = |text: &&str| text.contains("loaded firmware") && !text.contains("\"firmware\":");
        self.peer
            .until(&format!("{times} starts of the factory's firmware"), |store| {
                let history = store.of(iottly_protocol::StreamClass::History);
                history.iter().filter(|text| starts(text)).count() >= times
            })
            .await;
    }
}

pub(crate) async fn code_runs_from_memory_and_the_installed_firmware_returns() {
    let mut rig = Rig::new().await;
    let agent = rig.start(true).await;
    rig.factory_starts(1).await;
    let before = rig.memory();

    let one = script(
        "function init() { send_msg({ v: 'one' }); log('up'); }",
        "name = \"lamp\"",
    );
    let (order, mark) = rig.run(&one);
    let report = rig.reported(&order, DeveloperState::Running).await;
    assert!(
        report.ms.is_some() && report.sha256.starts_with(&mark),
        "{report:?}"
    );
    rig.message(&["\"v\":\"one\"", &mark]).await;

    // Its first call fails: the one before it runs again.
    let bad = script("function init() {\n  missing();\n}", "name = \"lamp\"");
    let (order, _) = rig.run(&bad);
    let report = rig.reported(&order, DeveloperState::Failed).await;
    let place = report.place.clone().expect("a place");
    assert_eq!((place.file.as_str(), place.line), ("main.js", 2), "{report:?}");
    rig.peer
        .until("the code before it again", |store| {
            let history = store.of(iottly_protocol::StreamClass::History);
            history
                .iter()
                .filter(|text| text.contains("\"v\":\"one\""))
                .count()
                >= 2
        })
        .await;

    // It cannot be loaded at all: what runs is not interrupted.
    let (order, _) = rig.run(&firmware(FINE, FINE));
    rig.reported(&order, DeveloperState::Refused).await;
    // Wider than the installed firmware.
    let wide = script(
        "function init() {}",
        "name = \"wide\"\n[capabilities]\ngpio = [\"led\"]\n",
    );
    let (order, _) = rig.run(&wide);
    let report = rig.reported(&order, DeveloperState::Refused).await;
    assert_eq!(
        report.reason.map(|why| why.as_str()),
        Some("incompatible"),
        "{report:?}"
    );

    let end = rig.order(None);
    rig.send(&end, &rig.key, None);
    rig.reported("o-1", DeveloperState::Ended).await;
    rig.factory_starts(2).await;
    let after = rig.memory();
    assert_eq!(
        (before.counter, before.floor, before.committed, before.quarantined),
        (after.counter, after.floor, after.committed, after.quarantined)
    );
    agent.shutdown().await;
}

pub(crate) async fn forged_and_repeated_orders_are_refused_by_name() {
    let mut rig = Rig::new().await;
    let agent = rig.start(true).await;
    rig.factory_starts(1).await;
    let one = script("function init() { send_msg({ v: 'one' }); }", "name = \"lamp\"");
    let refused = [
        ("another key", "unknown_key"),
        ("another device", "not_leased"),
        ("nine hours", "bad_signature"),
        ("ended", "expired"),
        ("another script", "digest_mismatch"),
    ];
    for (what, reason) in refused {
        let mut order = rig.order(Some(&one));
        let mut key = rig.key.clone();
        match what {
            "another key" => key = SigningKey::from_secret(&[8; 32]),
            "another device" => order.devices = vec![DeviceId::random()],
            "nine hours" => order.expires = Instant::from_unix(now() + 9 * HOUR_S),
            "ended" => {
                order.not_before = Instant::from_unix(now() - 2 * HOUR_S);
                order.expires = Instant::from_unix(now() - HOUR_S);
            }
            _ => order.sha256 = "0".repeat(64),
        }
        rig.send(&order, &key, Some(&one));
        let report = rig.reported(&order.id, DeveloperState::Refused).await;
        assert_eq!(
            report.reason.map(|why| why.as_str()),
            Some(reason),
            "{what}: {report:?}"
        );
    }
    let first = rig.order(Some(&one));
    let second = rig.order(Some(&one));
    rig.send(&second, &rig.key, Some(&one));
    rig.reported(&second.id, DeveloperState::Running).await;
    rig.send(&first, &rig.key, Some(&one));
    let report = rig.reported(&first.id, DeveloperState::Refused).await;
    assert_eq!(
        report.reason.map(|why| why.as_str()),
        Some("replay"),
        "{report:?}"
    );
    agent.shutdown().await;

    // The restart has ended it, and the order does not count again.
    let agent = rig.start(false).await;
    rig.reported(&second.id, DeveloperState::Ended).await;
    rig.factory_starts(2).await;
    let (order, _) = rig.run(&one);
    let report = rig.reported(&order, DeveloperState::Refused).await;
    assert_eq!(
        report.reason.map(|why| why.as_str()),
        Some("developer_off"),
        "{report:?}"
    );
    agent.shutdown().await;
}

pub(crate) async fn a_lease_ends_by_its_own_time() {
    let mut rig = Rig::new().await;
    let agent = rig.start(true).await;
    rig.factory_starts(1).await;
    let one = script("function init() { send_msg({ v: 'one' }); }", "name = \"lamp\"");
    let mut order = rig.order(Some(&one));
    order.expires = Instant::from_unix(now() + 5);
    rig.send(&order, &rig.key, Some(&one));
    rig.reported(&order.id, DeveloperState::Running).await;
    rig.reported(&order.id, DeveloperState::Ended).await;
    rig.factory_starts(2).await;
    assert!(Duration::from_secs(now()) >= Duration::from_secs(order.expires.unix().saturating_sub(1)));
    agent.shutdown().await;
}
