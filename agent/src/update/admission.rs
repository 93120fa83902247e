//! Decides on directives and releases by signed metadata and the device's facts. Refreshes the trusted
//! metadata; never changes the firmware.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use iottly_protocol::DeviceId;
use iottly_protocol::limits::MAX_ENGINES;
use iottly_protocol::release::{
    DeveloperOrder, DeviceFacts, Directive, EngineFact, EngineManifest, Reason, Refusal, Release,
    admit_directive, admit_release,
};
use iottly_protocol::tuf::{
    FetchError, Instant, Refreshed, Schemes, Start, Store as _, TargetFile, Targets, Trusted, TufError,
    Vouched, refresh,
};
use iottly_sandbox::Cache;
use iottly_update::{
    Known, Memory, MetaError, Offer, Planned, PlannedEngine, Repository, TrustFolder, read_file,
};
use serde::Deserialize as _;

use super::reporter::Reporter;
use crate::config::UpdateConfig;
use crate::time::{BoardClock, Reading};

/// Maximum size of root metadata that is read, in bytes.
const MAX_ROOT_BYTES: u64 = iottly_protocol::tuf::limits::ROOT_BYTES;

/// Configuration and facts by which this device decides on directives and releases; cheap to clone.
#[derive(Clone)]
pub(super) struct Admission {
    pub(super) device: DeviceId,
    pub(super) config: UpdateConfig,
    pub(super) trust: TrustFolder,
    pub(super) data: PathBuf,
    pub(super) abi: &'static str,
    /// Cache whose engines run scripts.
    pub(super) cache: Arc<Cache>,
    pub(super) clock: BoardClock,
    pub(super) reporter: Reporter,
}

/// Decision on signed documents.
#[derive(Debug)]
pub(super) struct Verdict<T> {
    pub(super) result: Result<T, MetaError>,
    /// Versions and date that the metadata vouches for, if it was accepted.
    pub(super) vouched: Option<Vouched>,
}

/// Metadata as of one refresh.
pub(super) type Fresh = Refreshed<Repository, TrustFolder>;

fn refused(reason: Reason, detail: impl Into<String>) -> MetaError {
    MetaError::Refused(Refusal {
        reason,
        detail: detail.into(),
    })
}

fn tuf(error: &TufError) -> MetaError {
    match error {
        TufError::Fetch {
            what,
            reason: FetchError::Failed(detail),
        } => MetaError::Unreachable(format!("{what}: {detail}")),
        error => refused(error.reason(), error.to_string()),
    }
}

/// Turns an expiry into a wait for the clock while the cloud has not sent the time.
fn waits(error: MetaError, reading: Reading) -> MetaError {
    match error {
        MetaError::Refused(why) if why.reason == Reason::Expired && !reading.trusted => refused(
            Reason::Clock,
            format!(
                "the cloud has not sent the time yet; by the board's own clock: {}",
                why.detail
            ),
        ),
        error => error,
    }
}

impl Admission {
    fn schemes(&self) -> Schemes {
        if self.config.p256 {
            Schemes::WITH_P256
        } else {
            Schemes::ED25519
        }
    }

