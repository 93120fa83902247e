//! The device as the update's state machine sees it: the release source, the firmware's slot and the reporter
//! behind one trait. Makes no decisions.

use iottly_protocol::release::{EngineFact, Refusal};
use iottly_update::{Host, Known, Memory, MetaError, Now, Offer, Planned, Progress, Start, StoredEngine};

use super::firmware_slot::FirmwareSlot;
use super::release_source::ReleaseSource;
use super::reporter::Reporter;
use crate::clock::Monotonic;

/// Parts of the device that an update acts on.
pub(super) struct DeviceHost {
    pub(super) source: ReleaseSource,
    pub(super) slot: FirmwareSlot,
    pub(super) reporter: Reporter,
    /// Sequence number of the planned release, for reports.
    pub(super) release_seq: Option<u64>,
    pub(super) clock: Monotonic,
}

impl Host for DeviceHost {
    fn now(&mut self) -> Now {
        let reading = self.source.admission.clock.reading();
        Now {
            unix: reading.unix,
            clock_trusted: reading.trusted,
            mono_ms: self.clock.now_ms(),
        }
    }

    fn verify_meta(&mut self, offer: &Offer, memory: &Memory) -> Option<Result<Planned, MetaError>> {
        let busy = self.source.plan(offer, memory)?;
        Some(Err(MetaError::Unreachable(busy)))
    }

    fn chunk_list(&mut self, release: &Planned) -> Option<Result<Vec<u8>, String>> {
        self.source.chunk_list(release).map(Err)
    }

    fn part(&mut self, release: &Planned, from: u64, len: u64) -> Option<Result<Vec<u8>, String>> {
        self.source.part(release, from, len).map(Err)
    }

    fn identify(&mut self, sha256: &str) -> Option<Known> {
        self.source.admission.identify(sha256)
    }

    fn warn(&mut self, text: &str) {
        self.reporter.warn(text);
    }

    fn own_engines(&mut self) -> Vec<EngineFact> {
        self.slot.own_engines()
    }

    fn own_engine(&mut self, sha256: &str) -> Option<Vec<u8>> {
        self.slot.own_engine(sha256)
    }

    fn offer_engines(&mut self, engines: &[StoredEngine]) {
        self.slot.offer_engines(engines);
    }

    fn engine_of(&mut self, file: &str) -> Option<String> {
        self.slot.engine_of(file)
    }

    fn check_image(&mut self, file: &str, release: &Planned) -> Result<Option<String>, Refusal> {
        self.slot.check(file, release)
    }

    fn start(&mut self, start: &Start) {
        self.slot.start(start);
    }

    fn stop(&mut self) {
        self.slot.stop();
    }

    fn report(&mut self, progress: Progress) {
        self.reporter.progress(&progress, self.release_seq);
    }
}
