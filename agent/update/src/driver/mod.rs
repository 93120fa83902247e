//! Performs the machine's effects, one after another; stops at the first that fails to reach the journal.
//! Makes no decision about an update itself.

mod download;

use std::collections::VecDeque;
use std::io;

use iottly_protocol::release::{Reason, Step};

use crate::disk::Disk;
use crate::engines::StoredEngine;
use crate::event::{Effect, Event, refusal};
use crate::files::{self, Download};
use crate::host::{Host, MetaError};
use crate::journal::Journal;
use crate::machine::Machine;
use crate::memory::Memory;
use crate::offer::{Offer, Planned};
use crate::recover;
use crate::slot::{Running, Slot, Start};
use download::failed;

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
        let machine = Machine::new(found.memory).with_own_engines(host.own_engines());
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
        if updater.memory().attempt.is_none() {
            // A power cut before the end of the last clean-up leaves an engine. A disk that cannot remove it starts as well.
            let _ = files::remove_other_engines(&mut updater.disk, updater.machine.memory());
        }
        updater.offer_engines()?;
        let engine = match updater.memory().home() {
            Running::Slot(slot) => updater.host.engine_of(files::slot_file(slot)),
            Running::Factory => None,
        };
        updater.handle(Event::Boot {
            pointer: found.pointer,
            engine,
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
            Ok(Ok(list)) => self.begin(&release, list).and_then(|()| self.next_part()),
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
            Effect::FetchPart(..) => return Ok(self.fetch_part()),
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
            Effect::Start(start) => return self.start(&start),
            Effect::Stop => self.host.stop(),
            Effect::RestoreState => {
                files::restore_state(&mut self.disk)?;
                return Ok(Some(Event::Done));
            }
            Effect::CleanUp => {
                self.download = None;
                files::clean_up(&mut self.disk, self.machine.memory())?;
                self.offer_engines()?;
                return Ok(Some(Event::Done));
            }
            Effect::KeepEngine(engine) => self.keep_own_engine(&engine),
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

    /// Offers the engines whose files are what was verified; the others are as good as absent.
    fn offer_engines(&mut self) -> io::Result<()> {
        let engines = files::intact_engines(&self.disk, self.machine.memory())?;
        self.host.offer_engines(&engines);
        Ok(())
    }

    /// Writes a copy of an engine of the agent, unless it is there. A disk that fails leaves the device without a way back
    /// from the next engine, and nothing else; the next start tries again.
    fn keep_own_engine(&mut self, engine: &StoredEngine) {
        let mut keep = || {
            if files::is_stored(&self.disk, engine)? {
                return Ok(());
            }
            let content = self.host.own_engine(&engine.sha256);
            let content = content.ok_or_else(|| io::Error::other("the agent carries another engine"))?;
            files::write_engine(&mut self.disk, engine, &content)
        };
        if let Err(error) = keep().and_then(|()| self.offer_engines()) {
            self.host.warn(&format!(
                "the copy of the script engine {} is not written ({error}); a later engine has no way back to it",
                engine.sha256
            ));
        }
    }

    /// Starts a firmware; a slot's only if its content is what was verified, and there is still an engine for it.
    fn start(&mut self, start: &Start) -> io::Result<Option<Event>> {
        if let Running::Slot(slot) = start.firmware
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
        if let Running::Slot(slot) = start.firmware
            && self.memory().needs_engine(slot)
            && self.host.engine_of(files::slot_file(slot)).is_none()
        {
            let file = files::slot_file(slot);
            self.host.warn(&format!(
                "no engine of this device runs the script {file} any more; it is not run"
            ));
            return Ok(Some(Event::SlotDamaged(slot)));
        }
        self.host.start(start);
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

    fn check_image(&mut self, release: &Planned, slot: Slot) -> Event {
        match files::fill_slot(&mut self.disk, release, slot) {
            Ok(true) => match self.host.check_image(files::slot_file(slot), release) {
                Ok(engine) => Event::ImageOk(engine),
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
