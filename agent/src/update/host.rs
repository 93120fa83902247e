use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use iottly_protocol::DeviceId;
use iottly_protocol::limits::MAX_COMPONENT_BYTES;
use iottly_protocol::release::{Reason, Refusal};
use iottly_sandbox::{Cache, Runtime};
use iottly_update::{
    Host, Known, Memory, MetaError, Now, Offer, Planned, Progress, Running, files, read_file,
};

use super::admission::Admission;
use super::fetch::{Question, Questions};
use super::mail::Mail;
use super::voice::Voice;
use crate::clock::Monotonic;
use crate::guest::{Jobs, News, Watch};

/// Least and most time between two questions about a firmware's health in its trial.
const HEALTH_EVERY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// A question of the update under way whose answer is outstanding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// About the directive with this counter.
    Plan(u64),
    /// The list of parts of the release with this digest.
    List(String),
    /// The bytes from there of the release with this digest.
    Part(String, u64),
}

/// What an update moves on this device.
pub(super) struct DeviceHost {
    pub(super) device: DeviceId,
    pub(super) admission: Admission,
    pub(super) questions: Questions,
    pub(super) asked: Option<Asked>,
    pub(super) data: PathBuf,
    /// The firmware that the device was set up with.
    pub(super) factory: Option<PathBuf>,
    pub(super) cache: Arc<Cache>,
    pub(super) runtime: Runtime,
    pub(super) jobs: Jobs,
    pub(super) voice: Voice,
    pub(super) mail: Mail,
    /// The grace period and the answers wanted of the release that comes next on trial.
    pub(super) health: (u64, u32),
    pub(super) release_seq: Option<u64>,
    pub(super) clock: Monotonic,
}

impl DeviceHost {
    fn file(&self, firmware: Running) -> Option<PathBuf> {
        match firmware {
            Running::Factory => self.factory.clone(),
            Running::Slot(slot) => Some(self.data.join(files::slot_file(slot))),
        }
    }

    fn watch(&self) -> Watch {
        let (grace_ms, min_ok) = self.health;
        // Twice as often as is needed: one answer may come late.
        let every = Duration::from_millis(grace_ms / (2 * u64::from(min_ok).max(1)));
        let (mail, trial) = (self.mail.clone(), self.mail.begin_trial());
        let tell = move |what: News| mail.tell(trial, what);
        Watch {
            every: every.clamp(HEALTH_EVERY.0, HEALTH_EVERY.1),
            tell: Arc::new(tell),
        }
    }

    /// Asks the repository, unless that question is outstanding; answers why it cannot be asked.
    fn ask(&mut self, asked: Asked, question: impl FnOnce() -> Question) -> Option<String> {
        if self.asked.as_ref() == Some(&asked) {
            return None;
        }
        if !self.questions.ask(question()) {
            return Some("earlier questions to the repository are not answered yet".to_owned());
        }
        self.asked = Some(asked);
        None
    }

    /// An answer came; false when it is to a question that nobody asks any more.
    pub(super) fn is_wanted(&mut self, asked: &Asked) -> bool {
        self.asked.take_if(|outstanding| outstanding == asked).is_some()
    }
}

impl Host for DeviceHost {
    fn now(&mut self) -> Now {
        let reading = self.admission.clock.reading();
        Now {
            unix: reading.unix,
            clock_trusted: reading.told,
            mono_ms: self.clock.now_ms(),
        }
    }

    fn verify_meta(&mut self, offer: &Offer, memory: &Memory) -> Option<Result<Planned, MetaError>> {
        let question = || Question::Plan {
            offer: Box::new(offer.clone()),
            memory: Box::new(memory.clone()),
        };
        self.ask(Asked::Plan(offer.counter), question)
            .map(|busy| Err(MetaError::Unreachable(busy)))
    }

    fn chunk_list(&mut self, release: &Planned) -> Option<Result<Vec<u8>, String>> {
        let question = || Question::List {
            release: Box::new(release.clone()),
        };
        self.ask(Asked::List(release.sha256.clone()), question).map(Err)
    }

    fn part(&mut self, release: &Planned, from: u64, len: u64) -> Option<Result<Vec<u8>, String>> {
        let question = || Question::Part {
            release: Box::new(release.clone()),
            from,
            len,
        };
        self.ask(Asked::Part(release.sha256.clone(), from), question)
            .map(Err)
    }

    fn identify(&mut self, sha256: &str) -> Option<Known> {
        self.admission.identify(sha256)
    }

    fn warn(&mut self, text: &str) {
        self.voice.warn(text);
    }

    fn check_image(&mut self, file: &str, release: &Planned) -> Result<(), Refusal> {
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
                detail: "the compiled file is another one".to_owned(),
            });
        }
        Ok(())
    }

    fn start(&mut self, firmware: Running, trial: bool) {
        tracing::info!(device.id = %self.device, ?firmware, trial, "the firmware is started");
        let watch = trial.then(|| self.watch());
        if !self.jobs.load(self.file(firmware), watch) {
            tracing::warn!(device.id = %self.device, "the firmware's thread does not answer");
        }
    }

    fn stop(&mut self) {
        if !self.jobs.load(None, None) {
            tracing::warn!(device.id = %self.device, "the firmware's thread does not answer");
        }
    }

    fn report(&mut self, progress: Progress) {
        self.voice.progress(&progress, self.release_seq);
    }
}
