use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use iottly_protocol::ProjectId;
use iottly_protocol::release::{Directive, Release};
use iottly_protocol::tuf::Instant;

use super::repository::Draft;
use super::{Added, KeyFolder, Lifetimes, NewDirective, NewRelease, ReleaseError, ReleaseRepository, SealKey, directives, files};

/// The repositories of a cloud's projects, with keys that the cloud manages: sealed in its data folder.
///
/// Whoever has the data folder and the seal's file can sign for every project. Keys that lie elsewhere protect against that; these
/// protect against everyone between the cloud and the device. All calls block.
#[derive(Debug, Clone)]
pub struct Shelf {
    path: PathBuf,
    seal: PathBuf,
    /// One signer at a time: versions and numbers rise by one.
    turn: Arc<Mutex<()>>,
}

impl Shelf {
    /// Uses the folder `releases` in a cloud's data folder, and the file of the key that seals the others: `seal.key` there unless
    /// it is another one.
    #[must_use]
    pub fn new(data: &Path, seal: Option<PathBuf>) -> Self {
        let seal = seal.unwrap_or_else(|| data.join("seal.key"));
        Self { path: data.to_owned(), seal, turn: Arc::default() }
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
        let seal = SealKey::open(&self.seal).map_err(|e| ReleaseError::file(&self.seal, e))?;
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
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
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
        if repository.is_stale(now) { repository.refresh(&keys, now) } else { Ok(()) }
    }

    /// Signs the timestamps anew of which half the life is over, so that devices know that nothing is held back from them.
    ///
    /// # Errors
    /// When a file cannot be read or written; the repositories behind it wait for the next time.
    pub fn refresh(&self, now: Instant) -> Result<(), ReleaseError> {
        let folder = self.path.join("releases");
        let entries = match std::fs::read_dir(&folder) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(|e| ReleaseError::file(&folder, e))?,
        };
        for entry in entries.flatten() {
            if let Some(project) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                self.ensure(project, now)?;
            }
        }
        Ok(())
    }

    /// Publishes a release with a number above `last`.
    ///
    /// # Errors
    /// When it makes no sense as a release, or a file cannot be read or written.
    pub fn add(&self, project: ProjectId, last: u64, new: &NewRelease, now: Instant) -> Result<Added, ReleaseError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.prepare(project, now)?;
        self.repository(project).add_above(last, new, &self.keys(project)?, now)
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

    /// Keeps the bytes of a component under its sha256, hex.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep(&self, project: ProjectId, sha256: &str, component: &[u8]) -> Result<(), ReleaseError> {
        let path = self.component(project, sha256);
        if path.exists() { Ok(()) } else { files::replace(&path, component, 0o600) }
    }

    /// The bytes of a component that was kept; none when there are none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn kept(&self, project: ProjectId, sha256: &str) -> Result<Option<Vec<u8>>, ReleaseError> {
        files::read(&self.component(project, sha256))
    }

    fn component(&self, project: ProjectId, sha256: &str) -> PathBuf {
        self.project(project).join("components").join(format!("{sha256}.wasm"))
    }

    /// Removes what a deleted project leaves.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn forget(&self, project: ProjectId) -> Result<(), ReleaseError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.project(project);
        match std::fs::remove_dir_all(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(ReleaseError::file(&path, e)),
            _ => Ok(()),
        }
    }
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
        assert_eq!(shelf.add(one, 0, &release(b"a"), now).expect("added").release_seq, 1);
        assert_eq!(shelf.add(one, 7, &release(b"b"), now).expect("added").release_seq, 8, "above what the database knows");
        assert_eq!(shelf.add(two, 0, &release(b"a"), now).expect("added").release_seq, 1);
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
        assert_eq!(shelf.kept(one, "ab").expect("read").as_deref(), Some(&b"wasm"[..]));
        assert_eq!(shelf.kept(two, "ab").expect("read"), None);
    }
}
