//! The cloud's clock steps under a running link: every message arrives once, with the right date once the
//! clock is right again, and no command is lost, run twice or expired by it.

mod peer;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use iottly_agent::{
    Agent, AgentConfig, AgentHandle, BrokerAddress, Compiler, LinkState, QueueConfig, Secret,
};
use iottly_protocol::StreamClass::History;
use iottly_protocol::{CommandId, DeviceId, Message, MessageKind, Record};
use peer::{Broker, PATIENCE, Peer, Proxy, Store};

const HOURS_3_MS: u64 = 3 * 3_600_000;
const YEARS_10_MS: u64 = 10 * 365 * 86_400_000;
/// How far the true date lies before this machine's, so that there is room for steps back.
const BASE_MS: u64 = 2 * YEARS_10_MS;
/// How far a date may be off in this test, milliseconds: the machine may be busy.
const TOLERANCE_MS: u64 = 60_000;

fn config(dir: &Path, device: DeviceId, broker: SocketAddr) -> AgentConfig {
    AgentConfig {
        device_id: device,
        secret: Secret::new("a secret"),
        broker: BrokerAddress {
            host: broker.ip().to_string(),
            port: broker.port(),
        },
        firmware: None,
        data_dir: dir.to_owned(),
        cache_dir: None,
        compiler: Compiler {
            program: "iottly-compile".into(),
            args: Vec::new(),
        },
        board: None,
        grants: None,
        queue: QueueConfig::default(),
        updates: None,
    }
}

/// A message as the firmware makes it: dated by whoever queues it.
fn push(agent: &AgentHandle, n: u64) {
    let payload = serde_json::value::RawValue::from_string(format!("{{\"n\":{n}}}")).expect("json");
    let outbox = agent.outbox().expect("running");
    let at_ms = outbox.now_ms();
    let message = Message {
        kind: MessageKind::UserDefined,
        at_ms,
        at_error_ms: None,
        channel: None,
        payload: &payload,
    };
    outbox
        .offer(History, Record::Message(message).encode())
        .expect("room");
}

fn true_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_millis() as u64
        + BASE_MS
}

/// Cuts the link and waits until another hello was answered.
async fn relink(proxy: &Proxy, peer: &mut Peer, agent: &AgentHandle) {
    let hellos = peer.with(|store| store.hellos.len());
    proxy.cut();
    peer.until("another hello", |store| store.hellos.len() > hellos)
        .await;
    let mut status = agent.status();
    let online = status.wait_for(|status| status.link == LinkState::Online);
    tokio::time::timeout(PATIENCE, online)
        .await
        .expect("in time")
        .expect("the agent lives");
}

async fn stepped(ahead_ms: u64) {
    let (dir, device, store) = (
        tempfile::tempdir().expect("dir"),
        DeviceId::random(),
        Arc::<Mutex<Store>>::default(),
    );
    store.lock().expect("lock").ahead_ms = BASE_MS;
    let broker = Broker::start().await;
    let proxy = Proxy::start(None).await;
    let mut peer = Peer::start(broker.address, device, Arc::clone(&store)).await;
    let agent = Agent::start(config(dir.path(), device, proxy.address))
        .await
        .expect("start");
    let commands = [CommandId::random(), CommandId::random(), CommandId::random()];
    let began = true_ms();
    push(&agent, 1);
    proxy.retarget(broker.address);
    relink(&proxy, &mut peer, &agent).await;
    push(&agent, 2);
    peer.command(commands[0], "echo");
    // The clock of the cloud steps, and the device hears of it with the next welcome.
    store.lock().expect("lock").ahead_ms = ahead_ms;
    push(&agent, 3);
    relink(&proxy, &mut peer, &agent).await;
    push(&agent, 4);
    peer.command(commands[1], "echo");
    // It is put right again.
    store.lock().expect("lock").ahead_ms = BASE_MS;
    relink(&proxy, &mut peer, &agent).await;
    push(&agent, 5);
    peer.command(commands[2], "echo");
    commands.iter().for_each(|id| peer.command(*id, "echo"));
    peer.until("all messages", |store| store.of(History).len() >= 5)
        .await;
    peer.until("all results", |store| {
        commands
            .iter()
            .all(|id| store.results().iter().any(|result| result.id == *id))
    })
    .await;
    let ended = true_ms();
    peer.with(|store| {
        assert_eq!((store.conflicts, store.gaps.len()), (0, 0));
        let of = |id: CommandId| {
            store
                .results()
                .iter()
                .filter(|result| result.id == id && result.state.is_final())
                .count()
        };
        assert_eq!(commands.map(of), [1; 3], "{:?}", store.results());
        let messages = store.of(History);
        assert_eq!(messages.len(), 5);
        for text in messages {
            let Record::Message(message) = serde_json::from_str(text).expect("a record") else {
                panic!("{text}")
            };
            // What was made while the cloud itself was wrong is dated as it said.
            let told = if message.payload.get() == r#"{"n":4}"# {
                ahead_ms
            } else {
                BASE_MS
            };
            let range = began - BASE_MS + told - TOLERANCE_MS..=ended - BASE_MS + told + TOLERANCE_MS;
            assert!(range.contains(&message.at_ms), "{text}: not in {range:?}");
        }
    });
    agent.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hours_forward() {
    stepped(BASE_MS + HOURS_3_MS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hours_back() {
    stepped(BASE_MS - HOURS_3_MS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_years_forward() {
    stepped(BASE_MS + YEARS_10_MS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_years_back() {
    stepped(BASE_MS - YEARS_10_MS).await;
}
