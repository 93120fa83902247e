//! The release repositories of all projects, with their keys, in the cloud's data folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use iottly_protocol::ProjectId;
use iottly_protocol::release::{Directive, Release};
use iottly_protocol::tuf::{Instant, Root};

use crate::key_places::KeyPlaces;

use super::draft::Draft;
use super::locks::{self, Locks};
use super::prune::KEPT_RELEASES;
use super::room;
use super::{
    Added, KeyFolder, Lifetimes, NewDirective, NewRelease, ReleaseError, ReleaseRepository, directives,
    files, prune,
};

/// Number of components built from code that are stored per project, so that the same code is not built
/// again; the oldest are deleted.
const KEPT_BUILDS: usize = 8;
/// Prefix of the names of components that were built from code.
pub const BUILT: &str = "code-";

/// Repositories of a cloud's projects, with keys that the cloud manages: sealed in its data folder.
///
/// Access to the data folder and to the seal's file allows signing for every project. Keys stored elsewhere
/// protect against that; these keys protect against everything between the cloud and the device. All calls
/// block.
#[derive(Debug, Clone)]
pub struct ReleaseRepositories {
    path: PathBuf,
    keys: KeyPlaces,
    pub(super) locks: Arc<Locks>,
    /// Configured free bytes of the disk below which nothing is accepted; none for the default.
    floor: Option<u64>,
}

impl ReleaseRepositories {
    /// Uses the folder `releases` in a cloud's data folder, and the file of the key that seals the others:
    /// `seal` if given, else `seal.key` in the data folder.
    #[must_use]
    pub fn new(data: &Path, seal: Option<PathBuf>) -> Self {
        Self::with_keys(data, KeyPlaces::new(data).with_seal(seal))
    }

    /// Uses the folder `releases` in a cloud's data folder, with keys in their places.
    #[must_use]
    pub fn with_keys(data: &Path, keys: KeyPlaces) -> Self {
        Self {
            path: data.to_owned(),
            keys,
            locks: Arc::default(),
            floor: None,
        }
    }

    /// Sets the free bytes of the disk below which nothing is accepted; none for
    /// [`FREE_FLOOR`](super::FREE_FLOOR).
    #[must_use]
    pub fn with_floor(self, floor: Option<u64>) -> Self {
        Self { floor, ..self }
    }

    /// Returns true if the disk has too little space left to accept anything.
    ///
    /// # Errors
    /// If the operating system does not report it.
    pub fn is_short(&self) -> Result<bool, ReleaseError> {
        room::is_short(&self.path, self.floor)
    }

    /// Returns the folder of a project's repository, which devices may read.
    #[must_use]
    pub fn folder(&self, project: ProjectId) -> PathBuf {
        self.project(project).join("repository")
    }

    /// Returns the path of the root metadata that devices of a project trust first.
    #[must_use]
    pub fn first_root(&self, project: ProjectId) -> PathBuf {
        self.folder(project).join("metadata/1.root.json")
    }

    fn project(&self, project: ProjectId) -> PathBuf {
        self.path.join("releases").join(project.to_string())
    }

    pub(super) fn keys(&self, project: ProjectId) -> Result<KeyFolder, ReleaseError> {
        let seal = self.keys.seal();
        let seal = seal.map_err(|e| ReleaseError::file(&self.keys.seal_file(), e))?;
        Ok(KeyFolder::new(&self.keys.signing(project), Some(seal)))
    }

    pub(super) fn repository(&self, project: ProjectId) -> ReleaseRepository {
        ReleaseRepository::new(&self.folder(project), Lifetimes::default())
    }

