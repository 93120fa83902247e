//! Memory that must survive a restart: the journal's content. Data only; the field names are those of the
//! journal.

use iottly_protocol::release::{Ending, EngineFact, HealthRules, Refusal, Step};
use iottly_protocol::tuf::Vouched;
use serde::{Deserialize, Serialize};

use crate::engines::{EngineTrial, MAX_STORED_ENGINES, PlannedEngine, StoredEngine};
use crate::offer::{Offer, Planned};
use crate::slot::{Running, Slot, Start};

/// Release that the device runs while no other one is tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    /// Slot of the release.
    pub slot: Slot,
    /// sha256 of the release, hex.
    pub sha256: String,
    /// Number of the release.
    pub release_seq: u64,
    /// Layout in which the release writes its state.
    pub data_schema: u32,
    /// sha256 of the engine on which the release has passed its last trial, hex; none if it has code of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// sha256 of another engine, on which the release has failed, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_engine: Option<String>,
    /// Rules of its trials.
    #[serde(default)]
    pub health: HealthRules,
}

/// Update under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Directive of the update.
    pub offer: Offer,
    /// Current step.
    pub state: Step,
    /// Reason of a wait or a roll-back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Refusal>,
    /// Unix seconds at which release 0.1 of the agent abandons the update; not read any more.
    #[serde(default)]
    pub deadline: u64,
    /// Time for which the update has been under way, waits left out, in milliseconds of the agent running.
    #[serde(default)]
    pub spent_ms: u64,
    /// Time for which the update has waited for its window or for the time, in milliseconds of the agent
    /// running.
    #[serde(default)]
    pub waited_ms: u64,
    /// Number of board starts within the trial.
    pub boots: u32,
    /// Number of journal writes for this update.
    pub writes: u32,
    /// Slot that the update fills.
    pub slot: Slot,
    /// Release, once its metadata is verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Planned>,
    /// sha256 of the engine that the release runs on, hex, once it is loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
}

impl Attempt {
    pub(crate) fn new(offer: Offer, slot: Slot, unix: u64) -> Self {
        let deadline = unix.saturating_add(offer.deadline_s);
        Self {
            offer,
            state: Step::Offered,
            why: None,
            deadline,
            spent_ms: 0,
            waited_ms: 0,
            boots: 0,
            writes: 0,
            slot,
            release: None,
            engine: None,
        }
    }
}

/// Outcome of the last update; kept until the cloud has stored it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Id of the directive.
    pub id: String,
    /// sha256 of the release, hex.
    pub sha256: String,
    /// Ending of the update.
    pub ending: Ending,
    /// Reason, unless the release is committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Refusal>,
}

/// Maximum number of rolled-back digests that are remembered.
pub const MAX_QUARANTINED: usize = 8;

/// Content of the journal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Highest directive counter that was accepted.
    pub counter: u64,
    /// Lowest release number that the device accepts.
    pub floor: u64,
    /// Floor of the date that release 0.1 of the agent reads, in unix seconds. That release raised it by its
    /// system's clock, so it is not evidence of the date; `vouched` is.
    #[serde(default)]
    pub clock_floor: u64,
    /// Versions and date that accepted metadata vouches for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vouched: Option<Vouched>,
    /// Committed release; none while the firmware is the factory's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed: Option<Committed>,
    /// Digests that were rolled back, the latest last.
    #[serde(default)]
    pub quarantined: Vec<String>,
    /// Update under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// Outcome of the last update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Outcome>,
    /// Script engines that releases have brought, and the copy of an engine of the agent, at most [`MAX_STORED_ENGINES`](crate::MAX_STORED_ENGINES).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub engines: Vec<StoredEngine>,
    /// Trial of the committed script on another engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_trial: Option<EngineTrial>,
}

