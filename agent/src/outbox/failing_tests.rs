//! Storage that fails while the queue's thread works: stored records are still delivered, and no sender waits
//! forever.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use iottly_protocol::StreamClass::{Control, History};

use super::*;

/// Maximum wait for a condition; generous, because machines are busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Mounted file system; unmounted when dropped. Mounting needs root: elsewhere a test skips, except in CI.
struct Mount(std::path::PathBuf);

impl Mount {
    fn tmpfs(at: &Path, size: &str) -> Option<Self> {
        Self::mounted(
            Command::new("mount")
                .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
                .arg(at),
            at,
        )
    }

    fn ext4(image: &Path, at: &Path) -> Option<Self> {
        let file = File::create(image).and_then(|file| file.set_len(48 << 20));
        file.expect("image");
        let made = Command::new("mkfs.ext4").arg("-q").arg(image).output();
        if !made.is_ok_and(|output| output.status.success()) {
            assert!(
                std::env::var_os("CI").is_none(),
                "CI must be able to make an ext4"
            );
            return None;
        }
        Self::mounted(Command::new("mount").args(["-o", "loop"]).arg(image).arg(at), at)
    }

    fn mounted(command: &mut Command, at: &Path) -> Option<Self> {
        if command.output().is_ok_and(|output| output.status.success()) {
            return Some(Self(at.to_owned()));
        }
        assert!(std::env::var_os("CI").is_none(), "CI must be able to mount");
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Takes every free byte.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("create");
    let block = vec![7; 64 << 10];
    for size in [block.len(), 4096, 1] {
        while file.write_all(&block[..size]).is_ok() {}
    }
}

fn start(path: &Path, policy: Policy) -> (Outbox, thread::JoinHandle<()>) {
    let (queue, _) = SledQueue::open_with(path, policy).expect("open");
    Outbox::start(Box::new(queue), "queue-test", ()).expect("thread")
}

fn record(n: u64) -> Vec<u8> {
    format!("record {n} {}", "x".repeat(2000)).into_bytes()
}

/// Offers records until the queue is busy, and awaits durability of each hundredth.
fn push(outbox: &Outbox, numbers: std::ops::RangeInclusive<u64>) {
    for n in numbers {
        if n % 100 == 0 {
            outbox
                .offer_and_wait(History, record(n))
                .expect("room on the disk");
        } else {
            outbox.offer(History, record(n)).expect("room in memory");
        }
    }
}

fn peek(outbox: &Outbox, class: StreamClass, from: u64) -> Result<Page, OutboxError> {
    let (tx, rx) = channel();
    outbox.peek(class, from, 1000, 256 << 10, move |page| {
        tx.send(page).expect("it waits")
    });
    rx.recv_timeout(PATIENCE).expect("a read is answered")
}

/// Reads and acknowledges as the link does, up to number `last`. Returns the numbers read.
fn drain(outbox: &Outbox, last: u64) -> Vec<u64> {
    drain_from(outbox, 1, last)
}

fn drain_from(outbox: &Outbox, first: u64, last: u64) -> Vec<u64> {
    let mut came = Vec::new();
    let began = Instant::now();
    while came.last().is_none_or(|latest| *latest < last) {
        assert!(began.elapsed() < PATIENCE, "{} of {last} came", came.len());
        let from = came.last().map_or(first, |last| last + 1);
        let Ok(page) = peek(outbox, History, from) else {
            thread::sleep(Duration::from_millis(20));
            continue;
        };
        for item in page.items {
            let Item::Record { seq, record: bytes } = item else {
                panic!("{item:?}")
            };
            assert_eq!(
                (seq, bytes),
                (came.last().map_or(first, |last| last + 1), record(seq))
            );
            came.push(seq);
        }
        outbox.ack(History, came.last().copied().unwrap_or(0));
    }
    came
}

const BACKLOG: u64 = 5_000;

/// A thousand more than there is room for: offers fail, and a sender that awaits durability is answered soon.
fn overload(outbox: &Outbox) -> u64 {
    let began = Instant::now();
    let taken = (0..4_000)
        .take_while(|n| outbox.try_offer(History, record(BACKLOG + 1 + n)).is_ok())
        .count() as u64;
    assert!(taken < 4_000, "what waits in memory is bounded");
    let told = outbox.offer_and_wait(History, record(0));
    assert!(
        matches!(told, Err(OutboxError::Busy { .. } | OutboxError::Storage(_))),
        "{told:?}"
    );
    assert!(began.elapsed() < PATIENCE);
    taken
}

#[test]
fn a_full_disk_stops_neither_delivery_nor_answers() {
    let dir = tempfile::tempdir().expect("dir");
    let Some(_mount) = Mount::tmpfs(dir.path(), "48m") else {
        return;
    };
    let policy = Policy {
        when_full: WhenFull::RefuseNew,
        ..Policy::default()
    };
    let (outbox, thread) = start(&dir.path().join("queue"), policy);
    push(&outbox, 1..=BACKLOG);
    fill(&dir.path().join("foreign"));
    let taken = overload(&outbox);
    // The backlog is in many segments: each is opened for reading while not a byte can be written.
    let came = drain(&outbox, BACKLOG).last().copied().unwrap_or(0);
    // Acknowledging makes room, so the waiting records are stored and delivered as well.
    let streams = outbox.streams();
    let began = Instant::now();
    while streams.borrow()[0].next <= BACKLOG + taken {
        assert!(began.elapsed() < PATIENCE, "what waited is not stored");
        thread::sleep(Duration::from_millis(20));
    }
    // The first drain may have read some of them already; its acknowledgement may still be in progress.
    if came < BACKLOG + taken {
        drain_from(&outbox, came + 1, BACKLOG + taken);
    }
    outbox.stop();
    thread.join().expect("it ends");
}

#[test]
fn a_disk_that_became_read_only_is_still_drained() {
    let dir = tempfile::tempdir().expect("dir");
    let image = dir.path().join("image");
    let at = dir.path().join("mounted");
    fs::create_dir(&at).expect("folder");
    let Some(_mount) = Mount::ext4(&image, &at) else {
        return;
    };
    let (outbox, thread) = start(&at.join("queue"), Policy::default());
    push(&outbox, 1..=BACKLOG);
    // ext4 does the same after an error of its disk.
    let aborted = Command::new("mount")
        .args(["-o", "remount,abort"])
        .arg(&at)
        .output()
        .expect("mount");
    if File::create(at.join("probe")).is_ok() {
        panic!("the file system is still writable: {aborted:?}");
    }
    overload(&outbox);
    assert_eq!(drain(&outbox, BACKLOG), (1..=BACKLOG).collect::<Vec<_>>());
    // A stop discards records that cannot be stored, and ends soon.
    outbox.stop();
    thread.join().expect("it ends");
}

#[test]
fn a_queue_on_a_full_disk_opens_and_is_drained() {
    let dir = tempfile::tempdir().expect("dir");
    let Some(_mount) = Mount::tmpfs(dir.path(), "48m") else {
        return;
    };
    let path = dir.path().join("queue");
    let (outbox, thread) = start(&path, Policy::default());
    push(&outbox, 1..=BACKLOG);
    outbox.stop();
    thread.join().expect("ended");
    fill(&dir.path().join("foreign"));
    let policy = Policy {
        when_full: WhenFull::RefuseNew,
        ..Policy::default()
    };
    let (outbox, thread) = start(&path, policy);
    assert_eq!(drain(&outbox, BACKLOG).len() as u64, BACKLOG);
    outbox.stop();
    thread.join().expect("it ends");
}

#[test]
fn durable_records_behind_others_are_answered_while_nothing_can_be_stored() {
    let dir = tempfile::tempdir().expect("dir");
    let Some(_mount) = Mount::tmpfs(dir.path(), "16m") else {
        return;
    };
    let policy = Policy {
        when_full: WhenFull::RefuseNew,
        ..Policy::default()
    };
    let (outbox, thread) = start(&dir.path().join("queue"), policy);
    outbox.offer_and_wait(History, record(1)).expect("room");
    fill(&dir.path().join("foreign"));
    for n in 2..=20 {
        outbox.offer(History, record(n)).expect("room in memory");
    }
    for class in [History, Control] {
        for _ in 0..20 {
            let began = Instant::now();
            let told = outbox
                .offer_and_wait(class, record(0))
                .expect_err("no room on the disk");
            assert!(matches!(told, OutboxError::Storage(_)), "{told:?}");
            assert!(began.elapsed() < Duration::from_secs(9), "it waited to the end");
        }
    }
    fs::remove_file(dir.path().join("foreign")).expect("remove");
    let began = Instant::now();
    while outbox.offer_and_wait(History, record(21)).is_err() {
        assert!(began.elapsed() < PATIENCE, "the disk has room again");
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(
        drain(&outbox, 21),
        (1..=21).collect::<Vec<_>>(),
        "the refused ones left no trace"
    );
    outbox.stop();
    thread.join().expect("it ends");
}

#[test]
fn the_thread_goes_on_when_the_folder_is_removed_under_it() {
    for round in 0..8 {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("queue");
        let (outbox, thread) = start(&path, Policy::default());
        let sender = outbox.clone();
        let sending = thread::spawn(move || {
            for n in 0..1_500 {
                // A busy queue responds as well.
                let _ = sender.try_offer(History, record(n));
                thread::sleep(Duration::from_micros(500));
            }
        });
        thread::sleep(Duration::from_millis(100 + 37 * round));
        let _ = fs::remove_dir_all(&path);
        let began = Instant::now();
        while outbox.offer_and_wait(History, record(1)).is_err() {
            assert!(
                began.elapsed() < PATIENCE,
                "round {round}: the queue makes no progress"
            );
        }
        sending.join().expect("sent");
        outbox.stop();
        thread.join().expect("it ends");
    }
}

#[test]
fn a_flood_of_refusals_costs_a_few_letters_and_delays_nothing() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("queue");
    let (outbox, thread) = start(&path, Policy::default());
    push(&outbox, 1..=300);
    let reason = "r".repeat(100_000);
    let began = Instant::now();
    let flooding = outbox.clone();
    let flood = thread::spawn(move || {
        for n in 0..200_000u64 {
            flooding.dead_letter(
                History,
                1 + n % 300,
                if n % 100 == 0 { &reason } else { "another reason" },
            );
        }
    });
    for n in 301..=400 {
        outbox.offer_and_wait(History, record(n)).expect("stored");
        assert!(!peek(&outbox, History, 1).expect("read").items.is_empty());
    }
    flood.join().expect("flooded");
    assert_eq!(drain(&outbox, 400).len(), 400);
    let minutes = began.elapsed().as_secs() as usize / 60 + 1;
    outbox.stop();
    thread.join().expect("it ends");
    let (queue, _) = SledQueue::open(&path).expect("open");
    let letters = queue.dead_letters().expect("read");
    assert!(
        (1..=10 * minutes).contains(&letters.len()),
        "{} letters",
        letters.len()
    );
    assert!(
        letters.iter().all(|letter| letter.record == record(letter.seq)),
        "served before they are acknowledged"
    );
}
