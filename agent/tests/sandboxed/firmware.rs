//! Commands, failures and restarts of firmware, seen from the cloud's end of the wire.

use std::sync::Arc;

use iottly_agent::outbox::{Item, Queue, SledQueue};
use iottly_agent::{Agent, AgentConfig, AgentHandle, BoardKind, FirmwareStatus};
use iottly_protocol::StreamClass::History;
use iottly_protocol::{CommandId, CommandResult, CommandState, DeviceId, FirmwareState, Report};

use crate::component::{FINE, SEND, SPIN, UNSUPPORTED, firmware};
use crate::support::peer::{Broker, Peer};
use crate::support::{config, online, until_status};
use crate::{compiler, message};

/// A device with firmware, its broker, and the cloud's end of the wire.
struct Rig {
    dir: tempfile::TempDir,
    _broker: Broker,
    peer: Peer,
    agent: AgentHandle,
}

impl Rig {
    async fn start(wasm: &[u8]) -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("firmware.wasm");
        std::fs::write(&path, wasm).expect("written");
        let device = DeviceId::random();
        let broker = Broker::start().await;
        let peer = Peer::start(broker.address, device, Arc::default()).await;
        let agent = Agent::start(AgentConfig {
            firmware: Some(path),
            compiler: compiler(),
            board: Some(BoardKind::Virtual),
            ..config(&dir.path().join("data"), device, broker.address)
        });
        let agent = agent.await.expect("the agent starts");
        // The broker stores nothing for a device that is offline, and this peer does not repeat commands.
        online(&agent).await;
        Self {
            dir,
            _broker: broker,
            peer,
            agent,
        }
    }

    async fn firmware(&self, wanted: FirmwareStatus) {
        until_status(&self.agent, &format!("{wanted:?}"), |status| {
            status.firmware == wanted
        })
        .await;
    }

    async fn message(&mut self, parts: &[&str]) {
        message(&mut self.peer, parts).await;
    }

    async fn report(&mut self, state: FirmwareState) {
        self.peer
            .until_report(
                &format!("the report {state:?}"),
                |report| matches!(report, Report::Firmware(report) if report.state == state),
            )
            .await;
    }

    async fn run(&mut self, cmd_type: &str) -> CommandResult {
        let id = CommandId::random();
        self.peer.command(id, cmd_type);
        self.peer
            .until("the command's result", |store| {
                !store.final_results(id).is_empty()
            })
            .await;
        self.peer.with(|store| store.final_results(id).remove(0))
    }
}

pub(crate) async fn a_command_runs_and_its_reply_and_result_arrive() {
    let mut rig = Rig::start(&firmware(SEND, FINE)).await;
    rig.firmware(FirmwareStatus::Running).await;
    let result = rig.run("anything").await;
    assert_eq!((result.state, result.detail), (CommandState::Done, None));
    rig.message(&["userdefined", "{\"n\": 1}"]).await;
    rig.message(&["iottlyagent", "\"status\":{\"started\":\"loaded firmware: 2"])
        .await;
    rig.report(FirmwareState::Running).await;
    rig.agent.shutdown().await;
}

pub(crate) async fn a_command_without_a_handler_is_told() {
    let mut rig = Rig::start(&firmware(UNSUPPORTED, FINE)).await;
    let result = rig.run("blink").await;
    assert_eq!(
        (result.state, result.detail.as_deref()),
        (CommandState::Failed, Some("no handler for \"blink\""))
    );
    rig.message(&["\"status\":{\"warning\":\"Not Found\"},\"receivedcmd\":{\"blink\":{\"content\":\"x\"}}"])
        .await;
    rig.agent.shutdown().await;
}

pub(crate) async fn a_trap_in_a_handler_fails_the_command_and_restarts_the_firmware() {
    let mut rig = Rig::start(&firmware("(unreachable)", FINE)).await;
    rig.firmware(FirmwareStatus::Running).await;
    let result = rig.run("boom").await;
    assert_eq!(result.state, CommandState::Failed);
    assert!(
        result
            .detail
            .as_deref()
            .is_some_and(|detail| detail.contains("trap unreachable in handle")),
        "{result:?}"
    );
    rig.message(&["\"function\":\"handle\"", "\"error\":\"trap unreachable\""])
        .await;
    rig.report(FirmwareState::Restarting).await;
    // A command that arrives while no firmware runs waits for the restart.
    let second = rig.run("boom").await;
    assert!(
        second
            .detail
            .as_deref()
            .is_some_and(|detail| detail.contains("trap unreachable in handle")),
        "{second:?}"
    );
    rig.agent.shutdown().await;
}

pub(crate) async fn a_firmware_that_spins_in_its_loop_is_stopped_and_told() {
    let mut rig = Rig::start(&firmware(FINE, SPIN)).await;
    rig.message(&["\"function\":\"tick\"", "\"error\":\"trap time-budget\""])
        .await;
    rig.report(FirmwareState::Restarting).await;
    rig.agent.shutdown().await;
}

pub(crate) async fn a_file_that_is_no_firmware_is_told_and_fails_nothing_else() {
    let mut rig = Rig::start(b"\0asm, or not").await;
    rig.message(&[
        "\"function\":\"load\"",
        "\"error\":\"firmware\"",
        "\"description\":",
    ])
    .await;
    rig.firmware(FirmwareStatus::Restarting).await;
    rig.peer.until("online", |store| store.online == Some(true)).await;
    rig.agent.shutdown().await;
}

pub(crate) async fn a_started_firmware_stops_in_order() {
    let mut rig = Rig::start(&firmware(FINE, FINE)).await;
    rig.firmware(FirmwareStatus::Running).await;
    rig.peer
        .until("the message of the start", |store| !store.of(History).is_empty())
        .await;
    assert!(
        rig.peer
            .with(|store| store.of(History).iter().all(|text| !text.contains("userdefined")))
    );
    rig.agent.shutdown().await;
    rig.peer
        .until("offline", |store| store.online == Some(false))
        .await;
    // A message sent in the last call is delivered or kept.
    let data = rig.dir.path().join("data");
    let (mut queue, notes) = SledQueue::open(&data.join("queue")).expect("open");
    let page = queue.peek(History, 0, 100, usize::MAX).expect("read");
    let last = |text: &str| text.contains("{\"n\": 1}");
    let kept = page
        .items
        .iter()
        .any(|item| matches!(item, Item::Record { record, .. } if last(&String::from_utf8_lossy(record))));
    assert!(
        notes.is_empty() && (kept || rig.peer.with(|store| store.of(History).into_iter().any(last))),
        "{page:?}"
    );
    assert!(!data.join("running").exists(), "the run is marked as ended");
}
