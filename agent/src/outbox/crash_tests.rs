//! Power cuts at every step: the disk keeps only synced data, plus any part of the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use iottly_protocol::GapReason;
use iottly_protocol::StreamClass::{Control, History};

use super::disk::{Disk, Space, SystemDisk};
use super::policy::SegmentSize;
use super::*;

/// Unsynced writes that the disk happens to keep.
#[derive(Debug, Clone, Copy)]
enum Luck {
    None,
    SomePages(u64),
    All,
}

/// Knowledge of cloud and senders, with which the queue after a cut is compared.
#[derive(Debug, Clone, Default)]
struct Known {
    /// Records reported as durable, by class.
    committed: [u64; 2],
    /// Positions acknowledged by the cloud, by class.
    acked: [u64; 2],
    stream: Option<[StreamId; 2]>,
    /// Records may have been dropped for the budget.
    drops: bool,
}

/// Disk whose power can be cut at each step; every step is tried.
struct CutDisk {
    root: PathBuf,
    /// Do not sync database files: the control that must lose records.
    lies: bool,
    /// Space that the file system reports.
    durable: Mutex<Durable>,
    known: Arc<Mutex<Known>>,
    cuts: Mutex<Vec<String>>,
    failures: Mutex<Vec<String>>,
}

#[derive(Default)]
struct Durable {
    files: BTreeMap<PathBuf, Vec<u8>>,
    names: BTreeMap<PathBuf, BTreeSet<OsString>>,
}

impl CutDisk {
    fn new(root: &Path, lies: bool) -> Arc<Self> {
        Arc::new(Self {
            root: root.to_owned(),
            lies,
            durable: Mutex::default(),
            known: Arc::default(),
            cuts: Mutex::default(),
            failures: Mutex::default(),
        })
    }

    /// Cuts the power here with every kind of luck, and checks the queue after a new start.
    fn cut(&self, what: &str) {
        let at = {
            let mut cuts = self.cuts.lock().expect("lock");
            cuts.push(what.to_owned());
            cuts.len()
        };
        let seed = at as u64;
        for luck in [
            Luck::None,
            Luck::SomePages(seed),
            Luck::SomePages(seed.wrapping_mul(0x9e37_79b9)),
            Luck::All,
        ] {
            let dir = fast_dir();
            let image = dir.path().join("queue");
            self.materialise(&self.root, &image, luck).expect("image");
            if let Err(error) = check(&image, &self.known.lock().expect("lock")) {
                self.failures
                    .lock()
                    .expect("lock")
                    .push(format!("cut {at} before {what}, {luck:?}: {error}"));
            }
        }
    }

    fn materialise(&self, from: &Path, to: &Path, luck: Luck) -> io::Result<()> {
        fs::create_dir_all(to)?;
        let durable = self.durable.lock().expect("lock");
        let mut names: BTreeSet<OsString> = durable.names.get(from).cloned().unwrap_or_default();
        drop(durable);
        if !matches!(luck, Luck::None) {
            names.extend(
                fs::read_dir(from)
                    .into_iter()
                    .flatten()
                    .flatten()
                    .map(|entry| entry.file_name()),
            );
        }
        if matches!(luck, Luck::All) {
            names.retain(|name| from.join(name).exists());
        }
        for name in names {
            let from = from.join(&name);
            let to = to.join(&name);
            let is_folder = from.is_dir() || self.durable.lock().expect("lock").names.contains_key(&from);
            if is_folder {
                self.materialise(&from, &to, luck)?;
                continue;
            }
            let synced = self
                .durable
                .lock()
                .expect("lock")
                .files
                .get(&from)
                .cloned()
                .unwrap_or_default();
            let present = fs::read(&from).unwrap_or_default();
            let content = match luck {
                Luck::None => synced,
                Luck::All => present,
                Luck::SomePages(seed) => mixed(&synced, &present, seed),
            };
            fs::write(to, content)?;
        }
        Ok(())
    }
}

/// Mixes written pages that reached the disk with synced ones.
fn mixed(synced: &[u8], present: &[u8], seed: u64) -> Vec<u8> {
    let mut out = present.to_vec();
    let mut random = seed | 1;
    for (page, chunk) in out.chunks_mut(4096).enumerate() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        if random & 1 == 0 {
            let old = synced.get(page * 4096..).unwrap_or_default();
            for (at, byte) in chunk.iter_mut().enumerate() {
                *byte = old.get(at).copied().unwrap_or(0);
            }
        }
    }
    out
}

impl Disk for CutDisk {
    fn sync_file(&self, path: &Path, file: &File) -> io::Result<()> {
        self.cut(&format!("sync of {}", path.display()));
        let lie = self.lies && path.ends_with("db");
        if !lie && path.starts_with(&self.root) {
            self.durable
                .lock()
                .expect("lock")
                .files
                .insert(path.to_owned(), fs::read(path)?);
        }
        SystemDisk.sync_file(path, file)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.cut(&format!("sync of folder {}", path.display()));
        if path.starts_with(&self.root) {
            let names = fs::read_dir(path)?
                .flatten()
                .map(|entry| entry.file_name())
                .collect();
            self.durable
                .lock()
                .expect("lock")
                .names
                .insert(path.to_owned(), names);
        }
        SystemDisk.sync_folder(path)
    }