impl Memory {
    /// Returns the firmware that runs while no other one is tried.
    #[must_use]
    pub fn home(&self) -> Running {
        self.committed
            .as_ref()
            .map_or(Running::Factory, |committed| Running::Slot(committed.slot))
    }

    /// Returns how the firmware starts that runs while no other one is tried. A script that has failed on another engine
    /// runs on the one it was committed on, if the device still has it.
    #[must_use]
    pub fn start_home(&self) -> Start {
        let committed = self.committed.as_ref();
        let engine = committed
            .filter(|committed| committed.refused_engine.is_some())
            .and_then(|committed| committed.engine.clone())
            .filter(|engine| self.stored_engine(engine).is_some());
        Start {
            firmware: self.home(),
            trial: None,
            engine,
        }
    }

    /// Returns the digest of what was verified in a slot, if the slot may run.
    #[must_use]
    pub fn digest_of(&self, slot: Slot) -> Option<String> {
        let tried = self
            .attempt
            .as_ref()
            .filter(|attempt| attempt.slot == slot && !attempt.state.is_cancellable());
        let committed = self.committed.as_ref().filter(|committed| committed.slot == slot);
        tried
            .map(|attempt| attempt.offer.sha256.clone())
            .or_else(|| committed.map(|committed| committed.sha256.clone()))
    }

    /// Returns true if the script in a slot has run on an engine.
    pub(crate) fn needs_engine(&self, slot: Slot) -> bool {
        let tried = self.attempt.as_ref().filter(|attempt| attempt.slot == slot);
        let committed = self.committed.as_ref().filter(|committed| committed.slot == slot);
        tried.is_some_and(|attempt| attempt.engine.is_some())
            || committed.is_some_and(|committed| committed.engine.is_some())
    }

    /// Returns the slot that an update may fill.
    #[must_use]
    pub fn free_slot(&self) -> Slot {
        self.committed
            .as_ref()
            .map_or(Slot::A, |committed| committed.slot.other())
    }

    /// Reserves a place for an engine. The engine of the committed release keeps its own.
    pub(crate) fn reserve_engine(&mut self, engine: &PlannedEngine) {
        self.drop_engines();
        self.engines.retain(|stored| stored.sha256 != engine.sha256);
        let place = self
            .free_place()
            .expect("the committed release has one of two places");
        self.engines.push(StoredEngine {
            abi: engine.abi.clone(),
            sha256: engine.sha256.clone(),
            place,
        });
    }

    /// Reserves a place for a copy of the engine that the committed script runs on, if it is one of the agent's own:
    /// a later agent may carry another one. Returns it, also if it was reserved before.
    pub(crate) fn reserve_own_engine(&mut self, own: &[EngineFact]) -> Option<StoredEngine> {
        let needed = self.committed.as_ref()?.engine.as_ref()?;
        let engine = own.iter().find(|engine| engine.sha256 == *needed)?;
        if let Some(stored) = self.stored_engine(needed) {
            return Some(stored.clone());
        }
        let stored = StoredEngine {
            abi: engine.abi.clone(),
            sha256: engine.sha256.clone(),
            place: self.free_place()?,
        };
        self.engines.push(stored.clone());
        Some(stored)
    }

    fn free_place(&self) -> Option<u8> {
        let places = u8::try_from(MAX_STORED_ENGINES).expect("two fit");
        (0..places).find(|place| self.engines.iter().all(|stored| stored.place != *place))
    }

    /// Forgets the engines that the committed release does not run on.
    pub(crate) fn drop_engines(&mut self) {
        let needed = self
            .committed
            .as_ref()
            .and_then(|committed| committed.engine.as_ref());
        self.engines.retain(|stored| Some(&stored.sha256) == needed);
        self.engines.truncate(1);
    }

    /// Returns the stored engine with this digest.
    #[must_use]
    pub fn stored_engine(&self, sha256: &str) -> Option<&StoredEngine> {
        self.engines.iter().find(|stored| stored.sha256 == sha256)
    }
}
