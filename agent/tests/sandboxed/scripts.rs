//! Scripts as releases: on the agent's engine, on one that a release brings, and on another one than before.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use iottly_cloud::releases::OfferedEngine;
use iottly_manifest::Script;
use iottly_protocol::Report;
use iottly_protocol::release::EngineFact;
use iottly_update::{Journal, Memory, SystemDisk};

use crate::support::peer::PATIENCE;
use crate::updates::Rig;

/// Name of an engine that no agent carries.
const OTHER: &str = "script 99";
/// Empty custom section (WebAssembly core specification, section 5.5.3): it changes a component's digest and nothing else.
const SECTION: [u8; 4] = [0, 2, 1, b'x'];
/// Script that sends a message when it starts.
const HELLO: &str =
    "function init() { send_msg({ hello: 'from a script' }); }\nfunction loop() { return 200; }";
/// Script that fails from its second start on.
const ONCE: &str = "function init() {
    const starts = (state.get('starts') ?? 0) + 1;
    state.set('starts', starts);
    if (starts > 1) throw new Error('started again');
}
function loop() { return 200; }";

fn script(engine: &str, main: &str) -> Vec<u8> {
    let script = Script {
        engine: engine.to_owned(),
        exact: None,
        files: BTreeMap::from([("main.js".to_owned(), main.to_owned())]),
        sections: Vec::new(),
    };
    script.component("name = \"test\"").expect("a component")
}

/// Changes the journal of a device whose agent is stopped.
fn rewrite(rig: &Rig, change: impl FnOnce(&mut Memory)) {
    let mut disk = SystemDisk::open(&rig.data()).expect("disk");
    let (mut journal, mut memory, _) = Journal::open(&mut disk).expect("journal");
    change(&mut memory);
    journal.write(&mut disk, &memory).expect("journal");
}

/// Waits until the device's journal is as wanted.
async fn remembered(rig: &Rig, what: &str, is: impl Fn(&Memory) -> bool) {
    let began = Instant::now();
    while !is(&rig.memory()) {
        assert!(began.elapsed() < PATIENCE, "{what}: {:?}", rig.memory());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn engine_of(memory: &Memory) -> Option<&str> {
    memory.committed.as_ref()?.engine.as_deref()
}

pub(crate) async fn a_script_runs_on_the_engine_that_the_agent_carries() {
    let mut rig = Rig::new(0).await;
    let agent = rig.start().await;
    let engine = EngineFact {
        abi: iottly_engine::ABI.to_owned(),
        sha256: iottly_engine::DIGEST.to_owned(),
    };
    rig.peer
        .until_report(
            "the engines",
            |report| matches!(report, Report::Facts(facts) if facts.engines == [engine.clone()]),
        )
        .await;
    let sha256 = rig
        .releases
        .release(rig.device, &script(iottly_engine::ABI, HELLO), 500);
    rig.message(&["from a script"]).await;
    rig.runs(&sha256).await;
    rig.stop(agent).await;
    let memory = rig.memory();
    assert_eq!(engine_of(&memory), Some(iottly_engine::DIGEST));
    // The copy for the way back from another engine, which a later agent may carry.
    let kept: Vec<_> = memory
        .engines
        .iter()
        .map(|engine| engine.sha256.as_str())
        .collect();
    assert_eq!(kept, [iottly_engine::DIGEST]);
}

pub(crate) async fn an_engine_that_the_device_lacks_comes_with_the_release() {
    let mut rig = Rig::new(0).await;
    let agent = rig.start().await;
    let other: &[u8] = [iottly_engine::ENGINE, &SECTION].concat().leak();
    let offered = OfferedEngine {
        abi: OTHER.to_owned(),
        content: other,
    };
    let sha256 = rig
        .releases
        .release_with(rig.device, &script(OTHER, HELLO), 500, Some(offered));
    rig.message(&["from a script"]).await;
    rig.runs(&sha256).await;
    rig.stop(agent).await;
    let file = rig.data().join("update/engine-0.wasm");
    assert_eq!(std::fs::read(&file).expect("stored"), other);
    // It is there after a restart, without the repository.
    let agent = rig.start().await;
    rig.peer
        .until_report(
            "both engines",
            |report| matches!(report, Report::Facts(facts) if facts.engines.len() == 2),
        )
        .await;
    // The next release runs on the agent's own.
    let sha256 = rig
        .releases
        .release(rig.device, &script(iottly_engine::ABI, HELLO), 500);
    rig.runs(&sha256).await;
    // The report precedes the clean-up.
    let began = Instant::now();
    // Its place may hold the copy of the agent's engine by then.
    while std::fs::read(&file).is_ok_and(|content| content == other) {
        assert!(
            began.elapsed() < PATIENCE,
            "it goes with the release that needed it"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    rig.stop(agent).await;
}

pub(crate) async fn a_script_without_an_engine_is_refused_by_name() {
    let mut rig = Rig::new(0).await;
    let agent = rig.start().await;
    rig.releases.release(rig.device, &script(OTHER, HELLO), 500);
    rig.reported("rejected", Some("incompatible")).await;
    let detail = rig.updates().last().and_then(|report| report.detail.clone());
    assert_eq!(
        detail.as_deref(),
        Some("engine: the script needs script 99, the device has script 1")
    );
    rig.stop(agent).await;
}

pub(crate) async fn another_engine_is_a_trial() {
    let former = "ab".repeat(32);
    for (main, passes) in [(HELLO, true), (ONCE, false)] {
        let mut rig = Rig::new(0).await;
        let agent = rig.start().await;
        let sha256 = rig
            .releases
            .release(rig.device, &script(iottly_engine::ABI, main), 500);
        rig.runs(&sha256).await;
        rig.stop(agent).await;
        // As if an earlier version of the agent had committed it, with another engine.
        rewrite(&rig, |memory| {
            memory.committed.as_mut().expect("committed").engine = Some(former.clone());
        });
        let agent = rig.start().await;
        if passes {
            remembered(&rig, "the trial passes", |memory| {
                engine_of(memory) == Some(iottly_engine::DIGEST) && memory.engine_trial.is_none()
            })
            .await;
        } else {
            rig.reported("failed", Some("crash_loop")).await;
            let detail = rig.updates().last().and_then(|report| report.detail.clone());
            let detail = detail.expect("a reason");
            assert!(
                detail.contains("failed on the new engine") && detail.contains("started again"),
                "{detail}"
            );
            let memory = rig.memory();
            let committed = memory.committed.expect("it stays");
            assert_eq!(committed.refused_engine.as_deref(), Some(iottly_engine::DIGEST));
        }
        rig.stop(agent).await;
    }
}
