//! The download of an update: which file and which part is fetched next, and what is done with an answer. Trusts no
//! answer before it has verified it.

use std::io;

use iottly_protocol::release::{ChunkList, Step};

use super::Updater;
use crate::disk::Disk;
use crate::event::Event;
use crate::files::{self, Download};
use crate::host::Host;
use crate::offer::Planned;

impl<D: Disk, H: Host> Updater<D, H> {
    /// Returns the file with this digest, if it is being downloaded.
    pub(super) fn downloading(&self, sha256: &str) -> Option<Planned> {
        let attempt = self
            .memory()
            .attempt
            .as_ref()
            .filter(|attempt| attempt.state == Step::Downloading)?;
        let release = attempt.release.as_ref()?;
        [release.engine_download(), Some(release.clone())]
            .into_iter()
            .flatten()
            .find(|file| file.sha256 == sha256)
    }

    pub(super) fn fetch_part(&mut self) -> Option<Event> {
        if self.host.now().mono_ms < self.part_not_before {
            self.wake(self.part_not_before);
            return None;
        }
        self.next_part().unwrap_or_else(failed)
    }

    /// Returns the file to download now: the engine that the release brings, until it is stored, then the release.
    fn wanted(&self) -> io::Result<Option<Planned>> {
        let attempt = self.memory().attempt.as_ref();
        let Some(release) = attempt.and_then(|attempt| attempt.release.clone()) else {
            return Ok(None);
        };
        let Some(engine) = release.engine_download() else {
            return Ok(Some(release));
        };
        match self.memory().stored_engine(&engine.sha256) {
            // While its parts arrive, the file is not there yet.
            Some(stored) if self.is_downloading(&release) || files::is_stored(&self.disk, stored)? => {
                Ok(Some(release))
            }
            _ => Ok(Some(engine)),
        }
    }

    fn is_downloading(&self, file: &Planned) -> bool {
        self.download
            .as_ref()
            .is_some_and(|download| download.is_of(&file.sha256))
    }

    /// Stores a complete download that is an engine. Returns none if it is the release.
    fn keep_engine(&mut self) -> io::Result<Option<Event>> {
        let Some(engine) = self.wanted()?.filter(|file| self.is_downloading(file)) else {
            return Ok(None);
        };
        let Some(stored) = self.memory().stored_engine(&engine.sha256).cloned() else {
            return Ok(None);
        };
        self.download = None;
        if !files::fill(&mut self.disk, &engine, stored.file())? {
            files::forget_download(&mut self.disk)?;
            return Ok(Some(Event::PartFailed {
                corrupt: true,
                detail: "the engine is not what was signed".to_owned(),
            }));
        }
        self.offer_engines()?;
        Ok(Some(Event::PartKept { complete: false }))
    }

    /// Requests what is missing; none if the answer comes later.
    pub(super) fn next_part(&mut self) -> io::Result<Option<Event>> {
        let Some(release) = &self.wanted()? else {
            return Ok(None);
        };
        if !self
            .download
            .as_ref()
            .is_some_and(|download| download.is_of(&release.sha256))
        {
            match self.list(release)? {
                None => return Ok(self.outstanding()),
                Some(Err(event)) => return Ok(Some(event)),
                Some(Ok(list)) => self.begin(release, list)?,
            }
        }
        let missing = self.download.as_ref().and_then(Download::missing);
        let Some((number, from, len)) = missing else {
            return self.complete().map(Some);
        };
        match self.host.part(release, from, len) {
            None => Ok(self.outstanding()),
            Some(answer) => self.part_came(number, len, answer).map(Some),
        }
    }

    /// Handles the last part of a file.
    fn complete(&mut self) -> io::Result<Event> {
        Ok(self.keep_engine()?.unwrap_or(Event::PartKept { complete: true }))
    }

    pub(super) fn begin(&mut self, release: &Planned, list: ChunkList) -> io::Result<()> {
        self.download = Some(Download::resume(&self.disk, release, list)?);
        Ok(())
    }

    pub(super) fn part_came(
        &mut self,
        number: usize,
        len: u64,
        answer: Result<Vec<u8>, String>,
    ) -> io::Result<Event> {
        let part = match answer {
            Ok(part) => part,
            Err(detail) => {
                return Ok(Event::PartFailed {
                    corrupt: false,
                    detail,
                });
            }
        };
        let max_bps = self
            .machine
            .memory()
            .attempt
            .as_ref()
            .map_or(0, |attempt| attempt.offer.max_bps);
        if let Some(pause) = len.saturating_mul(1000).checked_div(max_bps) {
            self.part_not_before = self.host.now().mono_ms.saturating_add(pause);
        }
        let Some(download) = &mut self.download else {
            return Ok(Event::Tick);
        };
        if !download.keep(&mut self.disk, number, &part)? {
            return Ok(Event::PartFailed {
                corrupt: true,
                detail: format!("part {number} is not what was signed"),
            });
        }
        if download.missing().is_none() {
            return self.complete();
        }
        Ok(Event::PartKept { complete: false })
    }

    /// Returns the list of parts: the stored one, the root itself if there is only one part, or what the host
    /// fetches; none if that comes later.
    fn list(&mut self, release: &Planned) -> io::Result<Option<Result<ChunkList, Event>>> {
        if let Some(list) = files::kept_list(&self.disk, release)? {
            return Ok(Some(Ok(list)));
        }
        let root =
            iottly_protocol::tuf::decode_hex(&release.chunk_root).and_then(|bytes| bytes.try_into().ok());
        if let Some(root) = root.filter(|_| release.size <= release.chunk_size) {
            let list = ChunkList::single(root);
            return self.list_came(release, Ok(list.encode())).map(Some);
        }
        match self.host.chunk_list(release) {
            None => Ok(None),
            Some(answer) => self.list_came(release, answer).map(Some),
        }
    }

    pub(super) fn list_came(
        &mut self,
        release: &Planned,
        answer: Result<Vec<u8>, String>,
    ) -> io::Result<Result<ChunkList, Event>> {
        let bytes = match answer {
            Ok(bytes) => bytes,
            Err(detail) => {
                return Ok(Err(Event::PartFailed {
                    corrupt: false,
                    detail,
                }));
            }
        };
        let Some(list) = ChunkList::decode(&bytes).filter(|list| files::is_list_of(list, release)) else {
            return Ok(Err(Event::PartFailed {
                corrupt: true,
                detail: "the list of parts is not what was signed".to_owned(),
            }));
        };
        files::begin_download(&mut self.disk, &list)?;
        Ok(Ok(list))
    }
}

pub(super) fn failed(error: io::Error) -> Option<Event> {
    Some(Event::DiskFailed(error.to_string()))
}
