//! A disk that hangs: the agent ends with its own exit code, and continues without loss when restarted.

use std::time::{Duration, Instant};

use iottly_agent::HUNG_EXIT;
use iottly_protocol::CommandId;
use iottly_protocol::StreamClass::History;

use crate::support::fresh;
use crate::support::mount::Mount;
use crate::support::peer::{Broker, PATIENCE, Peer};
use crate::support::process::{Process, fill};

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_ends_the_process_and_costs_nothing() {
    let (dir, device, store) = fresh();
    let Some(mount) = Mount::ext4(&dir.path().join("image"), &dir.path().join("mounted")) else {
        return;
    };
    let data = dir.path().join("mounted/data");
    fill(&data, 300);
    let broker = Broker::start().await;
    let mut peer = Peer::start(broker.address, device, store).await;
    let mut agent = Process::start(dir.path(), &data, device, broker.address);
    peer.until("the backlog", |store| store.of(History).len() >= 300)
        .await;

    mount.freeze();
    let id = CommandId::random();
    peer.command(id, "echo");
    let began = Instant::now();
    let noticed = loop {
        if agent.log().contains("hangs") || began.elapsed() > Duration::from_secs(150) {
            break began.elapsed();
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    // A thread in the middle of a write to a frozen disk cannot be killed before the disk answers.
    mount.thaw();
    assert!(
        agent.log().contains("hangs"),
        "the hang is not noticed: {}",
        agent.log()
    );
    assert!(
        noticed > Duration::from_secs(30),
        "a slow disk does not count as hanging"
    );
    assert_eq!(agent.ended(PATIENCE).await.code(), Some(HUNG_EXIT));
    drop(agent);

    let hellos = peer.with(|store| store.hellos.len());
    let mut agent = Process::start(dir.path(), &data, device, broker.address);
    peer.until("another hello", |store| store.hellos.len() > hellos)
        .await;
    // The cloud repeats commands without a result after a hello.
    peer.command(id, "echo");
    peer.until("the command's one result", |store| {
        store.results().iter().any(|result| result.id == id)
    })
    .await;
    peer.with(|store| {
        assert_eq!((store.conflicts, store.gaps.len()), (0, 0));
        assert_eq!(store.final_results(id).len(), 1);
    });
    agent.terminate();
    assert!(agent.ended(PATIENCE).await.success());
}