    /// Creates a project's keys and repository, unless they exist.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn ensure(&self, project: ProjectId, now: Instant) -> Result<(), ReleaseError> {
        let lock = self.locks.of(project);
        let _turn = locks::wait(&lock);
        self.prepare(project, now)
    }

    pub(super) fn prepare(&self, project: ProjectId, now: Instant) -> Result<(), ReleaseError> {
        let repository = self.repository(project);
        let keys = self.keys(project)?;
        // The timestamp is written last when a repository is created.
        if !self.folder(project).join("metadata/timestamp.json").exists() {
            if self.first_root(project).exists() {
                return repository.finish(&keys, now);
            }
            return repository.init(&keys, 1, now).map(drop);
        }
        if repository.is_stale(now) {
            repository.renew(&keys, now)
        } else {
            Ok(())
        }
    }

    /// Re-signs the timestamps of which half the lifetime is over, so that devices know that no newer
    /// metadata is withheld from them. A repository that cannot be signed does not stop the others.
    ///
    /// # Errors
    /// If the folder cannot be read; or the first error of signing a repository.
    pub fn refresh(&self, now: Instant) -> Result<(), ReleaseError> {
        let failed = self
            .projects()?
            .into_iter()
            .filter_map(|project| self.ensure(project, now).err());
        failed.reduce(|first, _| first).map_or(Ok(()), Err)
    }

    /// Returns the projects that have a folder, in the order of their ids.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn projects(&self) -> Result<BTreeSet<ProjectId>, ReleaseError> {
        let folder = self.path.join("releases");
        let entries = match std::fs::read_dir(&folder) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            other => other.map_err(|e| ReleaseError::file(&folder, e))?,
        };
        Ok(entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect())
    }

    /// Publishes a release with a number above `last`. The metadata names it, the releases before it up to a
    /// small number, and those whose numbers are `needed`.
    ///
    /// # Errors
    /// If the release is invalid, or a file cannot be read or written.
    pub fn add(
        &self,
        project: ProjectId,
        last: u64,
        needed: &BTreeSet<u64>,
        new: &NewRelease,
        now: Instant,
    ) -> Result<Added, ReleaseError> {
        let lock = self.locks.of(project);
        let _turn = locks::wait(&lock);
        self.prepare(project, now)?;
        self.repository(project)
            .add_above(last, Some(needed), new, &self.keys(project)?, now)
    }

    /// Deletes releases that are neither `needed` nor, unless `hard`, among the newest, and files that
    /// nothing names any more. A bounded step; returns the number of deleted files.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn prune(
        &self,
        project: ProjectId,
        needed: &BTreeSet<u64>,
        hard: bool,
        now: Instant,
    ) -> Result<usize, ReleaseError> {
        let lock = self.locks.of(project);
        let _turn = locks::wait(&lock);
        if !self.folder(project).join("metadata/timestamp.json").exists() {
            return Ok(0);
        }
        let repository = self.repository(project);
        repository.forget(
            if hard { 1 } else { KEPT_RELEASES },
            needed,
            &self.keys(project)?,
            now,
        )?;
        repository.sweep()
    }

    /// Returns the bytes of a project's releases, metadata and uploaded components. Components built from
    /// code can be built again; they are bounded by their number and not counted.
    ///
    /// # Errors
    /// If a folder cannot be read.
    pub fn measure(&self, project: ProjectId) -> Result<u64, ReleaseError> {
        room::measure(&self.project(project), |path| !is_built(path))
    }

    /// Returns the sha256 of the stored uploaded components.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn uploaded(&self, project: ProjectId) -> Result<Vec<String>, ReleaseError> {
        let mut names = Vec::new();
        prune::files_below(&self.project(project).join("components"), &mut |path| {
            if !is_built(&path) {
                names.extend(path.file_stem().and_then(|name| name.to_str()).map(str::to_owned));
            }
        })?;
        Ok(names)
    }

    /// Returns the newest root of a project. Creates the project's keys and repository, unless they exist.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn current_root(&self, project: ProjectId, now: Instant) -> Result<Root, ReleaseError> {
        self.ensure(project, now)?;
        self.repository(project).root()
    }

    /// Returns all roots of a project, by version, and true if this cloud has the keys that sign the next one. Creates the
    /// project's keys and repository, unless they exist.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn roots(&self, project: ProjectId, now: Instant) -> Result<(Vec<Root>, bool), ReleaseError> {
        self.ensure(project, now)?;
        let repository = self.repository(project);
        let signs = match repository.signers("root", &self.keys(project)?) {
            Ok(_) => true,
            Err(ReleaseError::NoKey { .. } | ReleaseError::Untrusted { .. }) => false,
            Err(error) => return Err(error),
        };
        Ok((repository.roots()?, signs))
    }

    /// Returns the version of the newest root of a project; 1 for a project without a repository.
    #[must_use]
    pub fn newest_root(&self, project: ProjectId) -> u64 {
        self.repository(project).newest_root()
    }

    /// Returns the release that would be published, without publishing it.
    ///
    /// # Errors
    /// If the release is invalid.
    pub fn draft(&self, last: u64, new: &NewRelease, now: Instant) -> Result<Release, ReleaseError> {
        Draft::new(new, last + 1, now).map(|draft| draft.release)
    }

    /// Signs directives for one release, each with its counter.
    ///
    /// # Errors
    /// If the release is not in the project's repository, or a key cannot be read.
    pub fn sign_directives(
        &self,
        project: ProjectId,
        target: &str,
        new: Vec<(NewDirective, u64)>,
        now: Instant,
    ) -> Result<Vec<(Directive, Vec<u8>)>, ReleaseError> {
        // Do not create a new repository for a project that was just deleted.
        if self.folder(project).join("metadata/timestamp.json").exists() {
            self.ensure(project, now)?;
        }
        let release = self.repository(project).release(target)?;
        let keys = self
            .repository(project)
            .signers("directive", &self.keys(project)?)?;
        let signed = new.into_iter().map(|(new, counter)| {
            let directive = new.complete(&release, counter, now);
            let document = directives::sign(&directive, &keys)?;
            Ok((directive, document))
        });
        signed.collect()
    }

    /// Returns the bytes of a published release.
    ///
    /// # Errors
    /// If the repository does not contain it, or its file cannot be read.
    pub fn published(&self, project: ProjectId, target: &str) -> Result<Vec<u8>, ReleaseError> {
        self.repository(project).content(target)
    }

    /// Stores a component under its sha256, hex. Returns false if it was stored already.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn keep(&self, project: ProjectId, sha256: &str, component: &[u8]) -> Result<bool, ReleaseError> {
        let path = self.component(project, sha256);
        if path.exists() {
            return Ok(false);
        }
        files::replace(&path, component, 0o600)?;
        Ok(true)
    }

    /// Stores a component that was built from code and deletes the oldest of these.
    ///
    /// # Errors
    /// If a file cannot be written or the folder cannot be read.
    pub fn keep_built(&self, project: ProjectId, name: &str, component: &[u8]) -> Result<(), ReleaseError> {
        self.keep(project, name, component)?;
        let mut built: Vec<(SystemTime, PathBuf)> = Vec::new();
        prune::files_below(&self.project(project).join("components"), &mut |path| {
            if is_built(&path) && path != self.component(project, name) {
                let written = std::fs::metadata(&path).and_then(|meta| meta.modified());
                built.push((written.unwrap_or(SystemTime::UNIX_EPOCH), path));
            }
        })?;
        built.sort_unstable();
        let excess = (built.len() + 1).saturating_sub(KEPT_BUILDS);
        // A file that cannot be deleted is found again by the next build.
        built
            .iter()
            .take(excess)
            .for_each(|(_, path)| drop(std::fs::remove_file(path)));
        Ok(())
    }

    /// Deletes a component; a missing one counts as deleted.
    ///
    /// # Errors
    /// If the file cannot be deleted.
    pub fn discard(&self, project: ProjectId, sha256: &str) -> Result<(), ReleaseError> {
        let path = self.component(project, sha256);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(ReleaseError::file(&path, e)),
            _ => Ok(()),
        }
    }

    /// Returns the bytes of a stored component; none if it does not exist.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn kept(&self, project: ProjectId, sha256: &str) -> Result<Option<Vec<u8>>, ReleaseError> {
        files::read(&self.component(project, sha256))
    }

    fn component(&self, project: ProjectId, sha256: &str) -> PathBuf {
        self.project(project)
            .join("components")
            .join(format!("{sha256}.wasm"))
    }

    /// Deletes all files of a deleted project.
    ///
    /// # Errors
    /// If a file cannot be deleted.
    pub fn forget(&self, project: ProjectId) -> Result<(), ReleaseError> {
        let lock = self.locks.of(project);
        let _turn = locks::wait(&lock);
        let path = self.project(project);
        match std::fs::remove_dir_all(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(ReleaseError::file(&path, e)),
            _ => Ok(()),
        }
    }
}

