use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use iottly_protocol::ProjectId;
use iottly_protocol::release::{Directive, Release};
use iottly_protocol::tuf::Instant;

use super::locks::{self, Locks};
use super::prune::KEPT_RELEASES;
use super::repository::Draft;
use super::room;
use super::{
    Added, KeyFolder, Lifetimes, NewDirective, NewRelease, ReleaseError, ReleaseRepository, directives,
    files, prune,
};

/// Components built from code that are kept for each project, so that the same code is not built again; the
/// oldest go.
const KEPT_BUILDS: usize = 8;
/// Beginning of the names of components that were built from code.
pub const BUILT: &str = "code-";

/// The repositories of a cloud's projects, with keys that the cloud manages: sealed in its data folder.
///
/// Whoever has the data folder and the seal's file can sign for every project. Keys that lie elsewhere
/// protect against that; these protect against everyone between the cloud and the device. All calls block.
#[derive(Debug, Clone)]
pub struct Shelf {
    path: PathBuf,
    seal: PathBuf,
    locks: Arc<Locks>,
    /// Free bytes of the disk under which nothing more is taken, if they were set.
    floor: Option<u64>,
}

impl Shelf {
    /// Uses the folder `releases` in a cloud's data folder, and the file of the key that seals the others:
    /// `seal.key` there unless it is another one.
    #[must_use]
    pub fn new(data: &Path, seal: Option<PathBuf>) -> Self {
        let seal = seal.unwrap_or_else(|| data.join("seal.key"));
        Self {
            path: data.to_owned(),
            seal,
            locks: Arc::default(),
            floor: None,
        }
    }

    /// Takes nothing more when the disk has less than so many bytes left; none for
    /// [`FREE_FLOOR`](super::FREE_FLOOR).
    #[must_use]
    pub fn with_floor(self, floor: Option<u64>) -> Self {
        Self { floor, ..self }
    }

