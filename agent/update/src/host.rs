//! The device as the updater sees it: the repository, the firmware and the reports. An interface only; nothing is
//! decided here.

use iottly_protocol::release::Refusal;

use crate::event::{Now, Progress};
use crate::memory::Memory;
use crate::offer::{Offer, Planned};
use crate::slot::Running;

/// Why metadata does not say yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetaError {
    /// The device does not take the release.
    Refused(Refusal),
    /// The repository cannot be reached; it is tried again.
    Unreachable(String),
}

/// Description of a release in trusted metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Its number.
    pub release_seq: u64,
    /// The floor once it is committed.
    pub security_floor: u64,
    /// The layout in which it writes its state.
    pub data_schema: u32,
}

/// What the machine moves beside files.
///
/// Three questions go to the repository. Their answers may come later, through [`Updater::planned`],
/// [`Updater::chunk_list`] and
/// [`Updater::part`]: a repository that does not answer must not keep the machine from anything else. A question may be asked
/// again while its answer is outstanding.
pub trait Host {
    /// The time: read before each event, since what was done for the one before may have taken long.
    fn now(&mut self) -> Now;
    /// Fetches metadata, verifies the directive again and decides on its release; none when the answer comes
    /// later.
    fn verify_meta(&mut self, offer: &Offer, memory: &Memory) -> Option<Result<Planned, MetaError>>;
    /// Fetches the list of a release's parts, which is checked by the caller; none when the answer comes
    /// later. An error is for people.
    fn chunk_list(&mut self, release: &Planned) -> Option<Result<Vec<u8>, String>>;
    /// Fetches some bytes of a release, which are checked by the caller; none when the answer comes later. An
    /// error is for people.
    fn part(&mut self, release: &Planned, from: u64, len: u64) -> Option<Result<Vec<u8>, String>>;
    /// Returns what the trusted metadata that lies on the device says about a file with this digest.
    fn identify(&mut self, sha256: &str) -> Option<Known>;
    /// Tells people of damage that was found, and what was done about it.
    fn warn(&mut self, text: &str);
    /// Compiles a file and instantiates it without letting it act.
    ///
    /// # Errors
    /// When that fails; says why.
    fn check_image(&mut self, file: &str, release: &Planned) -> Result<(), Refusal>;
    /// Starts a firmware in the place of the running one. In a trial, what becomes of it comes back as
    /// events.
    fn start(&mut self, firmware: Running, trial: bool);
    /// Stops the firmware and waits until it has ended.
    fn stop(&mut self);
    /// Tells the cloud.
    fn report(&mut self, progress: Progress);
}