fn is_built(path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.starts_with(BUILT))
}

#[cfg(test)]
mod tests {
    use iottly_protocol::release::HealthRules;

    use super::*;

    fn release(content: &[u8]) -> NewRelease {
        NewRelease {
            branch: "main".into(),
            content: content.to_vec(),
            version: String::new(),
            boards: Vec::new(),
            security_floor: 0,
            capabilities: Vec::new(),
            health: HealthRules::default(),
            engine: None,
        }
    }

    #[test]
    fn projects_have_numbers_of_their_own_and_a_start_that_was_cut_is_finished() {
        let dir = tempfile::tempdir().expect("dir");
        let repositories = ReleaseRepositories::new(dir.path(), None);
        let now = Instant::from_unix(1_800_000_000);
        let (one, two) = (ProjectId::from_bytes([1; 12]), ProjectId::from_bytes([2; 12]));
        assert_eq!(
            repositories
                .add(one, 0, &BTreeSet::new(), &release(b"a"), now)
                .expect("added")
                .release_seq,
            1
        );
        assert_eq!(
            repositories
                .add(one, 7, &BTreeSet::new(), &release(b"b"), now)
                .expect("added")
                .release_seq,
            8,
            "above what the database knows"
        );
        assert_eq!(
            repositories
                .add(two, 0, &BTreeSet::new(), &release(b"a"), now)
                .expect("added")
                .release_seq,
            1
        );
        // A power failure before the first timestamp was written.
        std::fs::remove_file(repositories.folder(two).join("metadata/timestamp.json")).expect("removed");
        repositories.ensure(two, now).expect("finished");
        repositories.refresh(now.plus(86_400)).expect("refreshed");
        assert!(!repositories.repository(one).is_stale(now.plus(86_400)));
        repositories.forget(one).expect("forgotten");
        assert!(!repositories.folder(one).exists() && repositories.folder(two).exists());
    }

    #[test]
    fn components_are_kept_by_project() {
        let dir = tempfile::tempdir().expect("dir");
        let repositories = ReleaseRepositories::new(dir.path(), None);
        let (one, two) = (ProjectId::from_bytes([1; 12]), ProjectId::from_bytes([2; 12]));
        repositories.keep(one, "ab", b"wasm").expect("kept");
        assert_eq!(
            repositories.kept(one, "ab").expect("read").as_deref(),
            Some(&b"wasm"[..])
        );
        assert_eq!(repositories.kept(two, "ab").expect("read"), None);
    }
}
