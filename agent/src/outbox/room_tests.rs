//! The queue within its bytes and its time to live, and on disks that are full or read-only.

use iottly_protocol::StreamClass::{Control, History};

use super::tests::{open, pending, records};
use super::*;

#[test]
fn the_oldest_messages_make_room_and_leave_one_gap() {
    let dir = tempfile::tempdir().expect("dir");
    let policy = Policy {
        disk_bytes: MIN_DISK_BYTES,
        ..Policy::default()
    };
    let (mut queue, _) = SledQueue::open_with(&dir.path().join("queue"), policy).expect("open");
    queue.push_batch(&[pending(Control, "a result")]).expect("push");
    let text = "x".repeat(1000);
    for _ in 0..100 {
        let batch: Vec<_> = (0..100).map(|_| pending(History, &text)).collect();
        queue.push_batch(&batch).expect("push");
        let used = disk::disk_bytes(&dir.path().join("queue"));
        assert!(used <= MIN_DISK_BYTES, "{used} bytes on disk");
    }
    let info = queue.stream(History);
    assert_eq!(
        (info.oldest, info.next),
        (1, 10_001),
        "what is dropped still counts as not acknowledged"
    );
    let page = queue.peek(History, 1, 10, usize::MAX).expect("peek");
    let Item::Hole {
        from: 1,
        to,
        reason: GapReason::Budget,
    } = page.items[0]
    else {
        panic!("{:?}", page.items[0])
    };
    assert!(matches!(page.items[1], Item::Record { seq, .. } if seq == to + 1));
    let (waiting, lost) = (10_000 - to, to);
    assert_eq!(queue.count(History), StreamCount { waiting, lost });
    assert_eq!(
        records(&mut queue, Control),
        [(1, "a result".into())],
        "control records have priority"
    );
    let summary = summarise(&dir.path().join("queue"))
        .expect("read")
        .expect("a queue");
    assert_eq!(
        summary.streams[0].gaps,
        [GapSummary {
            from: 1,
            to,
            count: to,
            reason: GapReason::Budget
        }]
    );
    assert_eq!((summary.streams[0].depth, summary.streams[1].depth), (10_000, 1));
    // The cloud has stored the gap: it is removed, also after a restart.
    queue.ack(History, to).expect("ack");
    drop(queue);
    let (mut queue, notes) = SledQueue::open_with(&dir.path().join("queue"), policy).expect("open");
    assert_eq!((notes, queue.stream(History).oldest), (vec![], to + 1));
    assert!(matches!(
        queue.peek(History, 1, 1, usize::MAX).expect("peek").items[..],
        [Item::Record { .. }]
    ));
}

#[test]
fn messages_expire_by_the_time_that_the_agent_runs() {
    let dir = tempfile::tempdir().expect("dir");
    let policy = Policy {
        ttl_ms: Some(60_000),
        ..Policy::default()
    };
    let open = || {
        SledQueue::open_with(&dir.path().join("queue"), policy)
            .expect("open")
            .0
    };
    let mut queue = open();
    queue.tick(1_000);
    queue
        .push_batch(&[pending(History, "old"), pending(History, "old too")])
        .expect("push");
    queue.tick(30_000);
    queue.push_batch(&[pending(History, "fresh")]).expect("push");
    queue.tick(60_999);
    assert_eq!(records(&mut queue, History).len(), 3);
    // The clock continues from the last write of the queue.
    drop(queue);
    let mut queue = open();
    queue.tick(31_001);
    let page = queue.peek(History, 1, 10, usize::MAX).expect("peek");
    let [
        Item::Hole {
            from: 1,
            to: 2,
            reason: GapReason::Ttl,
        },
        Item::Record { seq: 3, .. },
    ] = &page.items[..]
    else {
        panic!("{page:?}")
    };
    // Lost positions stay lost.
    queue.tick(0);
    assert_eq!(queue.peek(History, 1, 10, usize::MAX).expect("peek"), page);
}

