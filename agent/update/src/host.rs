//! Interface between the updater and the rest of the device: repository, firmware and reports. Decides
//! nothing.

use iottly_protocol::release::{EngineFact, Refusal};

use crate::engines::StoredEngine;
use crate::event::{Now, Progress};
use crate::memory::Memory;
use crate::offer::{Offer, Planned};
use crate::slot::Start;

/// Reason why metadata did not lead to a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetaError {
    /// The device refuses the release.
    Refused(Refusal),
    /// The repository cannot be reached; the machine tries again.
    Unreachable(String),
}

/// Description of a release in trusted metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Number of the release.
    pub release_seq: u64,
    /// Security floor once the release is committed.
    pub security_floor: u64,
    /// Layout in which the release writes its state.
    pub data_schema: u32,
}

/// Services of the device that the machine uses beside files.
///
/// Three requests go to the repository. Their answers may come later, through
/// [`Updater::planned`](crate::Updater::planned), [`Updater::chunk_list`](crate::Updater::chunk_list) and
/// [`Updater::part`](crate::Updater::part): a repository that does not answer must not block anything else. A
/// request may be repeated while its answer is outstanding.
pub trait Host {
    /// Returns the time. Read before each event, since the effects of the one before may have taken long.
    fn now(&mut self) -> Now;
    /// Fetches metadata, verifies the directive again and decides on its release; none if the answer comes
    /// later.
    fn verify_meta(&mut self, offer: &Offer, memory: &Memory) -> Option<Result<Planned, MetaError>>;
    /// Fetches the list of a release's parts, which the caller verifies; none if the answer comes later.
    /// Errors are texts for people.
    fn chunk_list(&mut self, release: &Planned) -> Option<Result<Vec<u8>, String>>;
    /// Fetches some bytes of a release, which the caller verifies; none if the answer comes later. Errors are
    /// texts for people.
    fn part(&mut self, release: &Planned, from: u64, len: u64) -> Option<Result<Vec<u8>, String>>;
    /// Returns the description of a file with this digest in the trusted metadata on the device.
    fn identify(&mut self, sha256: &str) -> Option<Known>;
    /// Reports damage that was found, and what was done about it.
    fn warn(&mut self, text: &str);
    /// Returns the engines that the agent carries.
    fn own_engines(&mut self) -> Vec<EngineFact>;
    /// Returns the content of an engine that the agent carries, by its sha256.
    fn own_engine(&mut self, sha256: &str) -> Option<Vec<u8>>;
    /// Offers scripts the engines in these files, in place of those offered before. The files are what was verified.
    fn offer_engines(&mut self, engines: &[StoredEngine]);
    /// Returns the sha256 of the engine that the script in a file runs on, hex; none if the file has code of its own,
    /// or no engine fits.
    fn engine_of(&mut self, file: &str) -> Option<String>;
    /// Compiles a file and instantiates it without running its exports. For a script, returns the sha256 of its engine,
    /// hex.
    ///
    /// # Errors
    /// The reason of the failure.
    fn check_image(&mut self, file: &str, release: &Planned) -> Result<Option<String>, Refusal>;
    /// Starts a firmware in place of the running one. During a trial, its fate comes back as events.
    fn start(&mut self, start: &Start);
    /// Stops the firmware and waits until it has ended.
    fn stop(&mut self);
    /// Reports progress to the cloud.
    fn report(&mut self, progress: Progress);
}