    fn write_at(&self, path: &Path, file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.cut(&format!("write of {}", path.display()));
        SystemDisk.write_at(path, file, offset, bytes)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.cut(&format!("removal of {}", path.display()));
        SystemDisk.remove_folder(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.cut(&format!("rename of {}", from.display()));
        let mut durable = self.durable.lock().expect("lock");
        if let Some(content) = durable.files.get(from).cloned() {
            durable.files.insert(to.to_owned(), content);
        }
        drop(durable);
        SystemDisk.rename(from, to)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        SystemDisk.space(path)
    }
}

/// Folder in memory, the fastest disk; the test keeps its own image of synced data.
fn fast_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("folder")
}

fn text(class: StreamClass, seq: u64) -> String {
    format!(
        "{class:?} {seq} {}",
        "x".repeat(usize::try_from(seq * 37 % 400).expect("small"))
    )
}

/// Opens the rest after a cut and returns the first violation.
fn check(image: &Path, known: &Known) -> Result<(), String> {
    let size = SegmentSize {
        records: 8,
        bytes: 1 << 20,
    };
    let (mut queue, _) = SledQueue::open_on(image, Policy::default(), size, Arc::new(SystemDisk))
        .map_err(|e| format!("does not open: {e}"))?;
    for class in CLASSES {
        let at = index(class);
        let info = queue.stream(class);
        if known.stream.is_some_and(|streams| streams[at] != info.stream) {
            return Err(format!("{class:?} has become another stream"));
        }
        if info.next <= known.committed[at] {
            return Err(format!(
                "{class:?} would give number {} again, {} are committed",
                info.next, known.committed[at]
            ));
        }
        let page = queue
            .peek(class, 1, usize::MAX, usize::MAX)
            .map_err(|e| format!("does not read: {e}"))?;
        let mut expected = info.oldest;
        for item in page.items {
            match item {
                Item::Record { seq, record } => {
                    if seq != expected || record != text(class, seq).into_bytes() {
                        return Err(format!(
                            "{class:?} {seq} is not what was pushed, or not {expected}"
                        ));
                    }
                    expected = seq + 1;
                }
                Item::Hole { from, to, reason } => {
                    let explained = (known.drops && class == History && reason == GapReason::Budget)
                        || to <= known.acked[at];
                    if !explained && from <= known.committed[at] {
                        return Err(format!(
                            "{class:?} {from}..={to} is lost: {reason:?}, {} are committed",
                            known.committed[at]
                        ));
                    }
                    expected = to + 1;
                }
            }
        }
        if expected != info.next {
            return Err(format!("{class:?} ends at {expected} instead of {}", info.next));
        }
        let record = text(class, info.next).into_bytes();
        queue
            .push_batch(&[Pending { class, record }])
            .map_err(|e| format!("takes nothing: {e}"))?;
        if queue.stream(class).next != info.next + 1 {
            return Err(format!("{class:?} counts wrong after the start"));
        }
    }
    Ok(())
}

/// Pushes and acknowledges so that segments are created and removed.
fn work(disk: &Arc<CutDisk>, rounds: u64, evict: bool) {
    let size = SegmentSize {
        records: 8,
        bytes: 1 << 20,
    };
    let (mut queue, notes) =
        SledQueue::open_on(&disk.root, Policy::default(), size, Arc::clone(disk) as _).expect("open");
    assert_eq!(notes, []);
    disk.known.lock().expect("lock").stream = Some(CLASSES.map(|class| queue.stream(class).stream));
    for round in 1..=rounds {
        let mut batch = Vec::new();
        let mut next = CLASSES.map(|class| queue.stream(class).next);
        for n in 0..5 {
            let class = if n == 3 && round % 2 == 0 {
                Control
            } else {
                History
            };
            batch.push(Pending {
                class,
                record: text(class, next[index(class)]).into_bytes(),
            });
            next[index(class)] += 1;
        }
        queue.push_batch(&batch).expect("push");
        disk.known.lock().expect("lock").committed = next.map(|next| next - 1);
        if evict && round % 4 == 0 {
            disk.known.lock().expect("lock").drops = true;
            queue.evict_for_test();
        } else if round % 3 == 0 {
            for class in CLASSES {
                let info = queue.stream(class);
                let upto = (info.oldest + info.next) / 2;
                disk.known.lock().expect("lock").acked[index(class)] = upto;
                queue.ack(class, upto).expect("ack");
            }
        }
        if round == rounds / 2 {
            drop(queue);
            queue = SledQueue::open_on(&disk.root, Policy::default(), size, Arc::clone(disk) as _)
                .expect("open again")
                .0;
        }
    }
}

#[test]
fn a_power_cut_at_any_step_loses_nothing_durable() {
    let dir = fast_dir();
    let disk = CutDisk::new(&dir.path().join("queue"), false);
    work(&disk, 10, false);
    let cuts = disk.cuts.lock().expect("lock").len();
    let failures = disk.failures.lock().expect("lock");
    assert!(
        failures.is_empty(),
        "{} of {cuts} cuts: {:#?}",
        failures.len(),
        &failures[..failures.len().min(5)]
    );
    assert!(cuts > 50, "{cuts} cuts");
}

#[test]
fn a_power_cut_while_the_oldest_are_dropped_leaves_records_or_their_gap() {
    let dir = fast_dir();
    let disk = CutDisk::new(&dir.path().join("queue"), false);
    work(&disk, 10, true);
    let failures = disk.failures.lock().expect("lock");
    assert!(failures.is_empty(), "{:#?}", &failures[..failures.len().min(5)]);
}

#[test]
fn without_syncing_the_database_the_same_cuts_lose_records() {
    let dir = fast_dir();
    let disk = CutDisk::new(&dir.path().join("queue"), true);
    work(&disk, 4, false);
    assert!(
        !disk.failures.lock().expect("lock").is_empty(),
        "the test above has no teeth"
    );
}
