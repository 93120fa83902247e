//! Firmware files of the update and the firmware's thread: compiling, starting, stopping, observing a trial.
//! Never decides which firmware runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use iottly_protocol::DeviceId;
use iottly_protocol::limits::MAX_COMPONENT_BYTES;
use iottly_protocol::release::{Reason, Refusal};
use iottly_sandbox::{Cache, Runtime};
use iottly_update::{Planned, Running, files, read_file};

use super::mailbox::UpdateMailbox;
use crate::guest::{Mailbox, TrialEvent, TrialObserver};

/// Least and most time between two health checks of a firmware in its trial.
const HEALTH_EVERY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// Place where the firmware of an update runs.
#[derive(Clone)]
pub(super) struct FirmwareSlot {
    pub(super) device: DeviceId,
    /// The data folder.
    pub(super) data: PathBuf,
    /// Firmware that the device was set up with.
    pub(super) factory: Option<PathBuf>,
    pub(super) cache: Arc<Cache>,
    pub(super) runtime: Runtime,
    /// Mailbox of the firmware's thread.
    pub(super) guest: Mailbox,
    /// Mailbox that receives the events of a trial.
    pub(super) mailbox: UpdateMailbox,
    /// Grace period in milliseconds and required positive health checks of the release that was checked last.
    pub(super) health: (u64, u32),
    /// Set when a firmware is started or stopped, which ends a developer's code.
    pub(super) replaced: Arc<AtomicBool>,
}

impl FirmwareSlot {
    fn file(&self, firmware: Running) -> Option<PathBuf> {
        match firmware {
            Running::Factory => self.factory.clone(),
            Running::Slot(slot) => Some(self.data.join(files::slot_file(slot))),
        }
    }

    fn observer(&self) -> TrialObserver {
        let (grace_ms, min_ok) = self.health;
        // Twice as often as needed: one check may be late.
        let every = Duration::from_millis(grace_ms / (2 * u64::from(min_ok).max(1)));
        let (mailbox, trial) = (self.mailbox.clone(), self.mailbox.begin_trial());
        TrialObserver {
            every: every.clamp(HEALTH_EVERY.0, HEALTH_EVERY.1),
            notify: Arc::new(move |event: TrialEvent| mailbox.trial(trial, event)),
        }
    }

    /// Compiles a downloaded component and compares its digest with the release's.
    ///
    /// # Errors
    /// `invalid` if the file cannot be read or is not a firmware, `digest_mismatch` if its digest differs.
    pub(super) fn check(&mut self, file: &str, release: &Planned) -> Result<(), Refusal> {
        self.health = (release.health.grace_ms, release.health.min_ok);
        let invalid = |detail: String| Refusal {
            reason: Reason::Invalid,
            detail,
        };
        let wasm = read_file(&self.data.join(file), MAX_COMPONENT_BYTES as u64)
            .map_err(|e| invalid(e.to_string()))?;
        let firmware = self
            .cache
            .load(&self.runtime, &wasm)
            .map_err(|e| invalid(e.to_string()))?;
        if firmware.digest() != release.sha256 {
            return Err(Refusal {
                reason: Reason::DigestMismatch,
                detail: "the compiled file has another digest than the release".to_owned(),
            });
        }
        Ok(())
    }

    /// Replaces the running firmware. With `trial` the new one is observed.
    pub(super) fn start(&self, firmware: Running, trial: bool) {
        tracing::info!(device.id = %self.device, firmware.slot = ?firmware, firmware.trial = trial, "starting the firmware");
        let observer = trial.then(|| self.observer());
        self.load(self.file(firmware), observer);
    }

    /// Stops the running firmware.
    pub(super) fn stop(&self) {
        self.load(None, None);
    }

    fn load(&self, wasm: Option<PathBuf>, observer: Option<TrialObserver>) {
        self.replaced.store(true, Ordering::Release);
        if !self.guest.load(wasm, observer) {
            tracing::warn!(device.id = %self.device, "failed to replace the firmware, its thread does not respond; continuing");
        }
    }
}