    /// Returns the facts of this device. `counter` is the highest one before the directive in question.
    pub(super) fn facts(&self, memory: &Memory, counter: u64) -> DeviceFacts {
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
            running_sha256: committed
                .map(|committed| committed.sha256.clone())
                .unwrap_or_default(),
            floor: memory.floor,
            free: free(&self.data),
            data_schema: committed.map_or(0, |committed| committed.data_schema),
            capabilities: self.config.capabilities.clone(),
            quarantined: memory.quarantined.clone(),
            clock_trusted: self.clock.reading().trusted,
            engines: self.engines(),
        }
    }

    fn engines(&self) -> Vec<EngineFact> {
        let engines = self.cache.engines();
        let engines = engines.iter().map(|engine| EngineFact {
            abi: engine.abi().to_owned(),
            sha256: engine.digest().to_owned(),
        });
        engines.take(MAX_ENGINES).collect()
    }

    /// Returns a role's metadata from the trust folder, unverified: not for decisions.
    fn kept(&self, role: &str) -> serde_json::Value {
        let bytes = self.trust.clone().get(role).ok().flatten().unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Returns the version of the trusted root: before the first refresh, of the one that the device was set up with; 0 if
    /// it cannot be read.
    pub(super) fn root_version(&self) -> u64 {
        let version = |root: &serde_json::Value| root["signed"]["version"].as_u64();
        let first = || {
            let bytes = read_file(&self.config.root, MAX_ROOT_BYTES).ok()?;
            version(&serde_json::from_slice(&bytes).ok()?)
        };
        version(&self.kept("root")).or_else(first).unwrap_or(0)
    }

    /// Returns the stored targets metadata of the release with this digest.
    pub(super) fn identify(&self, sha256: &str) -> Option<Known> {
        let mut kept = self.kept("targets");
        let targets = Targets::deserialize(kept.get_mut("signed")?.take()).ok()?;
        let mut releases = targets
            .targets
            .iter()
            .filter_map(|(path, file)| Release::from_target(path, file).ok());
        let release = releases.find(|release| release.sha256.eq_ignore_ascii_case(sha256))?;
        Some(Known {
            release_seq: release.manifest.release_seq,
            security_floor: release.manifest.security_floor,
            data_schema: release.manifest.data_schema.writes,
        })
    }

    fn refreshed(
        &self,
        repository: &Repository,
        memory: &Memory,
        reading: Reading,
    ) -> Result<Fresh, MetaError> {
        // Needed when the trusted root is damaged; the configured file may have been removed since.
        let first_root = read_file(&self.config.root, MAX_ROOT_BYTES).unwrap_or_default();
        let clock = Instant::from_unix(reading.unix);
        let start = Start {
            clock,
            vouched: memory.vouched,
            first_root: &first_root,
            schemes: self.schemes(),
        };
        let mended = |reason: String| {
            self.reporter.warn(&format!(
                "the trusted root was damaged ({reason}): following the chain again from the configured root"
            ));
        };
        refresh(repository, &self.trust, &start, mended).map_err(|error| tuf(&error))
    }

    fn verified(&self, document: &[u8], fresh: &Fresh) -> Result<Directive, MetaError> {
        let verified = Directive::verify(document, fresh.client.trusted().root(), self.schemes());
        verified.map_err(|e| refused(e.reason(), e.to_string()))
    }

    /// Decides by `kept`, or by metadata that is refreshed now. Returns that metadata with the decision.
    fn decide<T>(
        &self,
        repository: &Repository,
        memory: &Memory,
        kept: Option<Fresh>,
        decide: impl FnOnce(&mut Fresh) -> Result<T, MetaError>,
    ) -> (Verdict<T>, Option<Fresh>) {
        let reading = self.clock.reading();
        let fresh = match kept {
            Some(fresh) => Ok(fresh),
            None => self.refreshed(repository, memory, reading),
        };
        match fresh {
            Ok(mut fresh) => {
                let verdict = Verdict {
                    result: decide(&mut fresh).map_err(|error| waits(error, reading)),
                    vouched: Some(fresh.vouched),
                };
                (verdict, Some(fresh))
            }
            Err(error) => {
                let verdict = Verdict {
                    result: Err(waits(error, reading)),
                    vouched: None,
                };
                (verdict, None)
            }
        }
    }

    /// Verifies a directive and decides whether this device follows it now; `None` if it was followed before.
    /// Returns the refreshed metadata with the decision.
    pub(super) fn admit(
        &self,
        repository: &Repository,
        document: &[u8],
        memory: &Memory,
    ) -> (Verdict<Option<Directive>>, Option<Fresh>) {
        self.decide(repository, memory, None, |fresh| {
            let directive = self.verified(document, fresh)?;
            if directive.counter <= memory.counter {
                return Ok(None);
            }
            admit_directive(&directive, &self.facts(memory, memory.counter), fresh.now)
                .map_err(MetaError::Refused)?;
            fresh.accept(directive.not_before);
            Ok(Some(directive))
        })
    }

    /// Brings the trusted metadata up to date, the root with it.
    pub(super) fn refresh(&self, repository: &Repository, memory: &Memory) -> Verdict<()> {
        self.decide(repository, memory, None, |_| Ok(())).0
    }

    /// Verifies a developer order after a refresh of the metadata. Returns it with the date of its verification.
    pub(super) fn order(
        &self,
        repository: &Repository,
        document: &[u8],
        memory: &Memory,
    ) -> Verdict<(DeveloperOrder, Instant)> {
        let (verdict, _) = self.decide(repository, memory, None, |fresh| {
            let root = fresh.client.trusted().root();
            let order = DeveloperOrder::verify(document, root, self.schemes());
            let order = order.map_err(|error| refused(error.reason(), error.to_string()))?;
            Ok((order, fresh.now))
        });
        verdict
    }

    /// Verifies a developer order by the trusted root on this device alone.
    ///
    /// # Errors
    /// The root cannot be read, or its keys for developer orders have not signed the document.
    pub(super) fn order_here(&self, document: &[u8]) -> Result<DeveloperOrder, String> {
        let root = self
            .trust
            .clone()
            .get("root")
            .map_err(|error| error.to_string())?;
        let now = Instant::from_unix(self.clock.reading().unix);
        let trusted = Trusted::new(&root.unwrap_or_default(), now, self.schemes());
        let trusted = trusted.map_err(|error| error.to_string())?;
        DeveloperOrder::verify(document, trusted.root(), self.schemes()).map_err(|error| error.to_string())
    }

    /// Verifies an accepted directive again and decides on its release, by `kept` or by metadata that is
    /// refreshed now.
    pub(super) fn plan(
        &self,
        repository: &Repository,
        offer: &Offer,
        memory: &Memory,
        kept: Option<Fresh>,
    ) -> Verdict<Planned> {
        let (verdict, _) = self.decide(repository, memory, kept, |fresh| {
            let directive = self.verified(offer.document.as_bytes(), fresh)?;
            // The directive's own counter was stored when it was accepted.
            let facts = self.facts(memory, offer.counter.saturating_sub(1));
            admit_directive(&directive, &facts, fresh.now).map_err(MetaError::Refused)?;
            let located = fresh.client.find(&directive.target).map_err(|e| tuf(&e))?;
            let release = Release::from_target(&located.path, &located.file)
                .map_err(|e| refused(Reason::Incompatible, e))?;
            admit_release(&directive, &release, &facts).map_err(MetaError::Refused)?;
            let consistent = fresh.client.trusted().root().consistent_snapshot == Some(true);
            let engine = engine_to_take(&release, &facts, |path| {
                let located = fresh.client.find(path).map_err(|e| tuf(&e))?;
                let served = located.served_path(consistent);
                Ok((located.file, served))
            })?;
            Ok(Planned::new(&release, located.served_path(consistent), engine))
        });
        verdict
    }
}

/// Returns the engine that the device has to take with a release, as its own signed target describes it.
fn engine_to_take(
    release: &Release,
    facts: &DeviceFacts,
    find: impl FnOnce(&str) -> Result<(TargetFile, String), MetaError>,
) -> Result<Option<PlannedEngine>, MetaError> {
    let need = release.manifest.engine.as_ref();
    let Some((need, target)) = need.and_then(|need| Some((need, need.to_take(&facts.engines)?))) else {
        return Ok(None);
    };
    let (file, served_path) = find(&target.path)?;
    let manifest =
        EngineManifest::from_target(need, target, &file).map_err(|e| refused(Reason::Incompatible, e))?;
    Ok(Some(PlannedEngine::new(target, &manifest, served_path)))
}

fn free(path: &Path) -> u64 {
    rustix::fs::statvfs(path).map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}
