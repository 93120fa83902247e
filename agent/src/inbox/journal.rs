//! The inbox's journal: a file of checksummed lines, appended and synced, rewritten when it grows.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use iottly_protocol::{CommandId, CommandState};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::files;

/// Appended bytes after which the file is rewritten.
const COMPACT_BYTES: u64 = 1 << 20;
/// Maximum length of a line that is read, in bytes.
const MAX_LINE_BYTES: u64 = 4 << 20;
/// Maximum size of a journal that is read, in bytes; far above what the agent writes.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// Maximum number of ids in one [`Entry::Seen`] line.
const SEEN_CHUNK: usize = 500;

/// Error that makes the journal unusable.
#[derive(Debug, thiserror::Error)]
#[error("command journal {path}: {reason}")]
pub struct JournalError {
    path: String,
    reason: io::Error,
}

/// Step in the life of a command.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Entry {
    /// The command arrived.
    Accepted(Accepted),
    /// The handler is about to be called.
    Started(CommandId),
    /// The command has ended; the result is not in the queue yet.
    Finished(Finished),
    /// The result is in the queue.
    Reported(CommandId),
    /// Commands that have ended and been reported.
    Seen(Vec<CommandId>),
}

/// Accepted command.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Accepted {
    pub(super) id: CommandId,
    pub(super) cmd_type: String,
    pub(super) values: Box<RawValue>,
    /// Boot id of the system that `deadline_ms` refers to.
    pub(super) system_boot: String,
    /// Uptime of that system at which the command expires, in milliseconds.
    pub(super) deadline_ms: u64,
}

/// End of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Finished {
    pub(super) id: CommandId,
    pub(super) state: CommandState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<String>,
    pub(super) at_ms: u64,
}

/// Open journal.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    appended: u64,
    /// Offset behind the last complete line; the rest of a failed write may follow it.
    end: u64,
}

impl Journal {
    /// Opens or creates the journal and reads it. Damaged lines are skipped; the last value is their number.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<Entry>, usize), JournalError> {
        let fail = |reason| JournalError {
            path: path.display().to_string(),
            reason,
        };
        if fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_file() || meta.len() > MAX_FILE_BYTES) {
            let aside = files::put_aside(path).map_err(fail)?;
            let moved_to = aside.display();
            tracing::warn!(journal.path = %path.display(), journal.moved_to = %moved_to, "the command journal is not a regular file or too large; starting a new one");
        }
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .map_err(fail)?;
        let (entries, damaged, end) = read(&file).map_err(fail)?;
        Ok((
            Self {
                path: path.to_owned(),
                file,
                appended: 0,
                end,
            },
            entries,
            damaged,
        ))
    }

    /// Appends entries in one write; with `sync` they are durable on return.
    pub(super) fn append(&mut self, entries: &[Entry], sync: bool) -> Result<(), JournalError> {
        let lines = encode(entries);
        self.write(&lines, sync).map_err(|reason| self.error(reason))?;
        self.appended += lines.len() as u64;
        self.end += lines.len() as u64;
        Ok(())
    }

    fn write(&mut self, lines: &[u8], sync: bool) -> io::Result<()> {
        if self.file.metadata()?.len() != self.end {
            self.file.set_len(self.end)?;
        }
        self.file.write_all(lines)?;
        if sync { self.file.sync_data() } else { Ok(()) }
    }

    /// Returns `true` if the journal should be rewritten.
    pub(super) fn is_long(&self) -> bool {
        self.appended > COMPACT_BYTES
    }

    /// Rewrites the journal with these entries only.
    pub(super) fn compact(&mut self, entries: &[Entry]) -> Result<(), JournalError> {
        let lines = encode(entries);
        self.replace(&lines).map_err(|reason| self.error(reason))?;
        self.appended = 0;
        self.end = lines.len() as u64;
        Ok(())
    }

    fn replace(&mut self, lines: &[u8]) -> io::Result<()> {
        let temporary = self.path.with_extension("new");
        files::create(&temporary)?.write_all(lines)?;
        let file = OpenOptions::new().read(true).append(true).open(&temporary)?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        self.file = file;
        Ok(())
    }

    fn error(&self, reason: io::Error) -> JournalError {
        JournalError {
            path: self.path.display().to_string(),
            reason,
        }
    }
}

/// Returns entries of bounded length that hold all ids.
pub(super) fn seen_entries(ids: impl Iterator<Item = CommandId>) -> Vec<Entry> {
    let ids: Vec<_> = ids.collect();
    ids.chunks(SEEN_CHUNK)
        .map(|chunk| Entry::Seen(chunk.to_vec()))
        .collect()
}

fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut lines = Vec::new();
    for entry in entries {
        let json = serde_json::to_vec(entry).expect("entries have string keys and serialize without failing");
        lines.extend_from_slice(format!("{:08x} ", crc32fast::hash(&json)).as_bytes());
        lines.extend_from_slice(&json);
        lines.push(b'\n');
    }
    lines
}

/// Returns the entries, the number of damaged lines, and the offset behind the last complete line.
fn read(file: &File) -> io::Result<(Vec<Entry>, usize, u64)> {
    let mut reader = BufReader::new(file);
    let mut entries = Vec::new();
    let mut damaged = 0;
    let mut read = 0;
    let mut end = 0;
    loop {
        let mut line = Vec::new();
        if reader
            .by_ref()
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)?
            == 0
        {
            return Ok((entries, damaged, end));
        }
        read += line.len() as u64;
        if line.ends_with(b"\n") {
            end = read;
        }
        match decode(&line) {
            Some(entry) => entries.push(entry),
            None => damaged += 1,
        }
    }
}

fn decode(line: &[u8]) -> Option<Entry> {
    let json = line.strip_suffix(b"\n")?;
    let (crc, json) = json.split_at_checked(9)?;
    let crc = u32::from_str_radix(std::str::from_utf8(crc.strip_suffix(b" ")?).ok()?, 16).ok()?;
    (crc == crc32fast::hash(json)).then(|| serde_json::from_slice(json).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(entries: &[Entry]) -> Vec<CommandId> {
        let id = |entry: &Entry| match entry {
            Entry::Started(id) => *id,
            other => panic!("{other:?}"),
        };
        entries.iter().map(id).collect()
    }

    #[test]
    fn a_torn_end_costs_only_itself() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("journal");
        let first = CommandId::random();
        let second = CommandId::random();
        let third = CommandId::random();
        let (mut journal, entries, _) = Journal::open(&path).expect("open");
        assert!(entries.is_empty());
        journal
            .append(&[Entry::Started(first), Entry::Started(second)], true)
            .expect("append");
        drop(journal);
        let bytes = fs::read(&path).expect("read");
        for cut in 1..40 {
            fs::write(&path, &bytes[..bytes.len() - cut]).expect("cut");
            let (mut journal, entries, damaged) = Journal::open(&path).expect("open");
            assert_eq!((ids(&entries), damaged), (vec![first], 1), "cut {cut}");
            journal.compact(&entries).expect("compact");
            journal.append(&[Entry::Started(third)], true).expect("append");
            drop(journal);
            let (_, entries, damaged) = Journal::open(&path).expect("open");
            assert_eq!((ids(&entries), damaged), (vec![first, third], 0), "cut {cut}");
        }
    }

    #[test]
    fn a_flipped_bit_is_noticed_wherever_it_is() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("journal");
        let all = [CommandId::random(), CommandId::random(), CommandId::random()];
        let (mut journal, ..) = Journal::open(&path).expect("open");
        journal.append(&all.map(Entry::Started), true).expect("append");
        drop(journal);
        let bytes = fs::read(&path).expect("read");
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            fs::write(&path, &flipped).expect("write");
            let (_, entries, damaged) = Journal::open(&path).expect("open");
            assert!(damaged > 0, "byte {at}");
            assert!(ids(&entries).iter().all(|id| all.contains(id)), "byte {at}");
        }
    }

    #[test]
    fn what_is_no_journal_is_put_aside() {
        for kind in ["folder", "pipe", "sparse", "link"] {
            let dir = tempfile::tempdir().expect("dir");
            let path = dir.path().join("journal");
            match kind {
                "folder" => fs::create_dir(&path).expect("folder"),
                "pipe" => files::tests::pipe(&path),
                "link" => std::os::unix::fs::symlink("/dev/zero", &path).expect("link"),
                _ => File::create(&path)
                    .and_then(|file| file.set_len(50 << 30))
                    .expect("sparse"),
            }
            let (mut journal, entries, damaged) = Journal::open(&path).expect(kind);
            assert_eq!((entries.len(), damaged), (0, 0), "{kind}");
            journal
                .append(&[Entry::Started(CommandId::random())], true)
                .expect("append");
            assert_eq!(Journal::open(&path).expect(kind).1.len(), 1, "{kind}");
        }
    }
}
