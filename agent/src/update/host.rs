use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use iottly_protocol::release::{DeviceFacts, Directive, Reason, Refusal, Release, admit_directive, admit_release};
use iottly_protocol::tuf::{Client, FetchError, Instant, Schemes, Store as _, TufError};
use iottly_protocol::{DeviceId, Record, Report, StreamClass};
use iottly_sandbox::{Cache, Runtime};
use iottly_update::{Host, Memory, MetaError, Now, Offer, Planned, Progress, Repository, Running, TrustFolder, files};

use super::actor::Input;
use super::config::UpdateConfig;
use super::messages;
use crate::clock::{Monotonic, unix_ms};
use crate::guest::{Jobs, News, Watch};
use crate::outbox::Outbox;
use crate::throttle::LogLimit;

/// Least and most time between two questions about a firmware's health in its trial.
const HEALTH_EVERY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// Dates before this are those of a board without a clock: autumn of 2023.
const FIRST_DATE: u64 = 1_700_000_000;

/// What an update moves on this device.
pub(super) struct DeviceHost {
    pub(super) device: DeviceId,
    pub(super) config: UpdateConfig,
    pub(super) repository: Repository,
    pub(super) trust: TrustFolder,
    pub(super) data: PathBuf,
    /// The firmware that the device was set up with.
    pub(super) factory: Option<PathBuf>,
    pub(super) abi: &'static str,
    pub(super) cache: Arc<Cache>,
    pub(super) runtime: Runtime,
    pub(super) jobs: Jobs,
    pub(super) outbox: Outbox,
    pub(super) news: SyncSender<Input>,
    /// The grace period and the answers wanted of the release that comes next on trial.
    pub(super) health: (u64, u32),
    pub(super) release_seq: Option<u64>,
    pub(super) clock: Monotonic,
}

fn refused(reason: Reason, detail: impl Into<String>) -> MetaError {
    MetaError::Refused(Refusal { reason, detail: detail.into() })
}

fn tuf(error: &TufError) -> MetaError {
    match error {
        TufError::Fetch { what, reason: FetchError::Failed(detail) } => MetaError::Unreachable(format!("{what}: {detail}")),
        error => refused(error.reason(), error.to_string()),
    }
}

impl DeviceHost {
    fn schemes(&self) -> Schemes {
        if self.config.p256 { Schemes::WITH_P256 } else { Schemes::ED25519 }
    }

    /// What the device knows about itself. The counter is the highest before the directive in question.
    fn facts(&self, memory: &Memory, counter: u64) -> DeviceFacts {
        let committed = memory.committed.as_ref();
        DeviceFacts {
            device: self.device,
            project: self.config.project,
            group: self.config.group,
            board: self.config.board.clone(),
            abi: self.abi.to_owned(),
            root_version: self.root_version(),
            counter,
            running_seq: committed.map_or(0, |committed| committed.release_seq),
            running_sha256: committed.map(|committed| committed.sha256.clone()).unwrap_or_default(),
            floor: memory.floor,
            free: free(&self.data),
            data_schema: committed.map_or(0, |committed| committed.data_schema),
            capabilities: self.config.capabilities.clone(),
            quarantined: memory.quarantined.clone(),
            clock_trusted: true,
        }
    }

    /// Version of the root that is trusted; 0 when it cannot be read.
    fn root_version(&self) -> u64 {
        let root = self.trust.clone().get("root").ok().flatten().unwrap_or_default();
        let root: serde_json::Value = serde_json::from_slice(&root).unwrap_or_default();
        root["signed"]["version"].as_u64().unwrap_or(0)
    }

    fn client(&self, memory: &Memory) -> Result<(Client<Repository, TrustFolder>, Instant), MetaError> {
        let system = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        // A clock that was set back does not bring expired metadata back to life.
        let now = Instant::from_unix(system.max(memory.clock_floor));
        let client = Client::open(self.repository.clone(), self.trust.clone(), now, self.schemes());
        let mut client = client.map_err(|e| tuf(&e))?;
        client.refresh().map_err(|e| tuf(&e))?;
        Ok((client, now))
    }

    /// Verifies a directive and decides whether it is for this device, now; none when it was followed before.
    pub(super) fn admit(&self, document: &[u8], memory: &Memory) -> Result<Option<Directive>, MetaError> {
        let (client, now) = self.client(memory)?;
        let directive = Directive::verify(document, client.trusted().root(), self.schemes())
            .map_err(|e| refused(e.reason(), e.to_string()))?;
        if directive.counter <= memory.counter {
            return Ok(None);
        }
        admit_directive(&directive, &self.facts(memory, memory.counter), now).map_err(MetaError::Refused)?;
        Ok(Some(directive))
    }

