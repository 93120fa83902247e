//! The agent against a real broker: queued messages arrive exactly once and in order, whatever happens to the
//! connection.

use std::sync::Arc;

use iottly_agent::outbox::{Outbox, OutboxError, WhenFull};
use iottly_agent::{Agent, LinkState, QueueConfig};
use iottly_protocol::StreamClass::{Control, History};
use iottly_protocol::{CommandId, CommandState, GapReason, Level, LogLine, Record};

use crate::support::peer::{Broker, PATIENCE, Peer, Proxy};
use crate::support::{config, fresh, large_message, message, online, push, start, unix_ms, until_status};

fn expected(last: u64) -> Vec<String> {
    (1..=last).map(|n| format!("{{\"n\":{n}}}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_arrive_once_and_in_order_through_cuts_and_a_broker_restart() {
    const LAST: u64 = 3000;
    let (dir, device, store) = fresh();
    let broker = Broker::start().await;
    let proxy = Proxy::start(Some(broker.address)).await;
    let peer = Peer::start(broker.address, device, Arc::clone(&store)).await;
    let agent = start(dir.path(), device, proxy.address).await;
    online(&agent).await;
    let outbox = agent.outbox().expect("running");
    for part in 0..30 {
        if part % 10 == 0 {
            online(&agent).await;
        }
        let outbox = outbox.clone();
        tokio::task::spawn_blocking(move || push(&outbox, part * 50 + 1..=(part + 1) * 50))
            .await
            .expect("pushed");
        if part % 10 == 0 {
            proxy.cut();
            until_status(&agent, "offline", |status| status.link != LinkState::Online).await;
        }
    }
    // The broker stops with all its state, and starts again at another address.
    drop(peer);
    broker.stop().await;
    tokio::task::spawn_blocking(move || push(&outbox, LAST / 2 + 1..=LAST))
        .await
        .expect("pushed");
    let broker = Broker::start().await;
    let mut peer = Peer::start(broker.address, device, store).await;
    proxy.retarget(broker.address);
    proxy.cut();
    peer.until("all messages", |store| store.of(History).len() as u64 >= LAST)
        .await;
    peer.with(|store| {
        assert_eq!(store.conflicts, 0);
        assert!(store.hellos.len() > 3, "the cuts had no effect");
        assert!(store.payloads() == expected(LAST));
    });
    until_status(&agent, "all acknowledged", |status| status.queued == 0).await;
    agent.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unsent_messages_survive_a_restart_and_keep_their_stream() {
    let (dir, device, store) = fresh();
    let proxy = Proxy::start(None).await;
    let agent = start(dir.path(), device, proxy.address).await;
    push(&agent.outbox().expect("running"), 1..=120);
    agent.shutdown().await;
    let agent = start(dir.path(), device, proxy.address).await;
    push(&agent.outbox().expect("running"), 121..=200);

    let broker = Broker::start().await;
    let mut peer = Peer::start(broker.address, device, store).await;
    proxy.retarget(broker.address);
    peer.until("all messages", |store| store.of(History).len() >= 200)
        .await;
    peer.with(|store| {
        assert_eq!(store.conflicts, 0);
        assert_eq!(
            store.classes.values().filter(|class| **class == History).count(),
            1
        );
        assert!(
            store.payloads() == expected(200),
            "a clean stop adds no agent message"
        );
    });
    agent.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unclean_stop_loses_nothing_durable_and_is_reported() {
    let (dir, device, store) = fresh();
    let proxy = Proxy::start(None).await;
    let agent = start(dir.path(), device, proxy.address).await;
    let outbox = agent.outbox().expect("running");
    let committed = outbox.offer_durable(History, message(1)).expect("room");
    committed.await.expect("an answer").expect("durable");
    drop((agent, outbox));

    let agent = start(dir.path(), device, proxy.address).await;
    let broker = Broker::start().await;
    let mut peer = Peer::start(broker.address, device, store).await;
    proxy.retarget(broker.address);
    peer.until("two messages", |store| store.of(History).len() >= 2)
        .await;
    peer.with(|store| {
        assert_eq!(store.payloads()[0], expected(1)[0]);
        let messages = store.of(History);
        assert!(
            messages[1].contains("iottlyagent") && messages[1].contains("unclean stop"),
            "{}",
            messages[1]
        );
    });
    agent.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_is_retained_and_a_clean_stop_says_goodbye() {
    let (dir, device, store) = fresh();
    let broker = Broker::start().await;
    let mut peer = Peer::start(broker.address, device, store).await;
    let agent = start(dir.path(), device, broker.address).await;
    peer.until("online", |store| store.online == Some(true)).await;
    online(&agent).await;
    agent.shutdown().await;
    peer.until("offline", |store| store.online == Some(false)).await;

    let agent = start(dir.path(), device, broker.address).await;
    peer.until("online again", |store| store.online == Some(true))
        .await;
    drop(agent);
    peer.until("the last will", |store| store.online == Some(false))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_without_firmware_fails_once_however_often_it_is_sent() {
    let (dir, device, store) = fresh();
    let broker = Broker::start().await;
    let mut peer = Peer::start(broker.address, device, store).await;
    let agent = start(dir.path(), device, broker.address).await;
    online(&agent).await;
    // Garbage on the topic costs nothing.
    peer.raw(b"\xff\x00 not json");
    peer.raw(br#"{"v":99,"ack":{}}"#);
    let first = CommandId::random();
    let second = CommandId::random();
    for _ in 0..3 {
        peer.command(first, "echo");
    }
    peer.until("a result", |store| !store.results().is_empty()).await;
    agent.shutdown().await;
    // The journal remembers across restarts.
    let agent = start(dir.path(), device, broker.address).await;
    online(&agent).await;
    peer.command(first, "echo");
    peer.command(second, "echo");
    peer.until("the second result", |store| {
        store.results().iter().any(|result| result.id == second)
    })
    .await;
    let results = peer.with(|store| store.results());
    let of = |id| {
        results
            .iter()
            .filter(|result| result.id == id)
            .collect::<Vec<_>>()
    };
    assert_eq!((of(first).len(), of(second).len()), (1, 1), "{results:?}");
    assert_eq!(of(first)[0].state, CommandState::Failed);
    assert_eq!(of(first)[0].detail.as_deref(), Some("no firmware is configured"));
    agent.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_device_continues_in_a_new_stream() {
    let (dir, device, store) = fresh();
    let proxy = Proxy::start(None).await;
    let agent = start(dir.path(), device, proxy.address).await;
    let old = agent.outbox().expect("running").streams().borrow()[0].stream;
    push(&agent.outbox().expect("running"), 1..=3);
    store.lock().expect("lock").pretend.insert(old, 500);

    let broker = Broker::start().await;
    let mut peer = Peer::start(broker.address, device, store).await;
    proxy.retarget(broker.address);
    peer.until("three messages", |store| store.of(History).len() >= 3)
        .await;
    peer.with(|store| {
        assert!(
            !store.records.contains_key(&old),
            "the old stream is not written to"
        );
        assert!(store.payloads() == expected(3));
    });
    agent.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_record_does_not_stop_the_stream() {
    let (dir, device, store) = fresh();
    store.lock().expect("lock").refuse = Some("{\"n\":2}");
    let broker = Broker::start().await;
    let mut peer = Peer::start(broker.address, device, store).await;
    let agent = start(dir.path(), device, broker.address).await;
    push(&agent.outbox().expect("running"), 1..=4);
    peer.until("four messages", |store| store.of(History).len() >= 4)
        .await;
    until_status(&agent, "a refusal and an empty queue", |status| {
        status.queued == 0 && status.refused >= 1
    })
    .await;
    agent.shutdown().await;
    let (queue, _) = iottly_agent::outbox::SledQueue::open(&dir.path().join("queue")).expect("open");
    let letters = iottly_agent::outbox::Queue::dead_letters(&queue).expect("read");
    assert_eq!(
        letters
            .iter()
            .map(|letter| (letter.class, letter.seq))
            .collect::<Vec<_>>(),
        [(History, 2)]
    );
    assert_eq!(letters[0].reason, "not wanted");
}

/// Offers a message until it is accepted or refused for another reason than a busy queue.
fn offer(outbox: &Outbox, record: &[u8]) -> Result<(), OutboxError> {
    loop {
        match outbox.offer(History, record.to_vec()) {
            Err(OutboxError::Busy { .. }) => {}
            done => return done,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_by_name_and_takes_again_when_the_cloud_has_acknowledged() {
    let (dir, device, store) = fresh();
    let proxy = Proxy::start(None).await;
    let mut small = config(dir.path(), device, proxy.address);
    small.queue = QueueConfig {
        disk_bytes: 4 << 20,
        when_full: WhenFull::RefuseNew,
        ttl_seconds: 0,
        ..QueueConfig::default()
    };
    let agent = Agent::start(small).await.expect("start");
    let outbox = agent.outbox().expect("running");
    let mut taken = 0;
    let error = loop {
        match offer(&outbox, &large_message(taken + 1)) {
            Ok(()) => taken += 1,
            Err(error) => break error.to_string(),
        }
        assert!(taken < 1000, "the budget has no effect");
    };
    assert!(error.contains("queue is full"), "{error}");
    let line = LogLine {
        level: Level::Info,
        text: "a line".to_owned(),
        at_ms: 0,
        firmware: None,
    };
    outbox
        .offer(Control, Record::Log(line).encode())
        .expect("control records have room of their own");

    let broker = Broker::start().await;
    let mut peer = Peer::start(broker.address, device, store).await;
    proxy.retarget(broker.address);
    peer.until("all taken messages", |store| {
        store.of(History).len() as u64 >= taken
    })
    .await;
    let mut streams = outbox.streams();
    let emptied = streams.wait_for(|streams| streams[0].oldest == streams[0].next);
    tokio::time::timeout(PATIENCE, emptied)
        .await
        .expect("in time")
        .expect("the agent lives");
    offer(&outbox, &large_message(taken + 1)).expect("there is room again");
    peer.until("the next message", |store| store.of(History).len() as u64 > taken)
        .await;
    peer.with(|store| assert!(store.gaps.is_empty() && store.of(History).len() as u64 == taken + 1));
    agent.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_budget_drops_arrives_as_a_gap() {
    const LAST: u64 = 400;
    let (dir, device, store) = fresh();
    let proxy = Proxy::start(None).await;
    let mut small = config(dir.path(), device, proxy.address);
    small.queue = QueueConfig {
        disk_bytes: 4 << 20,
        ..QueueConfig::default()
    };
    let agent = Agent::start(small).await.expect("start");
    let outbox = agent.outbox().expect("running");
    let filling = outbox.clone();
    let fill =
        move || (1..=LAST).for_each(|n| offer(&filling, &large_message(n)).expect("the oldest make room"));
    tokio::task::spawn_blocking(fill).await.expect("filled");
    let mut streams = outbox.streams();
    let committed = streams.wait_for(|streams| streams[0].next == LAST + 1);
    tokio::time::timeout(PATIENCE, committed)
        .await
        .expect("in time")
        .expect("the agent lives");

    let broker = Broker::start().await;
    let mut peer = Peer::start(broker.address, device, store).await;
    proxy.retarget(broker.address);
    let emptied = streams.wait_for(|streams| streams[0].oldest == streams[0].next);
    tokio::time::timeout(PATIENCE, emptied)
        .await
        .expect("in time")
        .expect("the agent lives");
    peer.until("the last message", |store| {
        store.of(History).iter().any(|text| text.contains("\"n\":400,"))
    })
    .await;
    peer.with(|store| {
        let (stream, gaps) = store.gaps.iter().next().expect("a gap");
        let [(1, to, GapReason::Budget)] = gaps[..] else {
            panic!("{gaps:?}")
        };
        let kept: Vec<u64> = store.records[stream].keys().copied().collect();
        assert_eq!(kept, (to + 1..=LAST).collect::<Vec<_>>());
    });
    agent.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_agents_cannot_share_a_folder() {
    let (dir, device, _) = fresh();
    let proxy = Proxy::start(None).await;
    let agent = start(dir.path(), device, proxy.address).await;
    let error = Agent::start(config(dir.path(), device, proxy.address))
        .await
        .err()
        .expect("refused")
        .to_string();
    assert!(error.contains("in use by another agent"), "{error}");
    agent.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_queued_before_the_date_was_known_is_dated_by_the_cloud() {
    const YEARS_10_MS: u64 = 10 * 365 * 86_400_000;
    let (dir, device, store) = fresh();
    // Seen from the cloud, this machine's clock is ten years slow.
    store.lock().expect("lock").ahead_ms = YEARS_10_MS;
    let proxy = Proxy::start(None).await;
    let agent = start(dir.path(), device, proxy.address).await;
    let began_ms = unix_ms();
    push(&agent.outbox().expect("running"), 1..=3);
    let pushed_ms = unix_ms();
    // The messages are dated across a restart of the agent, as long as the system is not restarted.
    agent.shutdown().await;
    let agent = start(dir.path(), device, proxy.address).await;
    push(&agent.outbox().expect("running"), 4..=4);
    let broker = Broker::start().await;
    let mut peer = Peer::start(broker.address, device, store).await;
    proxy.retarget(broker.address);
    peer.until("four messages", |store| store.of(History).len() >= 4)
        .await;
    peer.with(|store| {
        for (n, text) in (1..).zip(store.of(History)) {
            let Record::Message(message) = serde_json::from_str(text).expect("a record") else {
                panic!("{text}")
            };
            let error_ms = message.at_error_ms.expect("it was dated later");
            let end_ms = if n <= 3 { pushed_ms } else { unix_ms() };
            let from = began_ms + YEARS_10_MS;
            let to = end_ms + YEARS_10_MS;
            assert!(
                (from - error_ms..=to + error_ms).contains(&message.at_ms),
                "{text}: not in {from}..={to}"
            );
        }
    });
    agent.shutdown().await;
}
