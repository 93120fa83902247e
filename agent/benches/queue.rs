//! Cost of durability: the queue compared with bare sled databases that sync as often, and draining a long
//! backlog.
//!
//! `cargo bench -p iottly-agent --bench queue -- [--backlog N] [--seconds S] [--dir DIR]`. Every group is
//! synced to the disk before the next one starts, so the numbers depend on the disk: compare within one run.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use iottly_agent::outbox::{Pending, Policy, Queue, SledQueue};
use iottly_protocol::StreamClass::History;

const RECORD_BYTES: usize = 300;
/// Number of records of a bare database before the next one, about that of a segment of the queue.
const BARE_RECORDS: u64 = 6500;

struct Options {
    backlog: u64,
    seconds: u64,
    dir: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let options = options()?;
    let dir = match &options.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let mut out = io::stdout().lock();
    backlog(&dir.path().join("backlog"), options.backlog, &mut out)?;
    let slice = Duration::from_secs(options.seconds);
    for group in [1, 100, 1000] {
        let mut bare = Vec::new();
        let mut queue = Vec::new();
        for round in 0..3 {
            bare.push(bare_rate(
                &dir.path().join(format!("bare-{group}-{round}")),
                group,
                slice,
            )?);
            queue.push(queue_rate(
                &dir.path().join(format!("queue-{group}-{round}")),
                group,
                slice,
            )?);
        }
        let bare = median(bare);
        let queue = median(queue);
        writeln!(
            out,
            "group {group:4}: bare sled {bare:9.0}/s, queue {queue:9.0}/s, ratio {:.2}",
            queue / bare
        )?;
    }
    Ok(())
}

fn options() -> anyhow::Result<Options> {
    let mut options = Options {
        backlog: 1_000_000,
        seconds: 2,
        dir: None,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--backlog" => options.backlog = value()?.parse()?,
            "--seconds" => options.seconds = value()?.parse()?,
            "--dir" => options.dir = Some(value()?.into()),
            // Passed by cargo.
            "--bench" => {}
            other => anyhow::bail!("unknown argument {other}"),
        }
    }
    Ok(options)
}

fn record(seq: u64) -> Vec<u8> {
    let mut record = vec![b'x'; RECORD_BYTES];
    record[..8].copy_from_slice(&seq.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    record
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// Returns the rate on bare databases: the same batches, checksums, flushes and syncs, without numbers, gaps,
/// head and budget.
fn bare_rate(dir: &Path, group: u64, slice: Duration) -> anyhow::Result<f64> {
    let began = Instant::now();
    let mut seq = 0;
    'databases: for number in 0.. {
        let path = dir.join(number.to_string());
        let config = sled::Config::default()
            .path(&path)
            .cache_capacity(256 << 10)
            .segment_size(128 << 10)
            .flush_every_ms(None);
        let db = config.open()?;
        let log = File::open(path.join("db"))?;
        for _ in 0..BARE_RECORDS.div_ceil(group) {
            let mut batch = sled::Batch::default();
            for _ in 0..group {
                seq += 1;
                let record = record(seq);
                let mut value = crc32fast::hash(&record).to_le_bytes().to_vec();
                value.extend_from_slice(&record);
                batch.insert(&seq.to_be_bytes(), value);
            }
            db.apply_batch(batch)?;
            db.flush()?;
            log.sync_data()?;
            if began.elapsed() > slice {
                break 'databases;
            }
        }
    }
    Ok(seq as f64 / began.elapsed().as_secs_f64())
}

/// Returns the rate on a queue.
fn queue_rate(dir: &Path, group: u64, slice: Duration) -> anyhow::Result<f64> {
    let (mut queue, _) = SledQueue::open_with(dir, roomy())?;
    let began = Instant::now();
    let mut seq = 0;
    while began.elapsed() < slice {
        push(&mut queue, &mut seq, group)?;
    }
    Ok(seq as f64 / began.elapsed().as_secs_f64())
}

fn roomy() -> Policy {
    Policy {
        disk_bytes: 16 << 30,
        ..Policy::default()
    }
}

fn push(queue: &mut SledQueue, seq: &mut u64, group: u64) -> anyhow::Result<()> {
    let batch: Vec<_> = (0..group)
        .map(|_| {
            *seq += 1;
            Pending {
                class: History,
                record: record(*seq),
            }
        })
        .collect();
    Ok(queue.push_batch(&batch)?)
}

fn backlog(dir: &Path, records: u64, out: &mut impl Write) -> anyhow::Result<()> {
    let (mut queue, _) = SledQueue::open_with(dir, roomy())?;
    let mut seq = 0;
    let mut resident = 0;
    let began = Instant::now();
    while seq < records {
        push(&mut queue, &mut seq, 100)?;
        resident = resident.max(resident_bytes()?);
    }
    let filled = began.elapsed().as_secs_f64();
    let full = folder_bytes(dir)?;
    drop(queue);
    let began = Instant::now();
    let (mut queue, notes) = SledQueue::open_with(dir, roomy())?;
    anyhow::ensure!(notes.is_empty(), "{notes:?}");
    let opened = began.elapsed();
    let began = Instant::now();
    let mut next = 1;
    while next <= records {
        let page = queue.peek(History, next, 1000, 256 << 10)?;
        next = page.items.last().context("the backlog ends early")?.last() + 1;
        queue.ack(History, next - 1)?;
        resident = resident.max(resident_bytes()?);
    }
    let drained = began.elapsed().as_secs_f64();
    writeln!(
        out,
        "backlog of {records} x {RECORD_BYTES} B: {:.0}/s in, {:.1} MiB on disk, reopened in {:.0} ms, {:.0}/s out, {:.1} MiB left, peak memory {:.1} MiB",
        records as f64 / filled,
        mib(full),
        opened.as_secs_f64() * 1000.0,
        records as f64 / drained,
        mib(folder_bytes(dir)?),
        mib(resident),
    )?;
    Ok(())
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn resident_bytes() -> anyhow::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS in /proc/self/status")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? * 1024)
}

fn folder_bytes(path: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let meta = fs::symlink_metadata(path)?;
    let mut bytes = meta.blocks() * 512;
    if meta.is_dir() {
        for entry in fs::read_dir(path)? {
            bytes += folder_bytes(&entry?.path())?;
        }
    }
    Ok(bytes)
}
