//! A disk that hangs: the agent ends with its own exit code, and continues without loss when restarted. What the service
//! manager hears of an agent.

use std::os::unix::net::UnixDatagram;
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

/// The parts that stop are in `watchdog::beat` and, as threads of a real process, in `.ci/packages/run`.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_manager_hears_of_the_start_of_progress_and_of_the_stop() {
    let (dir, device, _store) = fresh();
    let at = dir.path().join("notify");
    let socket = UnixDatagram::bind(&at).expect("bound");
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    let heard = move || {
        let mut buffer = [0; 64];
        let len = socket.recv(&mut buffer).expect("a notice in time");
        String::from_utf8_lossy(&buffer[..len]).into_owned()
    };
    // Without a cloud: being up does not depend on one.
    let config = format!("device_id = \"{device}\"\nsecret = \"s\"\nbroker = \"127.0.0.1:1\"\n");
    let data = dir.path().join("data");
    let agent = Process::start_under(dir.path(), &data, &config, Some(&at));
    let (agent, notices) = tokio::task::spawn_blocking(move || {
        let mut notices: Vec<String> = (0..4).map(|_| heard()).collect();
        agent.terminate();
        while notices.last().is_some_and(|notice| notice != "STOPPING=1") {
            notices.push(heard());
        }
        (agent, notices)
    })
    .await
    .expect("no panic");
    let mut agent = agent;
    assert!(agent.ended(PATIENCE).await.success());
    assert_eq!(notices.first().map(String::as_str), Some("READY=1"));
    let signs = notices.iter().filter(|notice| *notice == "WATCHDOG=1").count();
    assert_eq!(signs, notices.len() - 2, "{notices:?}");
}
