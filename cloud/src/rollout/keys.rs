//! Keys of a project's releases: their history, which devices trust the newest root, changes of keys, and the announcement of
//! a new root to devices.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use iottly_protocol::tuf::{Instant as Date, Root};
use iottly_protocol::{DeviceId, Down, NewestRoot, ProjectId};
use serde::Deserialize;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::Rollouts;
use crate::clock;
use crate::releases::{Lifetimes, PublishedRoot, ROLES, ReleaseError, ReleaseRepositories, RoleKey, role_of};
use iottly_core::model::{Change, NewRoot, Principal, RecordedRoot, RootAct, RootTrust, Scope, UnixMs};
use iottly_store::StoreError;

/// Role of the keys that sign releases.
const RELEASES: &str = "targets";
/// Role of the keys that sign directives.
const DIRECTIVES: &str = "directive";
/// Maximum number of connected devices that are notified of a new root in a second: they fetch it from this cloud.
pub const ROOTS_PER_SECOND: usize = 500;
/// Pause before the next devices are notified.
const PAUSE: Duration = Duration::from_secs(1);
/// Maximum number of roots that are published in a project in a day: every device reads each of them once.
const ROOTS_PER_DAY: usize = 50;
const DAY_MS: UnixMs = 86_400_000;
/// Time for which the version of a project's newest root is remembered.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Number of remembered projects from which old ones are forgotten.
const PROJECTS: usize = 1024;

/// Reason for which the keys of a project were not read or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Rollouts that devices could not follow any more are under way.
    #[error(
        "rollouts are under way whose directives the present key has signed: let them end, or cancel them"
    )]
    Underway,
    /// The project has published too many roots lately.
    #[error(
        "{ROOTS_PER_DAY} roots were published within a day, and every device reads each of them: try again later"
    )]
    TooMany,
    /// The keys cannot be read, or the change is refused.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A key that signs for a project, or did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyStanding {
    /// Id of the key, in hex.
    pub key: String,
    /// Signature scheme.
    pub scheme: String,
    /// Roles that the key signs for, or signed for last.
    pub roles: Vec<String>,
    /// First root that names the key.
    pub since: RootPoint,
    /// First root that does not name the key any more; none while it is trusted.
    pub until: Option<RootPoint>,
    /// Number of releases that the key has signed at their publication; none for keys that sign no releases.
    pub releases: Option<usize>,
}

/// Publication of a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootPoint {
    /// Version of the root.
    pub version: u64,
    /// Time of the publication. Of a root that was not published through the API, the time that follows from its expiry.
    pub at: UnixMs,
    /// Name of the person or token that published it; none for the cloud itself, and for roots that were not published through
    /// the API.
    pub author: Option<String>,
}

/// Keys of a project, and the devices that trust them.
#[derive(Debug, Clone)]
pub struct KeyRing {
    /// Newest root.
    pub root: Root,
    /// Present and former keys: the newest of each role first, by role.
    pub keys: Vec<KeyStanding>,
    /// True if this cloud has the keys of root, so that it can sign the next one.
    pub signs_roots: bool,
    /// Numbers of devices by the version of the root that they trust.
    pub trust: Vec<RootTrust>,
}

impl KeyRing {
    /// Returns the number of devices that do not trust the newest root yet, those that have not reported any included.
    #[must_use]
    pub fn behind(&self) -> usize {
        let newest = self.root.header.version;
        let behind = |trust: &&RootTrust| trust.version.is_none_or(|version| version < newest);
        self.trust.iter().filter(behind).map(|trust| trust.devices).sum()
    }
}

/// Versions of the newest roots of projects, remembered for a minute.
#[derive(Debug, Default)]
pub(super) struct NewestRoots(Mutex<HashMap<ProjectId, (u64, Instant)>>);

impl NewestRoots {
    fn get(&self, project: ProjectId) -> Option<u64> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (version, at) = *known.get(&project)?;
        (at.elapsed() < REMEMBERED).then_some(version)
    }

    fn set(&self, project: ProjectId, version: u64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= PROJECTS {
            known.retain(|_, (_, at)| at.elapsed() < REMEMBERED);
        }
        known.insert(project, (version, Instant::now()));
    }
}

/// Document of a root, whose signatures are not looked at.
#[derive(Deserialize)]
struct Signed {
    signed: Root,
}