#[test]
fn a_drained_queue_gives_its_disk_back() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("queue");
    let mut queue = open(dir.path());
    let text = "x".repeat(500);
    for _ in 0..40 {
        let batch: Vec<_> = (0..500).map(|_| pending(History, &text)).collect();
        queue.push_batch(&batch).expect("push");
    }
    let full = disk::disk_bytes(&path);
    assert!(full > 10 << 20, "{full}");
    let mut seq = 1;
    while seq < 20_001 {
        let page = queue.peek(History, seq, 1000, 256 << 10).expect("peek");
        seq = page.items.last().expect("records").last() + 1;
        queue.ack(History, seq - 1).expect("ack");
    }
    let drained = disk::disk_bytes(&path);
    assert!(drained < 1 << 20, "{drained} bytes are left");
    queue.push_batch(&[pending(History, "next")]).expect("push");
    assert_eq!(records(&mut queue, History), [(20_001, "next".into())]);
}

#[test]
fn a_full_disk_is_an_error_that_passes() {
    let mount = tempfile::tempdir().expect("dir");
    let Some(_tmpfs) = Tmpfs::mount(mount.path(), "6m") else {
        return;
    };
    let path = mount.path().join("queue");
    let policy = Policy {
        when_full: WhenFull::RefuseNew,
        ..Policy::default()
    };
    let (mut queue, _) = SledQueue::open_with(&path, policy).expect("open");
    let text = "x".repeat(2000);
    let batch: Vec<_> = (0..100).map(|_| pending(History, &text)).collect();
    let mut stored = 0;
    let error = loop {
        match queue.push_batch(&batch) {
            Ok(()) => stored += 100,
            Err(error) => break error.to_string(),
        }
        assert!(stored < 100_000, "the disk does not fill up");
    };
    assert!(
        error.contains("queue") && error.contains("no storage space"),
        "{error}"
    );
    assert_eq!(
        queue.stream(History).next,
        stored + 1,
        "what failed does not count"
    );
    let _ = queue.recover();
    assert!(queue.push_batch(&batch).is_err(), "there is still no room");
    let _ = queue.recover();
    // All stored records are there, and acknowledging them makes room.
    let mut seq = 1;
    while seq <= stored {
        let page = queue.peek(History, seq, 1000, 256 << 10).expect("peek");
        assert!(
            page.items.iter().all(|item| matches!(item, Item::Record { .. })),
            "a hole after {seq}"
        );
        seq = page.items.last().expect("records").last() + 1;
        queue.ack(History, seq - 1).expect("ack");
    }
    queue.push_batch(&batch).expect("there is room again");
    drop(queue);

    // With the other policy the oldest records are dropped before the disk is full.
    let (mut queue, notes) = SledQueue::open_with(&path, Policy::default()).expect("open");
    assert_eq!(notes, []);
    for _ in 0..100 {
        queue.push_batch(&batch).expect("the oldest make room");
    }
    let summary = summarise(&path).expect("read").expect("a queue");
    assert!(
        summary.streams[0]
            .gaps
            .iter()
            .all(|gap| gap.reason == GapReason::Budget)
            && !summary.streams[0].gaps.is_empty()
    );
}

#[test]
fn a_read_only_disk_is_an_error_by_name() {
    let mount = tempfile::tempdir().expect("dir");
    let Some(_tmpfs) = Tmpfs::mount(mount.path(), "16m") else {
        return;
    };
    let path = mount.path().join("queue");
    let (mut queue, _) = SledQueue::open(&path).expect("open");
    queue.push_batch(&[pending(History, "a")]).expect("push");
    drop(queue);
    Tmpfs::remount(mount.path(), "ro");
    let error = SledQueue::open(&path).err().expect("refused").to_string();
    assert!(
        error.contains("queue") && error.to_lowercase().contains("read-only"),
        "{error}"
    );
    Tmpfs::remount(mount.path(), "rw");
    let (mut queue, notes) = SledQueue::open(&path).expect("open");
    assert_eq!(
        (records(&mut queue, History), notes),
        (vec![(1, "a".into())], vec![])
    );
}

/// Small file system in memory; `None` where mounting is not allowed, which fails in CI.
struct Tmpfs(std::path::PathBuf);

impl Tmpfs {
    fn mount(at: &std::path::Path, size: &str) -> Option<Self> {
        let options = format!("size={size}");
        let done = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
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

    /// Retries for a while: sled's threads may still be closing a file.
    fn remount(at: &std::path::Path, mode: &str) {
        for _ in 0..500 {
            let mut command = std::process::Command::new("mount");
            let done = command
                .args(["-o", &format!("remount,{mode}")])
                .arg(at)
                .output()
                .expect("mount");
            if done.status.success() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("the file system stays busy");
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .status();
    }
}
