//! A disk that hangs: the agent notices, ends with a code of its own, and goes on when it is started again.

mod peer;
mod process;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use iottly_agent::HUNG_EXIT;
use iottly_protocol::StreamClass::History;
use iottly_protocol::{CommandId, DeviceId};
use peer::{Broker, PATIENCE, Peer, Store};
use process::{Process, fill};

/// A mounted image; thawed and unmounted when dropped.
struct Mount(PathBuf);

impl Mount {
    /// Mounts an ext4; none where that is not allowed, which CI does not accept.
    fn ext4(image: &Path, at: &Path) -> Option<Self> {
        fs::create_dir_all(at).expect("folder");
        File::create(image)
            .and_then(|file| file.set_len(64 << 20))
            .expect("image");
        let done = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
        if done(Command::new("mkfs.ext4").arg("-q").arg(image))
            && done(Command::new("mount").args(["-o", "loop"]).arg(image).arg(at))
        {
            return Some(Self(at.to_owned()));
        }
        assert!(
            std::env::var_os("CI").is_none(),
            "CI must be able to mount an image"
        );
        None
    }

    /// From now on whoever writes to it waits.
    fn freeze(&self) {
        assert!(
            Command::new("fsfreeze")
                .arg("-f")
                .arg(&self.0)
                .status()
                .expect("fsfreeze")
                .success()
        );
    }

    fn thaw(&self) {
        let _ = Command::new("fsfreeze").arg("-u").arg(&self.0).output();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.thaw();
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_ends_the_process_and_costs_nothing() {
    let (dir, device, store) = (
        tempfile::tempdir().expect("dir"),
        DeviceId::random(),
        Arc::<Mutex<Store>>::default(),
    );
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
    assert!(agent.log().contains("hangs"), "nobody notices: {}", agent.log());
    assert!(
        noticed > Duration::from_secs(30),
        "a slow disk is not a hanging one"
    );
    assert_eq!(agent.ended(PATIENCE).await.code(), Some(HUNG_EXIT));
    drop(agent);

    let hellos = peer.with(|store| store.hellos.len());
    let mut agent = Process::start(dir.path(), &data, device, broker.address);
    peer.until("another hello", |store| store.hellos.len() > hellos)
        .await;
    // As the cloud does with what has no result yet.
    peer.command(id, "echo");
    peer.until("the command's one result", |store| {
        store.results().iter().any(|result| result.id == id)
    })
    .await;
    peer.with(|store| {
        assert_eq!((store.conflicts, store.gaps.len()), (0, 0));
        assert_eq!(
            store
                .results()
                .iter()
                .filter(|result| result.id == id && result.state.is_final())
                .count(),
            1
        );
    });
    agent.terminate();
    assert!(agent.ended(PATIENCE).await.success());
}
