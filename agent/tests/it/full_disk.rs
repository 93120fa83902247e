//! A device whose disk is full: its stored messages are delivered, and commands wait without blocking them.

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use iottly_agent::outbox::WhenFull;
use iottly_agent::{Agent, AgentConfig, QueueConfig};
use iottly_protocol::StreamClass::History;
use iottly_protocol::{CommandId, CommandState, DeviceId};

use crate::support::mount::Mount;
use crate::support::peer::{Broker, Peer, Store};
use crate::support::process::fill;
use crate::support::{fresh, until_status};

const BACKLOG: u64 = 20_000;
/// Number of commands, more than a broker has in flight to one client.
const COMMANDS: usize = 200;

/// Takes every free byte, now and whenever one becomes free, as long as `on` is set.
fn hog(path: &Path, on: &Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    let mut file = File::create(path).expect("create");
    let on = Arc::clone(on);
    let path = path.to_owned();
    let mut take = move || {
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![7; size]).is_ok() {}
        }
    };
    take();
    std::thread::spawn(move || {
        while on.load(Ordering::Relaxed) {
            take();
            std::thread::sleep(Duration::from_millis(1));
        }
        fs::remove_file(path).expect("removed");
    })
}

fn config(dir: &Path, device: DeviceId, broker: SocketAddr) -> AgentConfig {
    AgentConfig {
        queue: QueueConfig {
            when_full: WhenFull::RefuseNew,
            ..QueueConfig::default()
        },
        ..crate::support::config(dir, device, broker)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_drained_while_commands_wait_and_then_they_run() {
    let (dir, device, store) = fresh();
    let Some(_tmpfs) = Mount::tmpfs("40m", dir.path()) else {
        return;
    };
    let data = dir.path().join("data");
    fill(&data, BACKLOG);
    // Use the folder once before the disk is full.
    let broker = Broker::start().await;
    let nowhere: SocketAddr = "127.0.0.1:1".parse().expect("address");
    Agent::start(config(&data, device, nowhere))
        .await
        .expect("start")
        .shutdown()
        .await;

    let on = Arc::new(AtomicBool::new(true));
    let hog = hog(&dir.path().join("foreign"), &on);
    let mut peer = Peer::start(broker.address, device, Arc::clone(&store)).await;
    let agent = Agent::start(config(&data, device, broker.address))
        .await
        .expect("the agent starts on a full disk");
    peer.until("a welcome", |store| !store.hellos.is_empty()).await;
    let commands: Vec<_> = (0..COMMANDS).map(|_| CommandId::random()).collect();
    commands.iter().for_each(|id| peer.command(*id, "echo"));
    peer.until("the backlog", |store| store.of(History).len() as u64 >= BACKLOG)
        .await;
    until_status(&agent, "an empty queue", |status| status.queued == 0).await;
    peer.with(|store| assert_eq!((store.conflicts, store.gaps.len()), (0, 0)));

    // There is room again: the device requests the skipped commands.
    let hellos = peer.with(|store| store.hellos.len());
    on.store(false, Ordering::Relaxed);
    hog.join().expect("ended");
    let ended = |store: &Store| {
        commands
            .iter()
            .filter(|id| !store.final_results(**id).is_empty())
            .count()
    };
    peer.until("another hello", |store| {
        store.hellos.len() > hellos || ended(store) == COMMANDS
    })
    .await;
    // The cloud repeats commands without a result after a hello.
    let open: Vec<_> = peer.with(|store| {
        let results = store.results();
        commands
            .iter()
            .filter(|id| !results.iter().any(|result| result.id == **id))
            .copied()
            .collect()
    });
    open.iter().for_each(|id| peer.command(*id, "echo"));
    peer.until("a result of each command", |store| ended(store) == COMMANDS)
        .await;
    peer.with(|store| {
        let finals = store
            .results()
            .into_iter()
            .filter(|result| result.state.is_final());
        assert!(
            finals.clone().count() == COMMANDS
                && finals.clone().all(|result| result.state == CommandState::Failed)
        );
    });
    agent.shutdown().await;
}
