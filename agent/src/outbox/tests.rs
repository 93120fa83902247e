//! The queue through its public interface: numbers, pages, damage, streams.

use iottly_protocol::StreamClass::{Control, History};

use super::*;

pub(super) fn pending(class: StreamClass, text: &str) -> Pending {
    Pending {
        class,
        record: text.as_bytes().to_vec(),
    }
}

pub(super) fn open(dir: &std::path::Path) -> SledQueue {
    let (queue, notes) = SledQueue::open(&dir.join("queue")).expect("open");
    assert_eq!(notes, []);
    queue
}

pub(super) fn records(queue: &mut SledQueue, class: StreamClass) -> Vec<(u64, String)> {
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
