//! Performs the machine's effects, one after another; stops at the first that fails to reach the journal.
//! Makes no decision about an update itself.

use std::collections::VecDeque;
use std::io;

use iottly_protocol::release::{ChunkList, Reason, Step};

use crate::disk::Disk;
use crate::event::{Effect, Event, refusal};
use crate::files::{self, Download};
use crate::host::{Host, MetaError};
use crate::journal::Journal;
use crate::machine::Machine;
use crate::memory::Memory;
use crate::offer::{Offer, Planned};
use crate::recover;
use crate::slot::{Running, Slot};

/// Time after which the machine checks its deadline while an answer is outstanding, in milliseconds.
const LOOK_AGAIN_MS: u64 = 5_000;

/// The machine with its disk and its host.
#[derive(Debug)]
pub struct Updater<D, H> {
    machine: Machine,
    journal: Journal,
    disk: D,
    host: H,
    download: Option<Download>,
    wake_at: Option<u64>,
    /// Time before which no part is fetched, because of the download's rate limit.
    part_not_before: u64,
}

impl<D: Disk, H: Host> Updater<D, H> {
    /// Opens the journal and continues where it stopped: starts a firmware and resumes the update under way,
    /// if there is one.
    ///
    /// # Errors
    /// The disk fails. Damage is repaired and reported to the host instead.
    pub fn boot(mut disk: D, mut host: H) -> io::Result<Self> {
        let found = recover::open(&mut disk, &mut host)?;
        let machine = Machine::new(found.memory);
        let journal = found.journal;
        let mut updater = Self {
            machine,
            journal,
            disk,
            host,
            download: None,
            wake_at: None,
            part_not_before: 0,
        };
        updater.handle(Event::Boot {
            pointer: found.pointer,
        })?;
        Ok(updater)
    }

