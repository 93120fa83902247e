//! The power goes out on a real file system: an ext4 image is copied while a queue writes to it, and the
//! copy, which lacks everything that was only in memory, is mounted and compared with what was reported as
//! durable.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use iottly_agent::outbox::{Item, Pending, Queue, SledQueue};
use iottly_protocol::StreamClass::History;

const GROUP: u64 = 5;
const PATIENCE: Duration = Duration::from_secs(60);

/// A mounted image; unmounted when dropped.
struct Mount(PathBuf);

impl Mount {
    /// Mounts an image; none where that is not allowed, which CI does not accept.
    fn image(image: &Path, at: &Path) -> Option<Self> {
        fs::create_dir_all(at).expect("folder");
        let done = Command::new("mount")
            .args(["-o", "loop"])
            .arg(image)
            .arg(at)
            .output();
        if done.is_ok_and(|output| output.status.success()) {
            return Some(Self(at.to_owned()));
        }
        assert!(
            std::env::var_os("CI").is_none(),
            "CI must be able to mount an image"
        );
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// The child that writes; it is stopped and killed by the test.
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

/// Not a test: the writer's process. Writes until it is killed, and notes outside of the image how far it
/// got.
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
    let told = |seq: u64| counter.write_all_at(&seq.to_be_bytes(), 0).expect("tell");
    if std::env::var_os("POWER_CUT_BARE").is_some() {
        let db = sled::Config::default()
            .path(&folder)
            .flush_every_ms(None)
            .open()
            .expect("open");
        for seq in 1u64.. {
            db.insert(seq.to_be_bytes(), record(seq)).expect("insert");
            db.flush().expect("flush");
            told(seq);
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
        told(first + GROUP - 1);
    }
}

/// Writes until `enough` is durable, cuts the power, and answers what was reported and the folder as it is
/// after the cut.
fn cut(dir: &Path, bare: bool, enough: u64) -> Option<(u64, Mount)> {
    let (image, after) = (dir.join("disk.img"), dir.join("after.img"));
    File::create(&image)
        .expect("image")
        .set_len(64 << 20)
        .expect("size");
    let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image).output();
    if !made.is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "CI must have mkfs.ext4");
        return None;
    }
    let mounted = Mount::image(&image, &dir.join("before"))?;
    let counter = dir.join("counter");
    fs::write(&counter, 0u64.to_be_bytes()).expect("counter");
    let mut command = Command::new(std::env::current_exe().expect("own program"));
    command
        .args(["--exact", "writer", "--ignored"])
        .env("POWER_CUT_FOLDER", mounted.0.join("queue"));
    command
        .env("POWER_CUT_COUNTER", &counter)
        .stdout(std::process::Stdio::null());
    if bare {
        command.env("POWER_CUT_BARE", "1");
    }
    let writer = Writer(command.spawn().expect("writer"));
    let told = || u64::from_be_bytes(fs::read(&counter).expect("read").try_into().expect("eight bytes"));
    let began = Instant::now();
    while told() < enough {
        assert!(began.elapsed() < PATIENCE, "the writer got to {} only", told());
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = rustix::process::Pid::from_child(&writer.0);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("stop");
    let durable = told();
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
        let (mut queue, notes) = SledQueue::open(&after.0.join("queue")).expect("opens");
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
    let path = after.0.join("queue");
    let survived = match path.exists().then(|| sled::Config::default().path(path).open()) {
        Some(Ok(db)) => db.iter().flatten().count() as u64,
        _ => 0,
    };
    assert!(
        survived < flushed,
        "all {flushed} survived: the test above has no teeth"
    );
}
