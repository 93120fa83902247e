use iottly_protocol::StreamClass::{Control, History};
use proptest::prelude::*;

use super::*;

fn pending(class: StreamClass, text: &str) -> Pending {
    Pending { class, record: text.as_bytes().to_vec() }
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
    queue.push_batch(&[pending(History, "a"), pending(Control, "r"), pending(History, "b")]).expect("push");
    let stream = queue.stream(History).stream;
    drop(queue);
    let mut queue = open(dir.path());
    assert_eq!(queue.stream(History), StreamInfo { stream, class: History, oldest: 1, next: 3 });
    assert_eq!(records(&mut queue, History), [(1, "a".into()), (2, "b".into())]);
    assert_eq!(records(&mut queue, Control), [(1, "r".into())]);
    assert_ne!(queue.stream(Control).stream, stream);
}

#[test]
fn an_emptied_stream_keeps_counting_after_a_reopen() {
    let dir = tempfile::tempdir().expect("dir");
    let mut queue = open(dir.path());
    queue.push_batch(&[pending(History, "a"), pending(History, "b")]).expect("push");
    queue.ack(History, 99).expect("ack beyond the end is cut");
    assert_eq!(queue.len_bytes(History), 0);
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
    let count = |queue: &mut SledQueue, records, bytes| queue.peek(History, 3, records, bytes).expect("peek").items.len();
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
    let batch: Vec<_> = (1..=8).map(|n| pending(History, &format!("record {n}"))).collect();
    queue.push_batch(&batch).expect("push");
    drop(queue);
    let db = sled_files::config(&path).open().expect("raw");
    let mut value = db.get(frame::record_key(History, 3)).expect("read").expect("present").to_vec();
    *value.last_mut().expect("not empty") ^= 1;
    db.insert(frame::record_key(History, 3), value).expect("damage");
    db.remove(frame::record_key(History, 4)).expect("remove");
    // A value under a foreign key is damage as well.
    let moved = db.get(frame::record_key(History, 1)).expect("read").expect("present");
    db.insert(frame::record_key(History, 6), moved).expect("move");
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
    assert_eq!(shape, [(1, 1, true), (2, 2, true), (3, 4, false), (5, 5, true), (6, 6, false), (7, 7, true), (8, 8, true)]);
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
    assert_eq!(records(&mut open(dir.path()), History), [(1, "b".into()), (2, "c".into())]);
}

#[test]
fn dead_letters_are_kept_and_bounded() {
    let dir = tempfile::tempdir().expect("dir");
    let mut queue = open(dir.path());
    let batch: Vec<_> = (1..=200).map(|n| pending(History, &format!("record {n}"))).collect();
    queue.push_batch(&batch).expect("push");
    for seq in 1..=200 {
        queue.dead_letter(History, seq, "payload: not an object").expect("dead letter");
    }
    queue.ack(History, 200).expect("ack");
    let letters = queue.dead_letters().expect("read");
    assert_eq!(letters.len(), dead_letter::MAX_DEAD_LETTERS / 2);
    let last = letters.last().expect("some");
    assert_eq!(
        (last.seq, last.reason.as_str(), last.record.as_slice()),
        (200, "payload: not an object", b"record 200".as_slice())
    );
}

#[test]
fn an_unreadable_queue_is_moved_aside() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("queue");
    for round in 1..=3 {
        std::fs::create_dir_all(&path).expect("dir");
        std::fs::write(path.join("conf"), "not a database").expect("conf");
        std::fs::write(path.join("db"), "not a database").expect("db");
        let (mut queue, notes) = SledQueue::open(&path).expect("open");
        assert!(matches!(&notes[..], [OpenNote::Quarantined { .. }]), "round {round}: {notes:?}");
        queue.push_batch(&[pending(History, "works")]).expect("push");
        drop(queue);
        std::fs::remove_dir_all(&path).expect("remove");
    }
    let kept = std::fs::read_dir(dir.path()).expect("list").count();
    assert_eq!(kept, 2, "the number of queues kept aside is bounded");
}

#[test]
fn large_records_are_stored_whole() {
    let dir = tempfile::tempdir().expect("dir");
    let mut queue = open(dir.path());
    let large = "x".repeat(1 << 20);
    queue.push_batch(&[pending(History, "small"), pending(History, &large)]).expect("push");
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
                    model.records.iter_mut().zip(1..).for_each(|(record, seq)| record.0 = seq);
                    *model = Model { acked: 0, next: model.records.len() as u64 + 1, records: std::mem::take(&mut model.records) };
                }
                Op::Recover => queue.recover().expect("recover"),
            }
            for class in CLASSES {
                let model = &models[index(class)];
                let info = queue.stream(class);
                prop_assert_eq!((info.oldest, info.next), (model.acked + 1, model.next));
                prop_assert_eq!(&records(&mut queue, class), &model.records);
                let bytes: u64 = model.records.iter().map(|(_, text)| (frame::OVERHEAD_BYTES + text.len()) as u64).sum();
                prop_assert_eq!(queue.len_bytes(class), bytes);
            }
        }
    }
}
