//! The queue through its public interface: numbers, pages, budgets, streams.

use iottly_protocol::StreamClass::{Control, History};
use proptest::prelude::*;

use super::*;

fn pending(class: StreamClass, text: &str) -> Pending {
    Pending {
        class,
        record: text.as_bytes().to_vec(),
    }
}

fn open(dir: &std::path::Path) -> SledQueue {
    let (queue, notes) = SledQueue::open(&dir.join("queue")).expect("open");
    assert_eq!(notes, []);
    queue
}

fn records(queue: &mut SledQueue, class: StreamClass) -> Vec<(u64, String)> {
    let page = queue.peek(class, 0, usize::MAX, usize::MAX).expect("peek");
    let text = |item| match item {
        Item::Record { seq, record } => (seq, String::from_utf8(record).expect("text")),
        Item::Hole { from, to, .. } => panic!("hole {from}..={to}"),
    };
    page.items.into_iter().map(text).collect()
}

#[test]
fn numbers_start_at_one_and_survive_a_reopen() {
    let dir = tempfile::tempdir().expect("dir");
    let mut queue = open(dir.path());
    queue
        .push_batch(&[
            pending(History, "a"),
            pending(Control, "r"),
            pending(History, "b"),
        ])
        .expect("push");
    let stream = queue.stream(History).stream;
    drop(queue);
    let mut queue = open(dir.path());
    assert_eq!(
        queue.stream(History),
        StreamInfo {
            stream,
            class: History,
            oldest: 1,
            next: 3
        }
    );
    assert_eq!(records(&mut queue, History), [(1, "a".into()), (2, "b".into())]);
    assert_eq!(records(&mut queue, Control), [(1, "r".into())]);
    assert_ne!(queue.stream(Control).stream, stream);
}

#[test]
fn an_emptied_stream_keeps_counting_after_a_reopen() {
    let dir = tempfile::tempdir().expect("dir");
    let mut queue = open(dir.path());
    queue
        .push_batch(&[pending(History, "a"), pending(History, "b")])
        .expect("push");
    queue.ack(History, 99).expect("ack beyond the end is cut");
    drop(queue);
    let mut queue = open(dir.path());
    assert_eq!((queue.stream(History).oldest, queue.stream(History).next), (3, 3));
    queue.push_batch(&[pending(History, "c")]).expect("push");
    assert_eq!(records(&mut queue, History), [(3, "c".into())]);
}

#[test]
fn a_page_ends_at_its_limits_but_always_has_one_record() {
    let dir = tempfile::tempdir().expect("dir");
    let mut queue = open(dir.path());
    let batch: Vec<_> = (0..10).map(|n| pending(History, &format!("{n:0100}"))).collect();
    queue.push_batch(&batch).expect("push");
    let count = |queue: &mut SledQueue, records, bytes| {
        queue.peek(History, 3, records, bytes).expect("peek").items.len()
    };
    assert_eq!(count(&mut queue, 4, usize::MAX), 4);
    assert_eq!(count(&mut queue, 100, 250), 2);
    assert_eq!(count(&mut queue, 100, 1), 1);
    assert_eq!(count(&mut queue, 100, usize::MAX), 8);
}

#[test]
fn a_damaged_or_missing_record_is_a_hole_and_costs_no_neighbour() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("queue");
    let mut queue = open(dir.path());
    let batch: Vec<_> = (1..=8)
        .map(|n| pending(History, &format!("record {n}")))
        .collect();
    queue.push_batch(&batch).expect("push");
    drop(queue);
    let db = sled_files::open_db(&path.join(chain::segment_name(History, 1))).expect("raw");
    let mut value = db.get(frame::key(3)).expect("read").expect("present").to_vec();
    *value.last_mut().expect("not empty") ^= 1;
    db.insert(frame::key(3), value).expect("damage");
    db.remove(frame::key(4)).expect("remove");
    // A value under a wrong key is damage as well.
    let moved = db.get(frame::key(1)).expect("read").expect("present");
    db.insert(frame::key(6), moved).expect("move");
    db.flush().expect("flush");
    drop(db);

    let mut queue = open(dir.path());
    let page = queue.peek(History, 1, 100, usize::MAX).expect("peek");
    let shape: Vec<_> = page
        .items
        .iter()
        .map(|item| match item {
            Item::Record { seq, .. } => (*seq, *seq, true),
            Item::Hole { from, to, reason } => {
                assert_eq!(*reason, GapReason::Corruption);
                (*from, *to, false)
            }
        })
        .collect();
    assert_eq!(
        shape,
        [
            (1, 1, true),
            (2, 2, true),
            (3, 4, false),
            (5, 5, true),
            (6, 6, false),
            (7, 7, true),
            (8, 8, true)
        ]
    );
}

