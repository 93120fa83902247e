//! Performs what the machine decides, one effect after another; stops at the first that fails to reach the journal.

use std::collections::VecDeque;
use std::io;

use iottly_protocol::release::{ChunkList, Reason, Refusal};

use crate::disk::Disk;
use crate::files::{self, Download};
use crate::journal::Journal;
use crate::machine::Machine;
use crate::state::{Effect, Event, Memory, Now, Offer, Planned, Progress, Running, Slot, refusal};

/// Why metadata does not say yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetaError {
    /// The device does not take the release.
    Refused(Refusal),
    /// The repository cannot be reached; it is tried again.
    Unreachable(String),
}

/// What the machine moves beside files.
pub trait Host {
    /// The time: read before each event, since what was done for the one before may have taken long.
    fn now(&mut self) -> Now;
    /// Fetches metadata, verifies the directive again and decides on its release.
    ///
    /// # Errors
    /// When the release is not taken or the repository cannot be reached.
    fn verify_meta(&mut self, offer: &Offer, memory: &Memory) -> Result<Planned, MetaError>;
    /// Fetches the list of a release's parts; it is checked by the caller.
    ///
    /// # Errors
    /// When it cannot be had, for people.
    fn chunk_list(&mut self, release: &Planned) -> Result<Vec<u8>, String>;
    /// Fetches some bytes of a release; they are checked by the caller.
    ///
    /// # Errors
    /// When they cannot be had, for people.
    fn part(&mut self, release: &Planned, from: u64, len: u64) -> Result<Vec<u8>, String>;
    /// Compiles a file and instantiates it without letting it act.
    ///
    /// # Errors
    /// When that fails; says why.
    fn check_image(&mut self, file: &str, release: &Planned) -> Result<(), Refusal>;
    /// Starts a firmware in the place of the running one. In a trial, what becomes of it comes back as events.
    fn start(&mut self, firmware: Running, trial: bool);
    /// Stops the firmware and waits until it has ended.
    fn stop(&mut self);
    /// Tells the cloud.
    fn report(&mut self, progress: Progress);
}

/// The machine with its disk and its host.
#[derive(Debug)]
pub struct Updater<D, H> {
    machine: Machine,
    journal: Journal,
    disk: D,
    host: H,
    download: Option<Download>,
    wake_at: Option<u64>,
    /// The download's cap: no part is fetched before.
    part_not_before: u64,
}

impl<D: Disk, H: Host> Updater<D, H> {
    /// Opens the journal and goes on where it stopped: starts a firmware and, if there is one, the update under way.
    ///
    /// # Errors
    /// When the disk fails or what lies on it is damaged.
    pub fn boot(mut disk: D, host: H) -> io::Result<Self> {
        let (journal, memory) = Journal::open(&mut disk)?;
        let pointer = files::read_pointer(&disk)?;
        let machine = Machine::new(memory);
        let mut updater = Self { machine, journal, disk, host, download: None, wake_at: None, part_not_before: 0 };
        updater.handle(Event::Boot { pointer })?;
        Ok(updater)
    }