    /// Returns what must survive a restart.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        self.machine.memory()
    }

    /// Returns the time at which a tick is due, in milliseconds of the growing clock.
    #[must_use]
    pub fn wake_at(&self) -> Option<u64> {
        self.wake_at
    }

    /// Returns the host.
    pub fn host(&mut self) -> &mut H {
        &mut self.host
    }

    /// Returns the disk.
    #[must_use]
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// Handles an event and everything that follows from it at once.
    ///
    /// # Errors
    /// The journal or the pointer cannot be written. The update then stops until the next [`Updater::boot`].
    pub fn handle(&mut self, event: Event) -> io::Result<()> {
        if event == Event::Tick {
            self.wake_at = None;
        }
        self.handle_all([event])
    }

    /// Passes on the answer to [`Host::verify_meta`] for the directive with this counter.
    ///
    /// # Errors
    /// As [`Updater::handle`].
    pub fn planned(&mut self, counter: u64, answer: Result<Planned, MetaError>) -> io::Result<()> {
        let attempt = self.memory().attempt.as_ref();
        if attempt
            .is_none_or(|attempt| attempt.offer.counter != counter || attempt.state != Step::VerifyingMeta)
        {
            return Ok(());
        }
        self.wake_at = None;
        self.handle(meta_event(answer))
    }

    /// Passes on the answer to [`Host::chunk_list`] for the release with this digest.
    ///
    /// # Errors
    /// As [`Updater::handle`].
    pub fn chunk_list(&mut self, sha256: &str, answer: Result<Vec<u8>, String>) -> io::Result<()> {
        let Some(release) = self.downloading(sha256) else {
            return Ok(());
        };
        self.wake_at = None;
        let event = match self.list_came(&release, answer) {
            Ok(Ok(list)) => self.begin(&release, list).and_then(|()| self.next_part(&release)),
            Ok(Err(event)) => Ok(Some(event)),
            Err(error) => Err(error),
        };
        self.handle_all(event.unwrap_or_else(failed))
    }

    /// Passes on the answer to [`Host::part`] for the release with this digest.
    ///
    /// # Errors
    /// As [`Updater::handle`].
    pub fn part(&mut self, sha256: &str, from: u64, answer: Result<Vec<u8>, String>) -> io::Result<()> {
        if self.downloading(sha256).is_none() {
            return Ok(());
        }
        let missing = self
            .download
            .as_ref()
            .filter(|download| download.is_of(sha256))
            .and_then(Download::missing);
        let Some((number, _, len)) = missing.filter(|(_, at, _)| *at == from) else {
            return Ok(());
        };
        self.wake_at = None;
        let event = self.part_came(number, len, answer).map(Some);
        self.handle_all(event.unwrap_or_else(failed))
    }

    fn downloading(&self, sha256: &str) -> Option<Planned> {
        let attempt = self
            .memory()
            .attempt
            .as_ref()
            .filter(|attempt| attempt.state == Step::Downloading)?;
        attempt.release.clone().filter(|release| release.sha256 == sha256)
    }

    fn handle_all(&mut self, events: impl IntoIterator<Item = Event>) -> io::Result<()> {
        let mut events: VecDeque<Event> = events.into_iter().collect();
        while let Some(event) = events.pop_front() {
            let now = self.host.now();
            for effect in with_fewer_writes(self.machine.handle(event, now)) {
                events.extend(self.perform(effect)?);
            }
        }
        Ok(())
    }

    fn perform(&mut self, effect: Effect) -> io::Result<Option<Event>> {
        match effect {
            Effect::Journal(memory) => self.journal.write(&mut self.disk, &memory)?,
            Effect::Report(progress) => self.host.report(progress),
            Effect::VerifyMeta(offer) => return Ok(self.verify_meta(&offer)),
            Effect::CheckRoom(size) => return Ok(Some(self.check_room(size))),
            Effect::FetchPart(release, _) => return Ok(self.fetch_part(&release)),
            Effect::CheckImage(release, slot) => return Ok(Some(self.check_image(&release, slot))),
            Effect::CopyState => {
                self.host.stop();
                return Ok(Some(match files::copy_state(&mut self.disk) {
                    Ok(()) => Event::Copied,
                    Err(e) => Event::DiskFailed(e.to_string()),
                }));
            }
            Effect::Point(to) => {
                files::point(&mut self.disk, to)?;
                if matches!(to, Running::Slot(_)) {
                    return Ok(Some(Event::Switched));
                }
            }
            Effect::Start { firmware, trial } => return self.start(firmware, trial),
            Effect::Stop => self.host.stop(),
            Effect::RestoreState => {
                files::restore_state(&mut self.disk)?;
                return Ok(Some(Event::Done));
            }
            Effect::CleanUp => {
                self.download = None;
                files::clean_up(&mut self.disk)?;
                return Ok(Some(Event::Done));
            }
            Effect::WakeAt(at) => self.wake(at),
        }
        Ok(None)
    }

    fn wake(&mut self, at: u64) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Waits for an answer that comes later; the deadline holds meanwhile.
    fn outstanding(&mut self) -> Option<Event> {
        let at = self.host.now().mono_ms.saturating_add(LOOK_AGAIN_MS);
        self.wake(at);
        None
    }

    /// Starts a firmware; a slot's only if its content is what was verified.
    fn start(&mut self, firmware: Running, trial: bool) -> io::Result<Option<Event>> {
        if let Running::Slot(slot) = firmware
            && let Some(wanted) = self.memory().digest_of(slot)
            && files::digest(&self.disk, files::slot_file(slot))?
                .is_none_or(|found| !found.eq_ignore_ascii_case(&wanted))
        {
            let file = files::slot_file(slot);
            self.host.warn(&format!(
                "{file} is not the release that was verified, or is larger than a release may be; it is not run"
            ));
            return Ok(Some(Event::SlotDamaged(slot)));
        }
        self.host.start(firmware, trial);
        Ok(None)
    }

    fn verify_meta(&mut self, offer: &Offer) -> Option<Event> {
        match self.host.verify_meta(offer, self.machine.memory()) {
            Some(answer) => Some(meta_event(answer)),
            None => self.outstanding(),
        }
    }

    fn check_room(&self, size: u64) -> Event {
        match self.disk.free() {
            Ok(free) if free >= size => Event::Room,
            Ok(free) => Event::Refused(refusal(
                Reason::NoSpace,
                format!("{size} bytes are needed, {free} are free"),
            )),
            Err(e) => Event::DiskFailed(e.to_string()),
        }
    }

    fn fetch_part(&mut self, release: &Planned) -> Option<Event> {
        if self.host.now().mono_ms < self.part_not_before {
            self.wake(self.part_not_before);
            return None;
        }
        self.next_part(release).unwrap_or_else(failed)
    }

    /// Requests what is missing; none if the answer comes later.
    fn next_part(&mut self, release: &Planned) -> io::Result<Option<Event>> {
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
            return Ok(Some(Event::PartKept { complete: true }));
        };
        match self.host.part(release, from, len) {
            None => Ok(self.outstanding()),
            Some(answer) => self.part_came(number, len, answer).map(Some),
        }
    }

    fn begin(&mut self, release: &Planned, list: ChunkList) -> io::Result<()> {
        self.download = Some(Download::resume(&self.disk, release, list)?);
        Ok(())
    }

    fn part_came(&mut self, number: usize, len: u64, answer: Result<Vec<u8>, String>) -> io::Result<Event> {
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
        Ok(Event::PartKept {
            complete: download.missing().is_none(),
        })
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

    fn list_came(
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

    fn check_image(&mut self, release: &Planned, slot: Slot) -> Event {
        match files::fill_slot(&mut self.disk, release, slot) {
            Ok(true) => match self.host.check_image(files::slot_file(slot), release) {
                Ok(()) => Event::ImageOk,
                Err(why) => Event::ImageBad(why),
            },
            Ok(false) => Event::ImageBad(refusal(
                Reason::DigestMismatch,
                "the whole is not what was signed",
            )),
            Err(e) => Event::DiskFailed(e.to_string()),
        }
    }
}

/// Leaves out each entry of the journal that another one follows with nothing but reports between them. The
/// later entry takes the place of the earlier one, so every report still comes after its entry.
fn with_fewer_writes(effects: Vec<Effect>) -> Vec<Effect> {
    let mut kept = Vec::with_capacity(effects.len());
    // Place of an entry that a later one may still replace.
    let mut entry: Option<usize> = None;
    for effect in effects {
        match (&effect, entry) {
            (Effect::Journal(_), Some(at)) => {
                kept[at] = effect;
                continue;
            }
            (Effect::Journal(_), None) => entry = Some(kept.len()),
            (Effect::Report(_), _) => {}
            _ => entry = None,
        }
        kept.push(effect);
    }
    kept
}

fn meta_event(answer: Result<Planned, MetaError>) -> Event {
    match answer {
        Ok(release) => Event::MetaOk(release),
        Err(MetaError::Refused(why)) => Event::Refused(why),
        Err(MetaError::Unreachable(detail)) => Event::PartFailed {
            corrupt: false,
            detail,
        },
    }
}

fn failed(error: io::Error) -> Option<Event> {
    Some(Event::DiskFailed(error.to_string()))
}
