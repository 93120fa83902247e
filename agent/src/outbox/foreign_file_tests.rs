//! Foreign or partial files in the queue's folder: the start stays fast, and whole records are delivered.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use iottly_protocol::StreamClass::History;

use super::disk::SystemDisk;
use super::policy::SegmentSize;
use super::*;
use crate::files::tests::pipe;

fn open(path: &Path) -> (SledQueue, Vec<OpenNote>) {
    let size = SegmentSize {
        records: 20,
        bytes: 1 << 20,
    };
    SledQueue::open_on(path, Policy::default(), size, Arc::new(SystemDisk)).expect("an odd queue opens")
}

fn text(seq: u64) -> Vec<u8> {
    format!("record {seq}").into_bytes()
}

/// Sixty records in three segments.
fn filled() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("queue");
    let (mut queue, _) = open(&path);
    for first in (1..=60).step_by(10) {
        let batch: Vec<_> = (first..first + 10)
            .map(|seq| Pending {
                class: History,
                record: text(seq),
            })
            .collect();
        queue.push_batch(&batch).expect("push");
    }
    (dir, path)
}

fn segment(path: &Path, first: u64) -> PathBuf {
    path.join(chain::segment_name(History, first))
}

/// Returns the numbers of the records read, and checks that holes cover all others.
fn came(queue: &mut SledQueue) -> Vec<u64> {
    let info = queue.stream(History);
    let page = queue
        .peek(History, info.oldest, usize::MAX, usize::MAX)
        .expect("read");
    let mut expected = info.oldest;
    let mut came = Vec::new();
    for item in page.items {
        match &item {
            Item::Record { seq, record } => {
                assert_eq!((*seq, record), (expected, &text(*seq)));
                came.push(*seq);
            }
            Item::Hole { from, .. } => assert_eq!(*from, expected),
        }
        expected = item.last() + 1;
    }
    assert_eq!(expected, info.next);
    came
}

/// Replaces a file or folder by one of an unexpected kind.
fn odd(kind: &str, at: &Path) {
    if at.is_dir() {
        fs::remove_dir_all(at).expect("remove");
    } else if at.exists() {
        fs::remove_file(at).expect("remove");
    }
    match kind {
        "file" => fs::write(at, "a file").expect("file"),
        "folder" => fs::create_dir(at)
            .and_then(|()| fs::write(at.join("x"), "x"))
            .expect("folder"),
        "pipe" => pipe(at),
        "link" => std::os::unix::fs::symlink("/dev/zero", at).expect("link"),
        _ => File::create(at)
            .and_then(|file| file.set_len(50 << 30))
            .expect("sparse"),
    }
}

#[test]
fn an_odd_segment_costs_itself_and_is_moved_aside() {
    for kind in ["file", "folder", "pipe", "link", "sparse"] {
        for (first, part) in [(1, ""), (21, "db"), (41, ""), (41, "db"), (41, "conf")] {
            // An empty folder in place of a segment, or a file in place of its database, counts as damage,
            // which other tests cover.
            if (kind, part) == ("file", "db") || (kind, part) == ("folder", "") {
                continue;
            }
            let what = format!("{kind} as {part:?} of {first}");
            let (_dir, path) = filled();
            odd(
                kind,
                &if part.is_empty() {
                    segment(&path, first)
                } else {
                    segment(&path, first).join(part)
                },
            );
            let began = Instant::now();
            let (mut queue, _) = open(&path);
            let found = came(&mut queue);
            assert!(
                began.elapsed() < Duration::from_secs(10),
                "{what} took {:?}",
                began.elapsed()
            );
            let expected: Vec<u64> = (1..=60)
                .filter(|seq| part == "conf" || !(first..first + 20).contains(seq))
                .collect();
            assert!(
                found == expected || (part == "conf" && found.len() >= 40),
                "{what}: {found:?}"
            );
            assert!(
                found.len() == 60 || path.join(quarantine::FOLDER).exists(),
                "{what}"
            );
            queue
                .push_batch(&[Pending {
                    class: History,
                    record: text(61),
                }])
                .expect(&what);
            drop(queue);
            assert_eq!(came(&mut open(&path).0).len(), found.len() + 1, "{what}");
        }
    }
}

#[test]
fn odd_files_beside_the_segments_cost_nothing() {
    for kind in ["file", "folder", "pipe", "link", "sparse"] {
        for name in [
            quarantine::FOLDER,
            "dead-letters",
            "dead-letters.new",
            "gone-history-1",
            "head.foreign",
        ] {
            let what = format!("{kind} as {name}");
            let (_dir, path) = filled();
            odd(kind, &path.join(name));
            let began = Instant::now();
            let (mut queue, notes) = open(&path);
            assert_eq!((came(&mut queue).len(), notes), (60, vec![]), "{what}");
            assert!(queue.dead_letter(History, 7, "no").expect(&what));
            drop(queue);
            // A part has to be quarantined, too.
            odd("file", &segment(&path, 1));
            assert_eq!(came(&mut open(&path).0).len(), 40, "{what}");
            let letters = open(&path).0.dead_letters().expect(&what);
            assert_eq!(
                letters.iter().map(|letter| letter.seq).collect::<Vec<_>>(),
                [7],
                "{what}"
            );
            assert!(began.elapsed() < Duration::from_secs(10), "{what}");
        }
    }
}

