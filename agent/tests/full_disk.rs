//! A device whose disk is full: what is on it goes to the cloud, and commands wait without standing in the
//! way.

mod peer;
mod process;

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use iottly_agent::outbox::WhenFull;
use iottly_agent::{Agent, AgentConfig, BrokerAddress, Compiler, QueueConfig, Secret};
use iottly_protocol::StreamClass::History;
use iottly_protocol::{CommandId, CommandState, DeviceId};
use peer::{Broker, PATIENCE, Peer, Store};
use process::fill;

const BACKLOG: u64 = 20_000;
/// More than a broker has in flight to one client.
const COMMANDS: usize = 200;

/// A small file system in memory; unmounted when dropped. None where mounting is not allowed, which CI does
/// not accept.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(at: &Path) -> Option<Self> {
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=40m", "tmpfs"])
            .arg(at)
            .output();
        if done.is_ok_and(|output| output.status.success()) {
            return Some(Self(at.to_owned()));
        }
        assert!(
            std::env::var_os("CI").is_none(),
            "CI must be able to mount a tmpfs"
        );
        None
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Takes every byte that is free, now and as soon as one becomes free, until told otherwise.
fn hog(path: &Path, on: &Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    let (mut file, on, path) = (
        File::create(path).expect("create"),
        Arc::clone(on),
        path.to_owned(),
    );
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
        queue: QueueConfig {
            when_full: WhenFull::RefuseNew,
            ..QueueConfig::default()
        },
        updates: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_drained_while_commands_wait_and_then_they_run() {
    let (dir, device, store) = (
        tempfile::tempdir().expect("dir"),
        DeviceId::random(),
        Arc::<Mutex<Store>>::default(),
    );
    let Some(_tmpfs) = Tmpfs::mount(dir.path()) else {
        return;
    };
    let data = dir.path().join("data");
    fill(&data, BACKLOG);
    // The folder was used before.
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
        .expect("it starts on a full disk");
    peer.until("a welcome", |store| !store.hellos.is_empty()).await;
    let commands: Vec<_> = (0..COMMANDS).map(|_| CommandId::random()).collect();
    commands.iter().for_each(|id| peer.command(*id, "echo"));
    peer.until("the backlog", |store| store.of(History).len() as u64 >= BACKLOG)
        .await;
    let mut status = agent.status();
    let drained = status.wait_for(|status| status.queued == 0);
    tokio::time::timeout(PATIENCE, drained)
        .await
        .expect("acknowledgements come through")
        .expect("the agent lives");
    peer.with(|store| assert_eq!((store.conflicts, store.gaps.len()), (0, 0)));

    // There is room again: the device asks for what it had to leave out.
    let hellos = peer.with(|store| store.hellos.len());
    on.store(false, Ordering::Relaxed);
    hog.join().expect("ended");
    let ended = |store: &Store| {
        let results = store.results();
        commands
            .iter()
            .filter(|id| {
                results
                    .iter()
                    .any(|result| result.id == **id && result.state.is_final())
            })
            .count()
    };
    peer.until("another hello", |store| {
        store.hellos.len() > hellos || ended(store) == COMMANDS
    })
    .await;
    // As the cloud does after a hello with what has no result yet.
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