#[test]
fn a_new_stream_renumbers_what_is_left() {
    let dir = tempfile::tempdir().expect("dir");
    let mut queue = open(dir.path());
    let batch: Vec<_> = ["a", "b", "c"].map(|text| pending(History, text)).into();
    queue.push_batch(&batch).expect("push");
    queue.ack(History, 1).expect("ack");
    let old = queue.stream(History).stream;
    queue.remint(History).expect("remint");
    assert_ne!(queue.stream(History).stream, old);
    assert_eq!(records(&mut queue, History), [(1, "b".into()), (2, "c".into())]);
    drop(queue);
    assert_eq!(
        records(&mut open(dir.path()), History),
        [(1, "b".into()), (2, "c".into())]
    );
}

#[test]
fn dead_letters_are_kept_and_bounded() {
    let dir = tempfile::tempdir().expect("dir");
    let mut queue = open(dir.path());
    let batch: Vec<_> = (1..=300)
        .map(|n| pending(History, &format!("record {n}")))
        .collect();
    queue.push_batch(&batch).expect("push");
    for seq in 1..=300 {
        queue
            .dead_letter(History, seq, "payload: not an object")
            .expect("dead letter");
    }
    queue.ack(History, 300).expect("ack");
    let letters = queue.dead_letters().expect("read");
    assert!(
        letters.len() <= dead_letter::MAX_DEAD_LETTERS,
        "{}",
        letters.len()
    );
    let last = letters.last().expect("some");
    assert_eq!(
        (last.seq, last.reason.as_str(), last.record.as_slice()),
        (300, "payload: not an object", b"record 300".as_slice())
    );
    queue
        .dead_letter(History, 300, "another reason")
        .expect("dead letter");
    assert_eq!(
        queue.dead_letters().expect("read"),
        letters,
        "one letter for a number"
    );
}

#[test]
fn large_records_are_stored_whole() {
    let dir = tempfile::tempdir().expect("dir");
    let mut queue = open(dir.path());
    let large = "x".repeat(1 << 20);
    queue
        .push_batch(&[pending(History, "small"), pending(History, &large)])
        .expect("push");
    drop(queue);
    let found = records(&mut open(dir.path()), History);
    assert_eq!(found.len(), 2);
    assert!(found[1].1 == large);
}

#[derive(Debug, Clone)]
enum Op {
    Push(Vec<(bool, String)>),
    Ack(bool, u64),
    Remint(bool),
    Recover,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => prop::collection::vec((any::<bool>(), "[a-z]{0,40}"), 1..12).prop_map(Op::Push),
        4 => (any::<bool>(), 0u64..60).prop_map(|(class, upto)| Op::Ack(class, upto)),
        1 => any::<bool>().prop_map(Op::Remint),
        1 => Just(Op::Recover),
    ]
}

#[derive(Default)]
struct Model {
    acked: u64,
    records: Vec<(u64, String)>,
    next: u64,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_queue_is_two_numbered_lists(ops in prop::collection::vec(op(), 1..40)) {
        let dir = tempfile::tempdir().expect("dir");
        let mut queue = open(dir.path());
        let mut models = [Model { next: 1, ..Model::default() }, Model { next: 1, ..Model::default() }];
        let class = |control: bool| if control { Control } else { History };
        for op in ops {
            match op {
                Op::Push(batch) => {
                    let pushed: Vec<_> = batch.iter().map(|(control, text)| pending(class(*control), text)).collect();
                    queue.push_batch(&pushed).expect("push");
                    for (control, text) in batch {
                        let model = &mut models[usize::from(control)];
                        model.records.push((model.next, text));
                        model.next += 1;
                    }
                }
                Op::Ack(control, upto) => {
                    queue.ack(class(control), upto).expect("ack");
                    let model = &mut models[usize::from(control)];
                    model.acked = model.acked.max(upto.min(model.next - 1));
                    model.records.retain(|(seq, _)| *seq > upto);
                }
                Op::Remint(control) => {
                    queue.remint(class(control)).expect("remint");
                    let model = &mut models[usize::from(control)];
                    model.records.iter_mut().for_each(|(seq, _)| *seq -= model.acked);
                    *model = Model { acked: 0, next: model.records.len() as u64 + 1, records: std::mem::take(&mut model.records) };
                }
                Op::Recover => queue.recover().expect("recover"),
            }
            for class in CLASSES {
                let model = &models[index(class)];
                let info = queue.stream(class);
                prop_assert_eq!((info.oldest, info.next), (model.acked + 1, model.next));
                prop_assert_eq!(&records(&mut queue, class), &model.records);
            }
        }
    }
}

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
