//! Damaged files: nothing panics or hangs, every lost number is in a gap, and the queue continues.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use iottly_protocol::GapReason;
use iottly_protocol::StreamClass::{Control, History};

use super::disk::SystemDisk;
use super::policy::SegmentSize;
use super::*;

const COUNT: u64 = 60;

fn open(path: &Path) -> (SledQueue, Vec<OpenNote>) {
    let size = SegmentSize {
        records: 20,
        bytes: 1 << 20,
    };
    SledQueue::open_on(path, Policy::default(), size, Arc::new(SystemDisk)).expect("a damaged queue opens")
}

fn text(seq: u64) -> Vec<u8> {
    format!("record {seq} {}", "y".repeat(200)).into_bytes()
}

fn filled() -> (tempfile::TempDir, PathBuf, StreamInfo) {
    let dir = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("folder");
    let path = dir.path().join("queue");
    let (mut queue, _) = open(&path);
    for first in (1..=COUNT).step_by(10) {
        let batch: Vec<_> = (first..first + 10)
            .map(|seq| Pending {
                class: History,
                record: text(seq),
            })
            .collect();
        queue.push_batch(&batch).expect("push");
    }
    queue
        .push_batch(&[Pending {
            class: Control,
            record: b"a result".to_vec(),
        }])
        .expect("push");
    queue.ack(History, 5).expect("ack");
    let info = queue.stream(History);
    (dir, path, info)
}

/// Opens the queue twice, accounts for every number both times, and pushes one more.
fn account(path: &Path, before: StreamInfo, what: &str) -> (u64, Vec<OpenNote>) {
    let (mut queue, notes) = open(path);
    let mut lost = u64::MAX;
    for start in 0..2 {
        let info = queue.stream(History);
        assert_eq!(info.stream, before.stream, "{what}");
        assert!(
            info.next > COUNT + start,
            "{what}: number {} would be given again",
            info.next
        );
        let page = queue.peek(History, 0, usize::MAX, usize::MAX).expect("read");
        let mut seen = BTreeMap::new();
        let mut expected = info.oldest;
        let mut holes = 0;
        for item in page.items {
            match &item {
                Item::Record { seq, record } => {
                    assert_eq!(*seq, expected, "{what}");
                    assert!(
                        *seq > COUNT || *record == text(*seq),
                        "{what}: {seq} is not what was pushed"
                    );
                    seen.insert(*seq, ());
                }
                Item::Hole { from, to, .. } => {
                    assert_eq!(*from, expected, "{what}");
                    holes += (*to).min(COUNT).saturating_sub(from - 1);
                }
            }
            expected = item.last() + 1;
        }
        assert_eq!(expected, info.next, "{what}: numbers are missing at the end");
        assert!(holes <= lost, "{what}: more is lost at the second start");
        lost = holes;
        queue
            .push_batch(&[Pending {
                class: History,
                record: b"continues".to_vec(),
            }])
            .expect("usable");
        drop(queue);
        queue = open(path).0;
    }
    (lost, notes)
}

fn files(path: &Path, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).expect("list").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, name));
        } else if entry.file_name().to_string_lossy().starts_with(name) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).expect("read");
    change(&mut bytes);
    fs::write(path, bytes).expect("write");
}

#[test]
fn flipped_bytes_anywhere_in_a_database() {
    for which in 0..3 {
        for step in 0..12 {
            let (_dir, path, before) = filled();
            let db = &files(&path.join(chain::segment_name(History, 1 + 20 * which)), "db")[0];
            change(db, |bytes| {
                let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0).max(1);
                let at = used * step / 12;
                bytes[at] ^= 0x40;
            });
            account(&path, before, &format!("segment {which}, flip {step}"));
        }
    }
}

#[test]
fn truncated_and_zeroed_databases() {
    for which in 0..3 {
        for part in [0, 1, 4, 7] {
            for zero in [false, true] {
                let (_dir, path, before) = filled();
                let db = &files(&path.join(chain::segment_name(History, 1 + 20 * which)), "db")[0];
                change(db, |bytes| {
                    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0).max(1);
                    let from = used * part / 8;
                    if zero {
                        bytes[from..].fill(0)
                    } else {
                        bytes.truncate(from)
                    }
                });
                let what = format!("segment {which}, part {part}, zeroed {zero}");
                let (lost, _) = account(&path, before, &what);
                assert!(part > 0 || lost >= 15, "{what}: {lost} lost");
            }
        }
    }
}

