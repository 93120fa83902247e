//! A simulated disk whose power can fail at any step: it keeps what was synced, and any part of what was not.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use iottly_update::Disk;

#[derive(Debug, Clone, Default)]
struct File {
    durable: Vec<u8>,
    present: Vec<u8>,
}

#[derive(Debug, Clone)]
enum Naming {
    Make(String, usize),
    Rename(String, String),
    Remove(String),
}

fn apply(names: &mut BTreeMap<String, usize>, naming: &Naming) {
    match naming {
        Naming::Make(name, file) => drop(names.insert(name.clone(), *file)),
        Naming::Rename(from, to) => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        Naming::Remove(name) => drop(names.remove(name)),
    }
}

#[derive(Debug, Default)]
struct Inner {
    files: Vec<File>,
    durable: BTreeMap<String, usize>,
    present: BTreeMap<String, usize>,
    /// Changes of names since they were last synced; a journaling file system keeps the first ones.
    log: Vec<Naming>,
    steps: u64,
    cut_at: Option<u64>,
    lies: bool,
}

/// Part of the unsynced data that the disk happens to keep.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Luck {
    Nothing,
    Some(u64),
    All,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct MemDisk(Rc<RefCell<Inner>>);

fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl MemDisk {
    /// Cuts the power before the step with this number, counted from now.
    pub(crate) fn cut_at(&self, step: Option<u64>) {
        let mut inner = self.0.borrow_mut();
        inner.steps = 0;
        inner.cut_at = step;
    }

    /// Makes syncing ineffective: the control that must lose data.
    pub(crate) fn lie(&self) {
        self.0.borrow_mut().lies = true;
    }

    pub(crate) fn is_cut(&self) -> bool {
        let inner = self.0.borrow();
        inner.cut_at.is_some_and(|at| inner.steps > at)
    }

    /// Returns the disk that the next start finds.
    pub(crate) fn after_cut(&self, luck: Luck) -> Self {
        let inner = self.0.borrow();
        let mut seed = match luck {
            Luck::Some(seed) => seed,
            _ => 0,
        };
        let mut names = inner.durable.clone();
        let kept = match luck {
            Luck::Nothing => 0,
            Luck::All => inner.log.len(),
            Luck::Some(_) => usize::try_from(random(&mut seed)).unwrap_or(0) % (inner.log.len() + 1),
        };
        inner.log[..kept]
            .iter()
            .for_each(|naming| apply(&mut names, naming));
        let files = inner.files.iter().map(|file| {
            let bytes = match luck {
                Luck::Nothing => file.durable.clone(),
                Luck::All => file.present.clone(),
                Luck::Some(_) => torn(file, &mut seed),
            };
            File {
                durable: bytes.clone(),
                present: bytes,
            }
        });
        let files = files.collect();
        Self(Rc::new(RefCell::new(Inner {
            files,
            durable: names.clone(),
            present: names,
            ..Inner::default()
        })))
    }

    fn step(&self) -> io::Result<()> {
        let mut inner = self.0.borrow_mut();
        inner.steps += 1;
        match inner.cut_at {
            Some(at) if inner.steps > at => Err(io::Error::other("the power is gone")),
            _ => Ok(()),
        }
    }

    pub(crate) fn content(&self, name: &str) -> Option<Vec<u8>> {
        let inner = self.0.borrow();
        inner
            .present
            .get(name)
            .map(|file| inner.files[*file].present.clone())
    }
}

/// Some blocks of what was written reached the disk, others did not.
fn torn(file: &File, seed: &mut u64) -> Vec<u8> {
    if file.durable == file.present {
        return file.present.clone();
    }
    let len = match random(seed) % 3 {
        0 => file.durable.len(),
        1 => file.present.len(),
        _ => usize::try_from(random(seed)).unwrap_or(0) % (file.present.len() + 1),
    };
    let mut out = vec![0; len];
    for (block, bytes) in out.chunks_mut(64).enumerate() {
        let source = if random(seed).is_multiple_of(2) {
            &file.durable
        } else {
            &file.present
        };
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = source.get(block * 64 + at).copied().unwrap_or(0);
        }
    }
    out
}

impl Disk for MemDisk {
    fn read(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let content = self.content(name);
        match content {
            Some(bytes) if bytes.len() as u64 > limit => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "too long"))
            }
            other => Ok(other),
        }
    }

    fn read_at(&self, name: &str, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let bytes = self.content(name).unwrap_or_default();
        let from = usize::try_from(offset)
            .map_err(io::Error::other)?
            .min(bytes.len());
        let to = from
            .saturating_add(usize::try_from(len).map_err(io::Error::other)?)
            .min(bytes.len());
        Ok(bytes[from..to].to_vec())
    }

    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.step()?;
        let mut inner = self.0.borrow_mut();
        let found = inner.present.get(name).copied();
        let file = found.unwrap_or_else(|| {
            inner.files.push(File::default());
            let file = inner.files.len() - 1;
            let naming = Naming::Make(name.to_owned(), file);
            apply(&mut inner.present, &naming);
            inner.log.push(naming);
            file
        });
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let present = &mut inner.files[file].present;
        present.resize(present.len().max(offset + bytes.len()), 0);
        present[offset..offset + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.step()?;
        let mut inner = self.0.borrow_mut();
        let file = *inner.present.get(name).ok_or(io::ErrorKind::NotFound)?;
        if !inner.lies {
            inner.files[file].durable = inner.files[file].present.clone();
        }
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.step()?;
        let mut inner = self.0.borrow_mut();
        let naming = Naming::Rename(from.to_owned(), to.to_owned());
        apply(&mut inner.present, &naming);
        inner.log.push(naming);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        if self.content(name).is_none() {
            return Ok(());
        }
        self.step()?;
        let mut inner = self.0.borrow_mut();
        let naming = Naming::Remove(name.to_owned());
        apply(&mut inner.present, &naming);
        inner.log.push(naming);
        Ok(())
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.step()?;
        let mut inner = self.0.borrow_mut();
        inner.durable = inner.present.clone();
        inner.log.clear();
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        Ok(1 << 30)
    }
}
