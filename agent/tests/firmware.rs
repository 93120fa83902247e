//! The agent with real firmware in the sandbox: commands, failures and restarts, seen from the cloud's end of
//! the wire.
//!
//! The sandbox compiles firmware in a child process. This program is that child as well, so it has its own
//! `main`.

mod component;
mod peer;

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;

use component::{FINE, SEND, SPIN, UNSUPPORTED, firmware};
use iottly_agent::outbox::{Item, Queue, SledQueue};
use iottly_agent::{
    Agent, AgentConfig, AgentHandle, BoardKind, BrokerAddress, Compiler, FirmwareStatus, LinkState,
    QueueConfig, Secret,
};
use iottly_protocol::StreamClass::{Control, History};
use iottly_protocol::{CommandId, CommandResult, CommandState, DeviceId, FirmwareState, Record, Report};
use peer::{Broker, PATIENCE, Peer};

/// What makes this program compile instead of test.
const COMPILE: &str = "compile-child";

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(COMPILE) {
        return iottly_sandbox::compile_child();
    }
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let run = |name: &str, test: &mut dyn FnMut()| {
        if wanted.as_deref().is_none_or(|wanted| name.contains(wanted)) {
            test();
            eprintln!("test {name} ... ok");
        }
    };
    macro_rules! tests {
        ($($name:ident)+) => { $(run(stringify!($name), &mut || block(&runtime, $name()));)+ };
    }
    // A failure panics, which ends the program with an error.
    tests! {
        a_command_runs_and_its_reply_and_result_arrive
        a_command_without_a_handler_is_told
        a_trap_in_a_handler_fails_the_command_and_restarts_the_firmware
        a_firmware_that_spins_in_its_loop_is_stopped_and_told
        a_file_that_is_no_firmware_is_told_and_fails_nothing_else
        a_started_firmware_stops_in_order
    }
    eprintln!("test result: ok");
    ExitCode::SUCCESS
}

fn block(runtime: &tokio::runtime::Runtime, test: impl Future<Output = ()>) {
    runtime.block_on(test);
}

/// A device with this firmware, its broker, and the cloud's end.
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
        let program = std::env::current_exe().expect("own path");
        let agent = Agent::start(AgentConfig {
            device_id: device,
            secret: Secret::new("a secret"),
            broker: BrokerAddress {
                host: broker.address.ip().to_string(),
                port: broker.address.port(),
            },
            firmware: Some(path),
            data_dir: dir.path().join("data"),
            cache_dir: None,
            compiler: Compiler {
                program,
                args: vec![COMPILE.into()],
            },
            board: Some(BoardKind::Virtual),
            grants: None,
            queue: QueueConfig::default(),
            updates: None,
        });
        let agent = agent.await.expect("the agent starts");
        // The broker keeps nothing for a device that is not there, and this peer does not send commands
        // again.
        let mut status = agent.status();
        let online = status.wait_for(|status| status.link == LinkState::Online);
        tokio::time::timeout(PATIENCE, online)
            .await
            .expect("online in time")
            .expect("the agent lives");
        Self {
            dir,
            _broker: broker,
            peer,
            agent,
        }
    }

    async fn firmware(&self, wanted: FirmwareStatus) {
        let mut status = self.agent.status();
        let wait = status.wait_for(|status| status.firmware == wanted);
        tokio::time::timeout(PATIENCE, wait)
            .await
            .unwrap_or_else(|_| panic!("not {wanted:?} in time"))
            .expect("the agent lives");
    }

    /// Waits for a message of the history that contains all of `parts`.
    async fn message(&mut self, parts: &[&str]) {
        let found = |text: &&str| parts.iter().all(|part| text.contains(part));
        self.peer
            .until(&format!("a message with {parts:?}"), |store| {
                store.of(History).iter().any(found)
            })
            .await;
    }

    async fn report(&mut self, state: FirmwareState) {
        let is = |text: &&str| match serde_json::from_str(text).expect("a record") {
            Record::Report(Report::Firmware(report)) => report.state == state,
            _ => false,
        };
        self.peer
            .until(&format!("the report {state:?}"), |store| {
                store.of(Control).iter().any(is)
            })
            .await;
    }

    async fn run(&mut self, cmd_type: &str) -> CommandResult {
        let id = CommandId::random();
        self.peer.command(id, cmd_type);
        let is = |result: &CommandResult| result.id == id && result.state.is_final();
        self.peer
            .until("the command's result", |store| store.results().iter().any(is))
            .await;
        self.peer
            .with(|store| store.results().into_iter().find(is))
            .expect("just seen")
    }
}

async fn a_command_runs_and_its_reply_and_result_arrive() {
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

async fn a_command_without_a_handler_is_told() {
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

async fn a_trap_in_a_handler_fails_the_command_and_restarts_the_firmware() {
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
    // A command that comes while there is no firmware waits for the restart.
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

async fn a_firmware_that_spins_in_its_loop_is_stopped_and_told() {
    let mut rig = Rig::start(&firmware(FINE, SPIN)).await;
    rig.message(&["\"function\":\"tick\"", "\"error\":\"trap time-budget\""])
        .await;
    rig.report(FirmwareState::Restarting).await;
    rig.agent.shutdown().await;
}

async fn a_file_that_is_no_firmware_is_told_and_fails_nothing_else() {
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

async fn a_started_firmware_stops_in_order() {
    let mut rig = Rig::start(&firmware(FINE, FINE)).await;
    rig.firmware(FirmwareStatus::Running).await;
    rig.peer
        .until("the start is told", |store| !store.of(History).is_empty())
        .await;
    assert!(
        rig.peer
            .with(|store| store.of(History).iter().all(|text| !text.contains("userdefined")))
    );
    rig.agent.shutdown().await;
    rig.peer
        .until("offline", |store| store.online == Some(false))
        .await;
    // What the firmware sends in its last call is delivered or kept.
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