impl Rollouts {
    /// Returns the keys of a project and the devices that trust them.
    ///
    /// # Errors
    /// If a file cannot be read or written, or the store fails.
    pub async fn key_ring(&self, project: ProjectId) -> Result<KeyRing, KeyError> {
        let (mut roots, signs_roots) = self
            .with_repositories(move |repositories, now| repositories.roots(project, now))
            .await?;
        let recorded = self.store.release_roots(project).await?;
        let mut keys = history(&roots, &recorded);
        for key in keys
            .iter_mut()
            .filter(|key| key.roles.iter().any(|role| role == RELEASES))
        {
            let until = key.until.as_ref().map_or(UnixMs::MAX, |until| until.at);
            // The first root is signed when the project needs it first; nothing was released before.
            let since = if key.since.version == 1 { 0 } else { key.since.at };
            key.releases = Some(self.store.releases_between(project, since, until).await?);
        }
        let trust = self.store.root_trust(project).await?;
        let missing = || ReleaseError::Input("the project has no root".to_owned());
        Ok(KeyRing {
            root: roots.pop().ok_or_else(missing)?,
            keys,
            signs_roots,
            trust,
        })
    }

    /// Replaces the keys of a role by new ones, in a new root.
    ///
    /// # Errors
    /// [`KeyError::Underway`], the reason of a refusal, or the failure of a file or of the store.
    pub async fn rotate_role(
        self: &Arc<Self>,
        by: &Principal,
        role: String,
    ) -> Result<PublishedRoot, KeyError> {
        if role == DIRECTIVES {
            self.nothing_under_way(by.project).await?;
        }
        let project = by.project;
        self.publish(by, RootAct::Rotate, move |repositories, now| {
            repositories.rotate_role(project, &role, now)
        })
        .await
    }

    /// Removes a key from all roles, in a new root.
    ///
    /// # Errors
    /// As [`rotate_role`](Self::rotate_role).
    pub async fn revoke_key(
        self: &Arc<Self>,
        by: &Principal,
        key: String,
    ) -> Result<PublishedRoot, KeyError> {
        let project = by.project;
        let root = self.current_root(project).await?;
        let directive = role_of(&root, DIRECTIVES);
        if directive.is_some_and(|role| role.keyids.contains(&key)) {
            self.nothing_under_way(project).await?;
        }
        self.publish(by, RootAct::Revoke, move |repositories, now| {
            repositories.revoke_key(project, &key, now)
        })
        .await
    }

    /// Returns the next root without signatures, in which a new key takes over a role.
    ///
    /// # Errors
    /// The reason of a refusal, or the failure of a file.
    pub async fn propose_root(&self, project: ProjectId, role: String) -> Result<Vec<u8>, KeyError> {
        let proposed =
            self.with_repositories(move |repositories, now| repositories.propose(project, &role, now));
        Ok(proposed.await?)
    }

    /// Publishes a root that was signed elsewhere.
    ///
    /// # Errors
    /// As [`rotate_role`](Self::rotate_role).
    pub async fn publish_root(
        self: &Arc<Self>,
        by: &Principal,
        document: Vec<u8>,
    ) -> Result<PublishedRoot, KeyError> {
        let project = by.project;
        let root = self.current_root(project).await?;
        let next = serde_json::from_slice::<Signed>(&document).ok();
        let keys = |root: &Root| role_of(root, DIRECTIVES).map(|role| role.keyids);
        // A document that cannot be read is refused when it is verified.
        if next.is_some_and(|next| keys(&next.signed) != keys(&root)) {
            self.nothing_under_way(project).await?;
        }
        self.publish(by, RootAct::Publish, move |repositories, now| {
            repositories.publish_root(project, &document, now)
        })
        .await
    }

    async fn nothing_under_way(&self, project: ProjectId) -> Result<(), KeyError> {
        let active = self.store.active_rollouts().await?;
        if active.iter().any(|(of, _)| *of == project) {
            return Err(KeyError::Underway);
        }
        Ok(())
    }

    /// Publishes a root, records it, and notifies the connected devices.
    async fn publish(
        self: &Arc<Self>,
        by: &Principal,
        act: RootAct,
        work: impl FnOnce(&ReleaseRepositories, Date) -> Result<PublishedRoot, ReleaseError> + Send + 'static,
    ) -> Result<PublishedRoot, KeyError> {
        let project = by.project;
        let day = clock::now().saturating_sub(DAY_MS);
        let recorded = self.store.release_roots(project).await?;
        if recorded.iter().filter(|root| root.published > day).count() >= ROOTS_PER_DAY {
            return Err(KeyError::TooMany);
        }
        let (this, by) = (Arc::clone(self), by.clone());
        // Continues if the client disconnects: a root that devices take must not stay without its record.
        let publishing = async move { this.publish_and_record(&by, act, work).await };
        let work = tokio::spawn(publishing.in_current_span());
        work.await.unwrap_or_else(|error| {
            Err(ReleaseError::Input(format!("the publication of a root failed: {error}")).into())
        })
    }