    fn plan(&self, offer: &Offer, memory: &Memory) -> Result<Planned, MetaError> {
        let (mut client, now) = self.client(memory)?;
        let directive = Directive::verify(offer.document.as_bytes(), client.trusted().root(), self.schemes())
            .map_err(|e| refused(e.reason(), e.to_string()))?;
        // Its own counter was taken note of when it was accepted.
        let facts = self.facts(memory, offer.counter.saturating_sub(1));
        admit_directive(&directive, &facts, now).map_err(MetaError::Refused)?;
        let located = client.find(&directive.target).map_err(|e| tuf(&e))?;
        let release = Release::from_target(&located.path, &located.file).map_err(|e| refused(Reason::Incompatible, e))?;
        admit_release(&directive, &release, &facts).map_err(MetaError::Refused)?;
        let consistent = client.trusted().root().consistent_snapshot == Some(true);
        Ok(Planned::new(&release, located.served_path(consistent)))
    }

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
        let news = self.news.clone();
        // A full channel holds news already; the trial's end asks no more than that.
        let tell = move |what: News| drop(news.try_send(Input::News(what)));
        Watch { every: every.clamp(HEALTH_EVERY.0, HEALTH_EVERY.1), tell: Arc::new(tell) }
    }

    fn say(&self, class: StreamClass, record: Vec<u8>) {
        if let Err(error) = self.outbox.offer(class, record) {
            static NOT_TAKEN: LogLimit = LogLimit::new();
            if let Some(more) = NOT_TAKEN.pass() {
                tracing::warn!(device.id = %self.device, %error, more, "a report was not taken by the queue; leaving it out");
            }
        }
    }

    /// Tells the cloud that a directive is not taken.
    pub(super) fn refuse(&self, document: &[u8], why: &Refusal) {
        let report = messages::refused(document, why, self.outbox.now_ms());
        self.say(StreamClass::History, messages::entry(&report, None));
        self.say(StreamClass::Control, Record::Report(Report::Update(report)).encode());
    }

    /// Tells the cloud what it needs to know who would take a release.
    pub(super) fn tell_facts(&self, memory: &Memory) {
        let facts = Box::new(self.facts(memory, memory.counter));
        self.say(StreamClass::Control, Record::Report(Report::Facts(facts)).encode());
    }
}

fn free(path: &std::path::Path) -> u64 {
    rustix::fs::statvfs(path).map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

impl Host for DeviceHost {
    fn now(&mut self) -> Now {
        let unix = unix_ms() / 1000;
        Now { unix, clock_trusted: unix >= FIRST_DATE, mono_ms: self.clock.now_ms() }
    }

    fn verify_meta(&mut self, offer: &Offer, memory: &Memory) -> Result<Planned, MetaError> {
        let planned = self.plan(offer, memory)?;
        self.release_seq = Some(planned.release_seq);
        Ok(planned)
    }

    fn chunk_list(&mut self, release: &Planned) -> Result<Vec<u8>, String> {
        let parts = release.size.div_ceil(release.chunk_size.max(1));
        self.repository.range(&format!("chunks/{}", release.chunk_root), 0, parts * 32)
    }

    fn part(&mut self, release: &Planned, from: u64, len: u64) -> Result<Vec<u8>, String> {
        self.repository.range(&release.path, from, len)
    }

    fn check_image(&mut self, file: &str, release: &Planned) -> Result<(), Refusal> {
        self.health = (release.health.grace_ms, release.health.min_ok);
        let invalid = |detail: String| Refusal { reason: Reason::Invalid, detail };
        let wasm = std::fs::read(self.data.join(file)).map_err(|e| invalid(e.to_string()))?;
        let firmware = self.cache.load(&self.runtime, &wasm).map_err(|e| invalid(e.to_string()))?;
        if firmware.digest() != release.sha256 {
            return Err(Refusal { reason: Reason::DigestMismatch, detail: "the compiled file is another one".to_owned() });
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
        tracing::info!(device.id = %self.device, ?progress, "update");
        let report = messages::progress(&progress, self.outbox.now_ms());
        // How it ended is for people to find in the history; the steps are for who watches.
        if report.state.is_ending() {
            self.say(StreamClass::History, messages::entry(&report, self.release_seq));
        }
        self.say(StreamClass::Control, Record::Report(Report::Update(report)).encode());
    }
}