#[test]
fn an_odd_head_counts_as_lost() {
    for kind in ["file", "folder", "pipe", "link", "sparse"] {
        let (_dir, path) = filled();
        odd(kind, &path.join(head::HEAD_FILE));
        let (mut queue, notes) = open(&path);
        assert_eq!(
            (came(&mut queue).len(), notes),
            (60, vec![OpenNote::HeadLost]),
            "{kind}"
        );
    }
}

#[test]
fn a_removal_that_is_cut_short_is_no_damage() {
    // Files are removed one after another: interrupt after each, under the old name and the one for removal.
    for renamed in [true, false] {
        for cut in 0..4 {
            let (_dir, path) = filled();
            let (mut queue, _) = open(&path);
            queue.ack(History, 60).expect("ack");
            drop(queue);
            let mut newest = segment(&path, 41);
            assert!(newest.exists(), "it is too small to be removed by itself");
            if renamed {
                let gone = path.join("gone-history-41");
                fs::rename(&newest, &gone).expect("rename");
                newest = gone;
            }
            for file in fs::read_dir(&newest).expect("list").flatten().take(cut) {
                let _ = if file.path().is_dir() {
                    fs::remove_dir_all(file.path())
                } else {
                    fs::remove_file(file.path())
                };
            }
            let (queue, notes) = open(&path);
            assert_eq!(notes, [], "renamed {renamed}, {cut} files removed");
            assert!(
                !path.join(quarantine::FOLDER).exists(),
                "renamed {renamed}, {cut} files removed"
            );
            assert!(!path.join("gone-history-41").exists());
            assert_eq!(
                (queue.stream(History).oldest, queue.stream(History).next),
                (61, 61)
            );
        }
    }
}

#[test]
fn a_number_is_refused_once_whatever_the_reasons_and_the_runs() {
    let (_dir, path) = filled();
    let (mut queue, _) = open(&path);
    for n in 0..1000 {
        let new = queue
            .dead_letter(History, 1 + n % 5, &format!("reason {n}"))
            .expect("kept");
        assert_eq!(new, n < 5, "{n}");
    }
    let len = || fs::metadata(path.join("dead-letters")).expect("there").len();
    let before = len();
    drop(queue);
    let (mut queue, _) = open(&path);
    assert!(
        !queue
            .dead_letter(History, 3, "again after a restart")
            .expect("known")
    );
    assert_eq!(len(), before);
    // A new stream has new numbers.
    queue.remint(History).expect("remint");
    assert!(queue.dead_letter(History, 3, "of the new stream").expect("kept"));
    assert!(len() > before);
}

#[test]
fn letters_are_appended_and_a_torn_one_is_cut_off() {
    let (_dir, path) = filled();
    let (mut queue, _) = open(&path);
    let file = path.join("dead-letters");
    queue.dead_letter(History, 1, "one").expect("kept");
    let one = fs::read(&file).expect("read");
    queue.dead_letter(History, 2, "two").expect("kept");
    let two = fs::read(&file).expect("read");
    assert_eq!(two[..one.len()], one, "what is there stays as it is");
    drop(queue);
    for cut in one.len()..two.len() {
        fs::write(&file, &two[..cut]).expect("torn");
        let (mut queue, _) = open(&path);
        assert!(queue.dead_letter(History, 2, "two").expect("kept"));
        assert_eq!(fs::read(&file).expect("read").len(), two.len());
        assert_eq!(queue.dead_letters().expect("read").len(), 2, "cut {cut}");
    }
}

#[test]
fn the_time_of_a_new_stream_outlives_a_restart() {
    let (_dir, path) = filled();
    let (mut queue, _) = open(&path);
    assert_eq!(queue.minted_ago_ms(History), None);
    queue.tick(10_000);
    queue.remint(History).expect("remint");
    queue.tick(70_000);
    queue
        .push_batch(&[Pending {
            class: History,
            record: text(61),
        }])
        .expect("push");
    assert_eq!(queue.minted_ago_ms(History), Some(60_000));
    drop(queue);
    let (queue, _) = open(&path);
    assert_eq!(
        queue.minted_ago_ms(History),
        Some(60_000),
        "time without the agent does not count"
    );
    assert_eq!(queue.minted_ago_ms(iottly_protocol::StreamClass::Control), None);
}

#[test]
fn a_segment_that_cannot_be_closed_is_read_from_a_copy_and_followed_by_another() {
    let (_dir, path) = filled();
    let (mut queue, _) = open(&path);
    let stuck = segment(&path, 41);
    // The lock is held, as by a database that hangs while it is closed.
    queue.lock_for_test(History);
    queue
        .push_batch(&[Pending {
            class: History,
            record: text(61),
        }])
        .expect("another segment takes it");
    assert_eq!(came(&mut queue), (1..=61).collect::<Vec<_>>());
    assert!(stuck.exists() && segment(&path, 61).exists());
    queue.lock_for_test(History);
    assert_eq!(came(&mut queue), (1..=61).collect::<Vec<_>>());
    queue.ack(History, 61).expect("ack");
    assert!(!stuck.exists(), "it is removed all the same");
    assert!(matches!(
        queue.peek(History, 1, 1, 1).expect("read").items[..],
        []
    ));
}