    async fn publish_and_record(
        self: &Arc<Self>,
        by: &Principal,
        act: RootAct,
        work: impl FnOnce(&ReleaseRepositories, Date) -> Result<PublishedRoot, ReleaseError> + Send + 'static,
    ) -> Result<PublishedRoot, KeyError> {
        let project = by.project;
        let published = self.with_repositories(work).await?;
        self.newest_roots.set(project, published.version);
        let record = NewRoot {
            version: published.version,
            act,
            detail: described(&published),
        };
        // Devices take the root whether it is recorded or not.
        let rollouts = Arc::clone(self);
        let version = published.version;
        tokio::spawn(async move {
            if let Err(error) = rollouts.announce(project, version).await {
                tracing::error!(project.id = %project, %error, "failed to announce a new root of releases; devices are notified when they connect");
            }
        });
        self.store
            .change(project, by, Change::PublishRoot(record), clock::now())
            .await?;
        Ok(published)
    }

    /// Announces a root to the connected devices of a project that trust an older one, some at a time.
    async fn announce(&self, project: ProjectId, version: u64) -> Result<(), StoreError> {
        let mut after: Option<DeviceId> = None;
        loop {
            let devices = self
                .store
                .connected_below_root(project, version, after, ROOTS_PER_SECOND)
                .await?;
            for device in &devices {
                self.tell(*device, version).await;
            }
            if devices.len() < ROOTS_PER_SECOND
                || self
                    .newest_roots
                    .get(project)
                    .is_some_and(|newest| newest > version)
            {
                return Ok(());
            }
            after = devices.last().copied();
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn tell(&self, device: DeviceId, version: u64) {
        let down = Down::Root(NewestRoot { version });
        if let Err(error) = self.broker.publish(device, down.encode().into()).await {
            tracing::debug!(device.id = %device, %error, "failed to announce a root; the device is notified when it connects again");
        }
    }

    /// Announces the newest root to a device that has connected, if it trusts an older one.
    pub(super) async fn announce_to(&self, scope: Scope) -> Result<(), StoreError> {
        let Some(newest) = self.newest_root(scope.project).await else {
            return Ok(());
        };
        // The first root is what every device is set up with.
        if newest > 1 && self.store.root_version(scope).await?.unwrap_or(0) < newest {
            self.tell(scope.device, newest).await;
        }
        Ok(())
    }

    async fn newest_root(&self, project: ProjectId) -> Option<u64> {
        if let Some(version) = self.newest_roots.get(project) {
            return Some(version);
        }
        let read = self
            .with_repositories(move |repositories, _| Ok(repositories.newest_root(project)))
            .await;
        let version = read.ok()?;
        self.newest_roots.set(project, version);
        Some(version)
    }
}

fn described(published: &PublishedRoot) -> String {
    let list = |keys: &[RoleKey]| {
        let one = |key: &RoleKey| format!("{} {}", key.role, key.key.get(..12).unwrap_or(&key.key));
        keys.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    match (published.added.is_empty(), published.removed.is_empty()) {
        (true, true) => "the same keys".to_owned(),
        (false, true) => format!("added {}", list(&published.added)),
        (true, false) => format!("removed {}", list(&published.removed)),
        (false, false) => format!(
            "removed {}; added {}",
            list(&published.removed),
            list(&published.added)
        ),
    }
}

/// Returns the keys that the roots name, and those that they named, with the roots that brought and ended them.
fn history(roots: &[Root], recorded: &[RecordedRoot]) -> Vec<KeyStanding> {
    let mut keys: BTreeMap<&str, KeyStanding> = BTreeMap::new();
    for root in roots {
        let point = point(root, recorded);
        for (id, key) in &root.keys {
            let roles: Vec<String> = ROLES
                .iter()
                .filter(|role| role_of(root, role).is_some_and(|named| named.keyids.contains(id)))
                .map(|role| (*role).to_owned())
                .collect();
            let known = keys.entry(id).or_insert_with(|| KeyStanding {
                key: id.clone(),
                scheme: key.scheme.clone(),
                roles: Vec::new(),
                since: point.clone(),
                until: None,
                releases: None,
            });
            (known.roles, known.until) = (roles, None);
        }
        for (id, key) in &mut keys {
            if key.until.is_none() && !root.keys.contains_key(*id) {
                key.until = Some(point.clone());
            }
        }
    }
    let place = |key: &KeyStanding| {
        let role = key.roles.first().map(String::as_str);
        ROLES.iter().position(|known| Some(*known) == role)
    };
    let mut keys: Vec<KeyStanding> = keys.into_values().collect();
    keys.sort_by_key(|key| {
        (
            key.until.is_some(),
            place(key),
            std::cmp::Reverse(key.since.version),
            key.key.clone(),
        )
    });
    keys
}

fn point(root: &Root, recorded: &[RecordedRoot]) -> RootPoint {
    let version = root.header.version;
    let record = recorded.iter().find(|record| record.version == version);
    let signed_s = root
        .header
        .expires
        .unix()
        .saturating_sub(Lifetimes::default().root * 86_400);
    let derived = UnixMs::try_from(signed_s.saturating_mul(1000)).unwrap_or(UnixMs::MAX);
    RootPoint {
        version,
        at: record.map_or(derived, |record| record.published),
        author: record.map(|record| record.author.clone()),
    }
}
