//! The cloud's clock steps under a running link: every message arrives once, with the right date once the
//! clock is correct again, and no command is lost, repeated or expired by it.

use std::sync::Arc;

use iottly_agent::AgentHandle;
use iottly_protocol::StreamClass::History;
use iottly_protocol::{CommandId, Record};

use crate::support::peer::{Broker, Peer, Proxy};
use crate::support::{dated_message, fresh, online, start, unix_ms};

const HOURS_3_MS: u64 = 3 * 3_600_000;
const YEARS_10_MS: u64 = 10 * 365 * 86_400_000;
/// Lead of the true date over this machine's, which leaves room for steps back, in milliseconds.
const BASE_MS: u64 = 2 * YEARS_10_MS;
/// Maximum error of a date, in milliseconds; the machine may be busy.
const TOLERANCE_MS: u64 = 60_000;

fn push(agent: &AgentHandle, n: u64) {
    let outbox = agent.outbox().expect("running");
    outbox.offer(History, dated_message(&outbox, n)).expect("room");
}

fn true_ms() -> u64 {
    unix_ms() + BASE_MS
}

/// Cuts the link and waits until another hello has been answered.
async fn relink(proxy: &Proxy, peer: &mut Peer, agent: &AgentHandle) {
    let hellos = peer.with(|store| store.hellos.len());
    proxy.cut();
    peer.until("another hello", |store| store.hellos.len() > hellos)
        .await;
    online(agent).await;
}

async fn stepped(ahead_ms: u64) {
    let (dir, device, store) = fresh();
    store.lock().expect("lock").ahead_ms = BASE_MS;
    let broker = Broker::start().await;
    let proxy = Proxy::start(None).await;
    let mut peer = Peer::start(broker.address, device, Arc::clone(&store)).await;
    let agent = start(dir.path(), device, proxy.address).await;
    let commands = [CommandId::random(), CommandId::random(), CommandId::random()];
    let began = true_ms();
    push(&agent, 1);
    proxy.retarget(broker.address);
    relink(&proxy, &mut peer, &agent).await;
    push(&agent, 2);
    peer.command(commands[0], "echo");
    // The clock of the cloud steps; the next welcome carries it to the device.
    store.lock().expect("lock").ahead_ms = ahead_ms;
    push(&agent, 3);
    relink(&proxy, &mut peer, &agent).await;
    push(&agent, 4);
    peer.command(commands[1], "echo");
    // The clock is corrected.
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
        let of = |id: CommandId| store.final_results(id).len();
        assert_eq!(commands.map(of), [1; 3], "{:?}", store.results());
        let messages = store.of(History);
        assert_eq!(messages.len(), 5);
        for text in messages {
            let Record::Message(message) = serde_json::from_str(text).expect("a record") else {
                panic!("{text}")
            };
            // A message from while the cloud itself was wrong has the cloud's date.
            let date = if message.payload.get() == r#"{"n":4}"# {
                ahead_ms
            } else {
                BASE_MS
            };
            let range = began - BASE_MS + date - TOLERANCE_MS..=ended - BASE_MS + date + TOLERANCE_MS;
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