    /// What is to survive.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        self.machine.memory()
    }

    /// When a tick is due, milliseconds of the growing clock.
    #[must_use]
    pub fn wake_at(&self) -> Option<u64> {
        self.wake_at
    }

    /// The host.
    pub fn host(&mut self) -> &mut H {
        &mut self.host
    }

    /// The disk.
    #[must_use]
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// Handles an event and all that follows from it at once.
    ///
    /// # Errors
    /// When the journal or the pointer cannot be written. The update then stands still; [`Updater::boot`] takes it up again.
    pub fn handle(&mut self, event: Event) -> io::Result<()> {
        if event == Event::Tick {
            self.wake_at = None;
        }
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let now = self.host.now();
            for effect in self.machine.handle(event, now) {
                events.extend(self.perform(effect)?);
            }
        }
        Ok(())
    }

    fn perform(&mut self, effect: Effect) -> io::Result<Option<Event>> {
        match effect {
            Effect::Journal(memory) => self.journal.write(&mut self.disk, &memory)?,
            Effect::Report(progress) => self.host.report(progress),
            Effect::VerifyMeta(offer) => return Ok(Some(self.verify_meta(&offer))),
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
            Effect::Start { firmware, trial } => self.host.start(firmware, trial),
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
            Effect::WakeAt(at) => self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at))),
        }
        Ok(None)
    }

    fn verify_meta(&mut self, offer: &Offer) -> Event {
        match self.host.verify_meta(offer, self.machine.memory()) {
            Ok(release) => Event::MetaOk(release),
            Err(MetaError::Refused(why)) => Event::Refused(why),
            Err(MetaError::Unreachable(detail)) => Event::PartFailed { corrupt: false, detail },
        }
    }

    fn check_room(&self, size: u64) -> Event {
        match self.disk.free() {
            Ok(free) if free >= size => Event::Room,
            Ok(free) => Event::Refused(refusal(Reason::NoSpace, format!("{size} bytes are needed, {free} are free"))),
            Err(e) => Event::DiskFailed(e.to_string()),
        }
    }

    fn fetch_part(&mut self, release: &Planned) -> Option<Event> {
        if self.host.now().mono_ms < self.part_not_before {
            let at = self.part_not_before;
            self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
            return None;
        }
        let fetched = self.next_part(release);
        Some(fetched.unwrap_or_else(|e| Event::DiskFailed(e.to_string())))
    }

    fn next_part(&mut self, release: &Planned) -> io::Result<Event> {
        if !self.download.as_ref().is_some_and(|download| download.is_of(release)) {
            let list = match files::kept_list(&self.disk, release)? {
                Some(list) => list,
                None => match self.fetch_list(release)? {
                    Ok(list) => list,
                    Err(event) => return Ok(event),
                },
            };
            self.download = Some(Download::resume(&self.disk, release, list)?);
        }
        let Some(download) = &mut self.download else { return Ok(Event::Tick) };
        let Some((number, from, len)) = download.missing() else { return Ok(Event::PartKept { complete: true }) };
        let part = match self.host.part(release, from, len) {
            Ok(part) => part,
            Err(detail) => return Ok(Event::PartFailed { corrupt: false, detail }),
        };
        let max_bps = self.machine.memory().attempt.as_ref().map_or(0, |attempt| attempt.offer.max_bps);
        if let Some(pause) = (len * 1000).checked_div(max_bps) {
            self.part_not_before = self.host.now().mono_ms.saturating_add(pause);
        }
        if !download.keep(&mut self.disk, number, &part)? {
            return Ok(Event::PartFailed { corrupt: true, detail: format!("part {number} is not what was signed") });
        }
        Ok(Event::PartKept { complete: download.missing().is_none() })
    }

    /// Fetches the list of parts, unless the one part's digest is the root itself.
    fn fetch_list(&mut self, release: &Planned) -> io::Result<Result<ChunkList, Event>> {
        let root = iottly_protocol::tuf::decode_hex(&release.chunk_root).and_then(|bytes| bytes.try_into().ok());
        let list = match root {
            Some(root) if release.size <= release.chunk_size => Some(ChunkList::single(root)),
            _ => match self.host.chunk_list(release) {
                Ok(bytes) => ChunkList::decode(&bytes),
                Err(detail) => return Ok(Err(Event::PartFailed { corrupt: false, detail })),
            },
        };
        let Some(list) = list.filter(|list| files::is_list_of(list, release)) else {
            return Ok(Err(Event::PartFailed { corrupt: true, detail: "the list of parts is not what was signed".to_owned() }));
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
            Ok(false) => Event::ImageBad(refusal(Reason::DigestMismatch, "the whole is not what was signed")),
            Err(e) => Event::DiskFailed(e.to_string()),
        }
    }
}
