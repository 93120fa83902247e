//! Firmware files of the update and the firmware's thread: compiling, starting, stopping, observing a trial.
//! Never decides which firmware runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use iottly_protocol::DeviceId;
use iottly_protocol::limits::MAX_COMPONENT_BYTES;
use iottly_protocol::release::{EngineFact, HealthRules, Reason, Refusal};
use iottly_sandbox::{Cache, Runtime, ScriptEngine};
use iottly_update::{Planned, Running, Start, StoredEngine, files, read_file};

use super::mailbox::UpdateMailbox;
use crate::guest::{Installed, Mailbox, TrialEvent, TrialObserver};
use crate::watchdog::{COMPILING_ROUNDS, Part};

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
    /// Set when a firmware is started or stopped, which ends a developer's code.
    pub(super) replaced: Arc<AtomicBool>,
    /// Reports the progress of the update's thread.
    pub(super) part: Part,
}

impl FirmwareSlot {
    fn file(&self, firmware: Running) -> Option<PathBuf> {
        match firmware {
            Running::Factory => self.factory.clone(),
            Running::Slot(slot) => Some(self.data.join(files::slot_file(slot))),
        }
    }

    fn observer(&self, health: HealthRules) -> TrialObserver {
        // Twice as often as needed: one check may be late.
        let every = Duration::from_millis(health.grace_ms / (2 * u64::from(health.min_ok).max(1)));
        let (mailbox, trial) = (self.mailbox.clone(), self.mailbox.begin_trial());
        TrialObserver {
            every: every.clamp(HEALTH_EVERY.0, HEALTH_EVERY.1),
            notify: Arc::new(move |event: TrialEvent| mailbox.trial(trial, event)),
        }
    }

    /// Compiles a downloaded component and compares its digest with the release's. Returns the digest of the engine that
    /// runs it, if it is a script.
    ///
    /// # Errors
    /// `invalid` if the file cannot be read or is not a firmware, `digest_mismatch` if its digest differs.
    pub(super) fn check(&self, file: &str, release: &Planned) -> Result<Option<String>, Refusal> {
        let invalid = |detail: String| Refusal {
            reason: Reason::Invalid,
            detail,
        };
        let wasm = read_file(&self.data.join(file), MAX_COMPONENT_BYTES as u64)
            .map_err(|e| invalid(e.to_string()))?;
        let _compiling = self.part.long(COMPILING_ROUNDS);
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
        Ok(firmware.engine().map(ToOwned::to_owned))
    }

    /// Returns the digest of the engine that the script in a file runs on; none if the file has code of its own, cannot
    /// be read, or no engine fits.
    pub(super) fn engine_of(&self, file: &str) -> Option<String> {
        let wasm = read_file(&self.data.join(file), MAX_COMPONENT_BYTES as u64).ok()?;
        let engine = self.cache.engine_of(&wasm, None).ok()??;
        Some(engine.digest().to_owned())
    }

    /// Returns the engines that the agent carries.
    pub(super) fn own_engines(&self) -> Vec<EngineFact> {
        let engines = self.cache.own_engines().iter();
        let fact = |engine: &Arc<ScriptEngine>| EngineFact {
            abi: engine.abi().to_owned(),
            sha256: engine.digest().to_owned(),
        };
        engines.map(fact).collect()
    }

    /// Returns the content of an engine that the agent carries.
    pub(super) fn own_engine(&self, sha256: &str) -> Option<Vec<u8>> {
        let mut engines = self.cache.own_engines().iter();
        let engine = engines.find(|engine| engine.digest() == sha256)?;
        Some(engine.wasm().to_vec())
    }

    /// Offers scripts the engines in these files, in place of those offered before.
    pub(super) fn offer_engines(&self, engines: &[StoredEngine]) {
        let read = |engine: &StoredEngine| {
            let file = self.data.join(engine.file());
            read_file(&file, MAX_COMPONENT_BYTES as u64)
                .map(|wasm| ScriptEngine::new(engine.abi.clone(), wasm))
                .inspect_err(|error| {
                    tracing::warn!(device.id = %self.device, file.path = %file.display(), %error, "failed to read a script engine; scripts do without it");
                })
                .ok()
        };
        self.cache.set_brought(engines.iter().filter_map(read).collect());
    }

    /// Replaces the running firmware, and observes the new one if it is on trial.
    pub(super) fn start(&self, start: &Start) {
        tracing::info!(device.id = %self.device, firmware.slot = ?start.firmware, firmware.trial = start.trial.is_some(), "starting the firmware");
        let observer = start.trial.map(|health| self.observer(health));
        self.load(self.file(start.firmware).into(), start.engine.clone(), observer);
    }

    /// Stops the running firmware; another one is started next.
    pub(super) fn stop(&self) {
        self.load(Installed::Undecided, None, None);
    }

    fn load(&self, installed: Installed, engine: Option<String>, observer: Option<TrialObserver>) {
        self.replaced.store(true, Ordering::Release);
        if !self.guest.load(installed, engine, observer) {
            tracing::warn!(device.id = %self.device, "failed to replace the firmware, its thread does not respond; continuing");
        }
    }
}