    /// Says whether the disk has so little left that nothing more is taken.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn is_short(&self) -> Result<bool, ReleaseError> {
        room::is_short(&self.path, self.floor)
    }

    /// The folder of a project's repository, which devices may read.
    #[must_use]
    pub fn folder(&self, project: ProjectId) -> PathBuf {
        self.project(project).join("repository")
    }

    /// The root metadata that devices of a project trust first.
    #[must_use]
    pub fn first_root(&self, project: ProjectId) -> PathBuf {
        self.folder(project).join("metadata/1.root.json")
    }

    fn project(&self, project: ProjectId) -> PathBuf {
        self.path.join("releases").join(project.to_string())
    }

    fn keys(&self, project: ProjectId) -> Result<KeyFolder, ReleaseError> {
        let seal = crate::seal_file::open(&self.seal).map_err(|e| ReleaseError::file(&self.seal, e))?;
        Ok(KeyFolder::new(&self.project(project).join("keys"), Some(seal)))
    }

    fn repository(&self, project: ProjectId) -> ReleaseRepository {
        ReleaseRepository::new(&self.folder(project), Lifetimes::default())
    }

    /// Makes a project's keys and repository, unless they are there.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn ensure(&self, project: ProjectId, now: Instant) -> Result<(), ReleaseError> {
        let lock = self.locks.of(project);
        let _turn = locks::wait(&lock);
        self.prepare(project, now)
    }

    fn prepare(&self, project: ProjectId, now: Instant) -> Result<(), ReleaseError> {
        let repository = self.repository(project);
        let keys = self.keys(project)?;
        // Written last when a repository is made.
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

    /// Signs the timestamps anew of which half the life is over, so that devices know that nothing is held
    /// back from them. A repository that cannot be signed keeps no other waiting.
    ///
    /// # Errors
    /// When the folder cannot be read, or with the first repository that could not be signed.
    pub fn refresh(&self, now: Instant) -> Result<(), ReleaseError> {
        let failed = self
            .projects()?
            .into_iter()
            .filter_map(|project| self.ensure(project, now).err());
        failed.reduce(|first, _| first).map_or(Ok(()), Err)
    }

    /// The projects that have a folder, in the order of their ids.
    ///
    /// # Errors
    /// When the folder cannot be read.
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

    /// Publishes a release with a number above `last`.
    ///
    /// # Errors
    /// When it makes no sense as a release, or a file cannot be read or written.
    pub fn add(
        &self,
        project: ProjectId,
        last: u64,
        new: &NewRelease,
        now: Instant,
    ) -> Result<Added, ReleaseError> {
        let lock = self.locks.of(project);
        let _turn = locks::wait(&lock);
        self.prepare(project, now)?;
        self.repository(project)
            .add_above(last, new, &self.keys(project)?, now)
    }

    /// Forgets releases that are neither `needed` nor, unless `hard`, among the newest, and files that
    /// nothing names any more. A bounded step; returns how many files were removed.
    ///
    /// # Errors
    /// When a file cannot be read or written.
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

    /// Bytes of a project's releases, metadata and uploaded components. What was built from code can be built
    /// again: it is bounded by its number and does not count.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn measure(&self, project: ProjectId) -> Result<u64, ReleaseError> {
        room::measure(&self.project(project), |path| !is_built(path))
    }

    /// The sha256 of the components that were uploaded and are kept.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn uploaded(&self, project: ProjectId) -> Result<Vec<String>, ReleaseError> {
        let mut names = Vec::new();
        prune::files_below(&self.project(project).join("components"), &mut |path| {
            if !is_built(&path) {
                names.extend(path.file_stem().and_then(|name| name.to_str()).map(str::to_owned));
            }
        })?;
        Ok(names)
    }

    /// The release as it would be published, without publishing it.
    ///
    /// # Errors
    /// When it makes no sense as a release.
    pub fn draft(&self, last: u64, new: &NewRelease, now: Instant) -> Result<Release, ReleaseError> {
        Draft::new(new, last + 1, now).map(|draft| draft.release)
    }

    /// Signs directives for one release, each with its counter.
    ///
    /// # Errors
    /// When the release is not in the project's repository, or a key cannot be read.
    pub fn direct(
        &self,
        project: ProjectId,
        target: &str,
        new: Vec<(NewDirective, u64)>,
        now: Instant,
    ) -> Result<Vec<(Directive, Vec<u8>)>, ReleaseError> {
        // A project that was deleted a moment ago gets no new repository by that.
        if self.folder(project).join("metadata/timestamp.json").exists() {
            self.ensure(project, now)?;
        }
        let release = self.repository(project).release(target)?;
        let keys = self.keys(project)?.of("directive")?;
        let signed = new.into_iter().map(|(new, counter)| {
            let directive = new.complete(&release, counter, now);
            let document = directives::sign(&directive, &keys)?;
            Ok((directive, document))
        });
        signed.collect()
    }

    /// The bytes of a release that was published.
    ///
    /// # Errors
    /// When the repository does not hold it, or its file cannot be read.
    pub fn published(&self, project: ProjectId, target: &str) -> Result<Vec<u8>, ReleaseError> {
        self.repository(project).content(target)
    }

    /// Keeps the bytes of a component under its sha256, hex; false when they were kept already.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep(&self, project: ProjectId, sha256: &str, component: &[u8]) -> Result<bool, ReleaseError> {
        let path = self.component(project, sha256);
        if path.exists() {
            return Ok(false);
        }
        files::replace(&path, component, 0o600)?;
        Ok(true)
    }

    /// Keeps a component that was built from code; the oldest of these go.
    ///
    /// # Errors
    /// When a file cannot be written or the folder cannot be read.
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
        // One that cannot be removed is found again by the next build.
        built
            .iter()
            .take(excess)
            .for_each(|(_, path)| drop(std::fs::remove_file(path)));
        Ok(())
    }

    /// Removes a component; one that is not there is removed already.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn discard(&self, project: ProjectId, sha256: &str) -> Result<(), ReleaseError> {
        let path = self.component(project, sha256);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(ReleaseError::file(&path, e)),
            _ => Ok(()),
        }
    }

    /// The bytes of a component that was kept; none when there are none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn kept(&self, project: ProjectId, sha256: &str) -> Result<Option<Vec<u8>>, ReleaseError> {
        files::read(&self.component(project, sha256))
    }

    fn component(&self, project: ProjectId, sha256: &str) -> PathBuf {
        self.project(project)
            .join("components")
            .join(format!("{sha256}.wasm"))
    }

    /// Removes what a deleted project leaves.
    ///
    /// # Errors
    /// When a file cannot be removed.
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
        }
    }

    #[test]
    fn projects_have_numbers_of_their_own_and_a_start_that_was_cut_is_finished() {
        let dir = tempfile::tempdir().expect("dir");
        let shelf = Shelf::new(dir.path(), None);
        let now = Instant::from_unix(1_800_000_000);
        let (one, two) = (ProjectId::from_bytes([1; 12]), ProjectId::from_bytes([2; 12]));
        assert_eq!(
            shelf.add(one, 0, &release(b"a"), now).expect("added").release_seq,
            1
        );
        assert_eq!(
            shelf.add(one, 7, &release(b"b"), now).expect("added").release_seq,
            8,
            "above what the database knows"
        );
        assert_eq!(
            shelf.add(two, 0, &release(b"a"), now).expect("added").release_seq,
            1
        );
        // The power went before the first timestamp was written.
        std::fs::remove_file(shelf.folder(two).join("metadata/timestamp.json")).expect("removed");
        shelf.ensure(two, now).expect("finished");
        shelf.refresh(now.plus(86_400)).expect("refreshed");
        assert!(!shelf.repository(one).is_stale(now.plus(86_400)));
        shelf.forget(one).expect("forgotten");
        assert!(!shelf.folder(one).exists() && shelf.folder(two).exists());
    }

    #[test]
    fn components_are_kept_by_project() {
        let dir = tempfile::tempdir().expect("dir");
        let shelf = Shelf::new(dir.path(), None);
        let (one, two) = (ProjectId::from_bytes([1; 12]), ProjectId::from_bytes([2; 12]));
        shelf.keep(one, "ab", b"wasm").expect("kept");
        assert_eq!(
            shelf.kept(one, "ab").expect("read").as_deref(),
            Some(&b"wasm"[..])
        );
        assert_eq!(shelf.kept(two, "ab").expect("read"), None);
    }
}
