//! The firmware's key-value state on disk. Charges every write to the write budget.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use iottly_sandbox::{Fault, StateStore};

use super::budget::{WriteBudget, file_cost};
use crate::files;
use crate::watchdog;

/// First bytes of the file; the last one is the version of the layout.
const MAGIC: &[u8; 8] = b"iottlyS\x01";
/// Maximum size of the file that is read, in bytes; far above what the sandbox lets firmware store.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Key-value state in one file: magic, checksum of the rest, then length and bytes of each key and value.
///
/// Every change writes a new file and renames it over the old one, so a power cut leaves one of the two.
pub(super) struct FileState {
    path: PathBuf,
    entries: BTreeMap<String, Vec<u8>>,
    budget: WriteBudget,
}

impl FileState {
    /// Opens the file; without one the state is empty. A damaged file is renamed, and its new path is
    /// returned.
    pub(super) fn open(path: PathBuf, budget: WriteBudget) -> io::Result<(Self, Option<PathBuf>)> {
        let entries = match files::read(&path, MAX_FILE_BYTES) {
            Ok(bytes) => decode(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(BTreeMap::new()),
            // Not written by this agent.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::FileTooLarge | io::ErrorKind::InvalidData
                ) =>
            {
                None
            }
            Err(error) => return Err(error),
        };
        if let Some(entries) = entries {
            return Ok((
                Self {
                    path,
                    entries,
                    budget,
                },
                None,
            ));
        }
        let aside = path.with_extension("damaged");
        files::rename_over(&path, &aside)?;
        Ok((
            Self {
                path,
                entries: BTreeMap::new(),
                budget,
            },
            Some(aside),
        ))
    }

    fn write(&self) -> Result<(), Fault> {
        let bytes = encode(&self.entries);
        let cost = file_cost(bytes.len());
        self.budget.take(cost)?;
        let _step = watchdog::step("writing the firmware's state");
        files::replace(&self.path, &bytes).map_err(|error| {
            self.budget.give_back(cost);
            Fault::Io(format!("failed to write the state: {error}"))
        })
    }
}

impl StateStore for FileState {
    fn entries(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.entries
    }

    fn set(&mut self, key: &str, value: Option<Vec<u8>>) -> Result<(), Fault> {
        // An unchanged value is on the disk already.
        if self.entries.get(key) == value.as_ref() {
            return Ok(());
        }
        let before = match value {
            Some(value) => self.entries.insert(key.to_owned(), value),
            None => self.entries.remove(key),
        };
        let written = self.write();
        if written.is_err() {
            match before {
                Some(value) => _ = self.entries.insert(key.to_owned(), value),
                None => _ = self.entries.remove(key),
            }
        }
        written
    }
}

fn encode(entries: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut body = Vec::new();
    for part in entries
        .iter()
        .flat_map(|(key, value)| [key.as_bytes(), value.as_slice()])
    {
        body.extend(
            u32::try_from(part.len())
                .expect("the sandbox's limits are far below")
                .to_le_bytes(),
        );
        body.extend(part);
    }
    let mut out = MAGIC.to_vec();
    out.extend(crc32fast::hash(&body).to_le_bytes());
    out.extend(body);
    out
}

fn decode(bytes: &[u8]) -> Option<BTreeMap<String, Vec<u8>>> {
    let (checksum, mut body) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<4>()?;
    if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let mut entries = BTreeMap::new();
    while !body.is_empty() {
        let key = String::from_utf8(part(&mut body)?.to_vec()).ok()?;
        entries.insert(key, part(&mut body)?.to_vec());
    }
    Some(entries)
}

fn part<'a>(body: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, rest) = body.split_first_chunk::<4>()?;
    let (part, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
    *body = rest;
    Some(part)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn open(path: PathBuf) -> (FileState, Option<PathBuf>) {
        FileState::open(path, WriteBudget::new(1 << 30)).expect("open")
    }

    #[test]
    fn what_was_set_is_there_after_a_restart() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("state");
        let (mut state, _) = open(path.clone());
        state.set("a", Some(vec![1, 2])).expect("set");
        state.set("b", Some(Vec::new())).expect("set");
        state.set("a", Some(vec![3])).expect("set");
        state.set("c", Some(vec![9])).expect("set");
        state.set("c", None).expect("delete");
        let (again, aside) = open(path);
        assert_eq!(aside, None);
        assert_eq!(
            again.entries(),
            &BTreeMap::from([("a".to_owned(), vec![3]), ("b".to_owned(), vec![])])
        );
    }

    #[test]
    fn any_damage_is_put_aside_and_never_half_read() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("state");
        let whole = encode(&BTreeMap::from([("key".to_owned(), vec![1, 2, 3])]));
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).expect("written");
            let (state, aside) = open(path.clone());
            assert!(
                state.entries().is_empty() && aside.is_some_and(|aside| aside.exists()),
                "{cut} bytes"
            );
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            assert_eq!(decode(&bytes), None, "a flipped bit in byte {at}");
        }
    }

    #[test]
    fn a_change_that_cannot_be_written_does_not_happen() {
        let dir = tempfile::tempdir().expect("dir");
        let (mut state, _) = open(dir.path().join("gone").join("state"));
        let refused = state.set("a", Some(vec![1])).expect_err("no folder");
        assert!(matches!(refused, Fault::Io(_)), "{refused}");
        assert!(state.entries().is_empty());
    }

    #[test]
    fn the_budget_is_spent_by_changes_and_not_by_repetitions() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("state");
        let (mut state, _) =
            FileState::open(path.clone(), WriteBudget::new(3 * file_cost(100))).expect("open");
        state.set("a", Some(vec![1])).expect("set");
        for _ in 0..1000 {
            state.set("a", Some(vec![1])).expect("unchanged");
            state.set("b", None).expect("unchanged");
        }
        let refused = (0..10)
            .find_map(|n| state.set("a", Some(vec![n])).err())
            .expect("used up");
        assert!(
            matches!(&refused, Fault::Limit(text) if text.contains("write budget")),
            "{refused}"
        );
        let kept = state.entries().clone();
        assert_eq!(open(path).0.entries(), &kept, "a refused change has no effect");
    }

    #[test]
    fn an_odd_file_is_put_aside_at_once() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("state");
        for _ in 0..2 {
            files::tests::pipe(&path);
            let (mut state, aside) = open(path.clone());
            assert!(state.entries().is_empty() && aside.is_some());
            state.set("a", Some(vec![1])).expect("set");
            fs::remove_file(&path).expect("removed");
        }
    }
}
