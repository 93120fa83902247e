//! A power cut on a real file system: an ext4 image is copied while a queue writes to it. The copy, which
//! lacks everything that was only in memory, is mounted and compared with the records reported as durable.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use iottly_agent::outbox::{Item, Pending, Queue, SledQueue};
use iottly_protocol::StreamClass::History;

use crate::support::mount::Mount;
use crate::support::peer::PATIENCE;

const GROUP: u64 = 5;

/// Child process that writes; killed when dropped.
struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn record(seq: u64) -> Vec<u8> {
    format!("record {seq} {}", "z".repeat(300)).into_bytes()
}

/// The writer's process, not a test. Writes until it is killed, and counts the durable records outside of the
/// image.
#[test]
#[ignore = "run by the tests below as a process of its own"]
fn writer() {
    let Some(folder) = std::env::var_os("POWER_CUT_FOLDER").map(PathBuf::from) else {
        return;
    };
    let counter = OpenOptions::new()
        .write(true)
        .open(std::env::var_os("POWER_CUT_COUNTER").expect("set"))
        .expect("counter");
    let note = |seq: u64| counter.write_all_at(&seq.to_be_bytes(), 0).expect("counter");
    if std::env::var_os("POWER_CUT_BARE").is_some() {
        let db = sled::Config::default()
            .path(&folder)
            .flush_every_ms(None)
            .open()
            .expect("open");
        for seq in 1u64.. {
            db.insert(seq.to_be_bytes(), record(seq)).expect("insert");
            db.flush().expect("flush");
            note(seq);
        }
    }
    let (mut queue, _) = SledQueue::open(&folder).expect("open");
    for first in (1..).step_by(GROUP as usize) {
        let batch: Vec<_> = (first..first + GROUP)
            .map(|seq| Pending {
                class: History,
                record: record(seq),
            })
            .collect();
        queue.push_batch(&batch).expect("push");
        note(first + GROUP - 1);
    }
}

/// Writes until `enough` records are durable and cuts the power. Returns the number of durable records and
/// the file system after the cut.
fn cut(dir: &Path, bare: bool, enough: u64) -> Option<(u64, Mount)> {
    let image = dir.join("disk.img");
    let after = dir.join("after.img");
    let mounted = Mount::ext4(&image, &dir.join("before"))?;
    let counter = dir.join("counter");
    fs::write(&counter, 0u64.to_be_bytes()).expect("counter");
    let mut command = Command::new(std::env::current_exe().expect("own program"));
    command
        .args(["--exact", "power_cut::writer", "--ignored"])
        .env("POWER_CUT_FOLDER", mounted.path().join("queue"));
    command
        .env("POWER_CUT_COUNTER", &counter)
        .stdout(std::process::Stdio::null());
    if bare {
        command.env("POWER_CUT_BARE", "1");
    }
    let writer = Writer(command.spawn().expect("writer"));
    let reported = || u64::from_be_bytes(fs::read(&counter).expect("read").try_into().expect("eight bytes"));
    let began = Instant::now();
    while reported() < enough {
        assert!(
            began.elapsed() < PATIENCE,
            "the writer got to {} only",
            reported()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = rustix::process::Pid::from_child(&writer.0);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("stop");
    let durable = reported();
    fs::copy(&image, &after).expect("copy");
    drop(writer);
    drop(mounted);
    Mount::image(&after, &dir.join("after")).map(|mount| (durable, mount))
}

#[test]
fn what_was_durable_is_there_after_the_power_was_cut() {
    for enough in [20, 400, 1500] {
        let dir = tempfile::tempdir().expect("dir");
        let Some((durable, after)) = cut(dir.path(), false, enough) else {
            return;
        };
        let (mut queue, notes) = SledQueue::open(&after.path().join("queue")).expect("opens");
        assert_eq!(notes, []);
        let page = queue.peek(History, 1, usize::MAX, usize::MAX).expect("reads");
        let whole = (1..).zip(&page.items).take_while(|(expected, item)| match item {
            Item::Record { seq, record: found } => seq == expected && *found == record(*seq),
            Item::Hole { .. } => false,
        });
        let survived = whole.count() as u64;
        assert!(
            survived >= durable && survived == page.items.len() as u64,
            "{durable} were durable, {survived} survived"
        );
        queue
            .push_batch(&[Pending {
                class: History,
                record: record(survived + 1),
            }])
            .expect("usable");
    }
}

#[test]
fn bare_sled_loses_what_it_has_flushed() {
    let dir = tempfile::tempdir().expect("dir");
    let Some((flushed, after)) = cut(dir.path(), true, 400) else {
        return;
    };
    let path = after.path().join("queue");
    let survived = match path.exists().then(|| sled::Config::default().path(path).open()) {
        Some(Ok(db)) => db.iter().flatten().count() as u64,
        _ => 0,
    };
    assert!(
        survived < flushed,
        "all {flushed} survived: the test above proves nothing"
    );
}