#[test]
fn a_missing_segment_is_a_gap_of_its_numbers() {
    for (which, expected) in [(0, 15), (1, 20), (2, 20)] {
        let (_dir, path, before) = filled();
        fs::remove_dir_all(path.join(chain::segment_name(History, 1 + 20 * which))).expect("remove");
        let (lost, _) = account(&path, before, &format!("segment {which} missing"));
        assert_eq!(lost, expected);
    }
}

#[test]
fn damaged_snapshots_cost_nothing() {
    let (_dir, path, before) = filled();
    for snapshot in files(&path, "snap.") {
        change(&snapshot, |bytes| {
            if let Some(byte) = bytes.get_mut(8) {
                *byte ^= 0xff;
            }
        });
    }
    assert_eq!(account(&path, before, "snapshots").0, 0);
}

#[test]
fn a_lost_head_is_put_together_from_the_segments() {
    for damage in ["missing", "zeroed", "foreign"] {
        let (_dir, path, before) = filled();
        let head = path.join(head::HEAD_FILE);
        match damage {
            "missing" => fs::remove_file(&head).expect("remove"),
            "zeroed" => change(&head, |bytes| bytes.fill(0)),
            _ => fs::write(&head, "#!/bin/sh\n").expect("write"),
        }
        let (lost, notes) = account(&path, before, damage);
        assert_eq!((lost, notes), (0, vec![OpenNote::HeadLost]), "{damage}");
        let (queue, _) = open(&path);
        assert!(
            queue.stream(History).next > COUNT + recover::SKIP,
            "a number may have been given that no segment shows"
        );
    }
}

#[test]
fn a_lost_tail_is_told_by_the_head() {
    let (_dir, path, before) = filled();
    let newest = path.join(chain::segment_name(History, 41));
    let db = sled_files::open_db(&newest).expect("raw");
    for seq in 51..=COUNT {
        db.remove(frame::key(seq)).expect("remove");
    }
    db.flush().expect("flush");
    drop(db);
    let (mut queue, notes) = open(&path);
    assert_eq!(
        notes,
        [OpenNote::Lost {
            class: History,
            count: 10
        }]
    );
    let page = queue.peek(History, 50, 100, usize::MAX).expect("read");
    assert_eq!(
        page.items[1..],
        [Item::Hole {
            from: 51,
            to: 60,
            reason: GapReason::HeadMismatch
        }]
    );
    assert_eq!(queue.stream(History), before_with_oldest(before));
}

fn before_with_oldest(info: StreamInfo) -> StreamInfo {
    StreamInfo {
        oldest: 6,
        next: COUNT + 1,
        ..info
    }
}

#[test]
fn foreign_files_are_left_alone_and_foreign_segments_moved_aside() {
    let (_dir, path, before) = filled();
    fs::write(path.join("notes.txt"), "mine").expect("write");
    fs::write(path.join("history-1"), "not a segment's name").expect("write");
    fs::create_dir(path.join("history-abc")).expect("folder");
    assert_eq!(account(&path, before, "foreign files").0, 0);
    assert!(path.join("notes.txt").exists());

    // The newest segment of another device's queue, under the name of the next segment here.
    let (_other_dir, other, _) = filled();
    let newest = other.join(chain::segment_name(History, 41));
    fs::rename(&newest, path.join(chain::segment_name(History, 500))).expect("move");
    let (lost, notes) = account(&path, before, "foreign segment");
    assert_eq!(lost, 0);
    assert!(
        matches!(&notes[..], [OpenNote::Quarantined { reason, .. }] if reason.contains("another queue")),
        "{notes:?}"
    );
}

#[test]
fn what_is_moved_aside_is_bounded() {
    let (_dir, path, before) = filled();
    for which in 0..3 {
        let db = &files(&path.join(chain::segment_name(History, 1 + 20 * which)), "db")[0];
        fs::write(db, "not a database").expect("write");
    }
    account(&path, before, "all segments");
    let kept = fs::read_dir(path.join(quarantine::FOLDER)).expect("list").count();
    assert!((1..=2).contains(&kept), "{kept} kept aside");
}
