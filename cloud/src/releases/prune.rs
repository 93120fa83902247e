//! Deletion of releases that nothing needs any more, and of metadata that no client requests again.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use iottly_protocol::release::Release;
use iottly_protocol::tuf::{Instant, Located, TargetFile, Targets};

use super::engine::{engine_chunk_root, forget_engines};
use super::{KeyFolder, ReleaseError, ReleaseRepository};

/// Number of newest releases that stay in a repository even if nothing needs them. Every device reads the
/// list of all of them with each update, so it is short.
pub(super) const KEPT_RELEASES: usize = 4;
/// Number of newest versions of targets and snapshot metadata that stay, so that a client that is reading an
/// older one finds its files.
const KEPT_VERSIONS: u64 = 16;
/// Maximum number of files deleted per step; the rest follows in later steps.
const FILES_A_STEP: usize = 1000;

impl ReleaseRepository {
    /// Removes the oldest releases from the targets metadata until at most `keep` remain in addition to those
    /// whose numbers are `needed`, and publishes the rest. Their files are deleted by [`sweep`](Self::sweep).
    ///
    /// # Errors
    /// If the repository, a key or a file cannot be read or written.
    pub(super) fn forget(
        &self,
        keep: usize,
        needed: &BTreeSet<u64>,
        keys: &KeyFolder,
        now: Instant,
    ) -> Result<bool, ReleaseError> {
        let mut targets = self.targets()?;
        if !leave_out(&mut targets, keep, needed) {
            return Ok(false);
        }
        self.publish(targets, keys, now)?;
        Ok(true)
    }

    /// Deletes files that the published metadata does not name any more, in bounded steps. Returns their
    /// number.
    ///
    /// # Errors
    /// If a folder cannot be read.
    pub(super) fn sweep(&self) -> Result<usize, ReleaseError> {
        let targets = self.targets()?;
        let mut named: BTreeSet<PathBuf> = BTreeSet::new();
        for (path, file) in &targets.targets {
            named.insert(self.served(path, file));
            if let Some(root) = engine_chunk_root(file) {
                named.insert(self.path.join("targets/chunks").join(root));
            }
            if let Ok(release) = Release::from_target(path, file) {
                named.insert(
                    self.path
                        .join("targets/chunks")
                        .join(&release.manifest.chunk_root),
                );
            }
        }
        let mut old = Vec::new();
        files_below(&self.path.join("targets"), &mut |path| {
            if !named.contains(&path) {
                old.push(path);
            }
        })?;
        old.extend(self.old_metadata(targets.header.version)?);
        old.truncate(FILES_A_STEP);
        // A file that cannot be deleted is found again by the next step.
        Ok(old.iter().filter(|path| fs::remove_file(path).is_ok()).count())
    }

    fn old_metadata(&self, targets: u64) -> Result<Vec<PathBuf>, ReleaseError> {
        let snapshot = self.snapshot_version()?;
        let mut old = Vec::new();
        files_below(&self.path.join("metadata"), &mut |path| {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            let newest = match name.split_once('.') {
                Some((version, "targets.json")) => {
                    version.parse().ok().map(|version: u64| (version, targets))
                }
                Some((version, "snapshot.json")) => {
                    version.parse().ok().map(|version: u64| (version, snapshot))
                }
                _ => None,
            };
            if newest.is_some_and(|(version, newest)| version.saturating_add(KEPT_VERSIONS) <= newest) {
                old.push(path);
            }
        })?;
        Ok(old)
    }

    /// Returns the path of a target's file.
    pub(super) fn served(&self, path: &str, file: &TargetFile) -> PathBuf {
        let located = Located {
            path: path.to_owned(),
            role: "targets".to_owned(),
            file: file.clone(),
        };
        self.path.join("targets").join(located.served_path(true))
    }
}

/// Removes the oldest releases from the metadata until `keep` and the needed ones are left, and engines that no
/// release names any more. Returns false if there was no release to remove.
pub(super) fn leave_out(targets: &mut Targets, keep: usize, needed: &BTreeSet<u64>) -> bool {
    let gone = outdated(targets, keep, needed);
    for path in &gone {
        targets.targets.remove(path);
    }
    if !gone.is_empty() {
        forget_engines(targets);
    }
    !gone.is_empty()
}

/// Returns the paths of releases to remove so that `keep` and the needed ones stay.
fn outdated(targets: &Targets, keep: usize, needed: &BTreeSet<u64>) -> Vec<String> {
    let releases = targets
        .targets
        .iter()
        .filter_map(|(path, file)| Release::from_target(path, file).ok());
    let mut releases: Vec<_> = releases
        .map(|release| (release.manifest.release_seq, release.path))
        .collect();
    releases.sort_unstable();
    let newest = releases.len().saturating_sub(keep);
    releases.truncate(newest);
    releases
        .into_iter()
        .filter(|(seq, _)| !needed.contains(seq))
        .map(|(_, path)| path)
        .collect()
}

/// Calls `each` with every file below a folder; a missing folder has none.
pub(super) fn files_below(folder: &Path, each: &mut impl FnMut(PathBuf)) -> Result<(), ReleaseError> {
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|e| ReleaseError::file(folder, e))?,
    };
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files_below(&entry.path(), each)?,
            Ok(kind) if kind.is_file() => each(entry.path()),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use iottly_protocol::ProjectId;
    use iottly_protocol::release::HealthRules;
    use iottly_protocol::tuf::limits::TARGETS_BYTES;
    use iottly_protocol::tuf::{Client, Schemes, sign};
    use iottly_update::{FolderRepository, TrustFolder};

    use super::super::{Lifetimes, NewRelease, ReleaseRepositories};
    use super::*;

    fn now() -> Instant {
        Instant::from_unix(1_800_000_000)
    }

    fn release(content: &[u8]) -> NewRelease {
        NewRelease {
            branch: "main".into(),
            content: content.to_vec(),
            version: "main 1".into(),
            boards: Vec::new(),
            security_floor: 0,
            capabilities: Vec::new(),
            health: HealthRules::default(),
            engine: None,
        }
    }

    fn files(folder: &Path) -> usize {
        let mut count = 0;
        files_below(folder, &mut |_| count += 1).expect("a folder");
        count
    }

    /// Reads a release like a device that trusts the first root.
    fn find(folder: &Path, path: &str) -> Result<(), String> {
        let trust = tempfile::tempdir().expect("a folder");
        std::fs::copy(
            folder.join("metadata/1.root.json"),
            trust.path().join("root.json"),
        )
        .expect("copied");
        let client = Client::open(
            FolderRepository::new(folder),
            TrustFolder::new(trust.path()),
            now(),
            Schemes::ED25519,
        );
        let mut client = client.map_err(|error| error.to_string())?;
        client.find(path).map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn a_release_that_devices_could_not_read_is_refused_and_leaves_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let keys = KeyFolder::new(
            &dir.path().join("keys"),
            Some(crate::seal_file::open(&dir.path().join("seal"), None).expect("a seal")),
        );
        let folder = dir.path().join("repository");
        let repository = ReleaseRepository::new(&folder, Lifetimes::default());
        repository.init(&keys, 1, now()).expect("made");
        let first = repository.add(&release(b"a"), &keys, now()).expect("added");
        // As many more as devices can read: the same release under other numbers.
        let mut targets = repository.targets().expect("read");
        let file = targets.targets[&first.path].clone();
        let signers = keys.of("targets").expect("keys");
        let signed = |targets: &Targets| {
            sign(targets, &signers.iter().collect::<Vec<_>>())
                .expect("signs")
                .len() as u64
        };
        let empty = signed(&targets);
        targets.targets.insert("app/main/10001.wasm".into(), file.clone());
        let each = signed(&targets) - empty;
        for seq in 0..(TARGETS_BYTES - signed(&targets)) / each {
            targets
                .targets
                .insert(format!("app/main/{}.wasm", 10_002 + seq), file.clone());
        }
        assert!(
            (TARGETS_BYTES - each..=TARGETS_BYTES).contains(&signed(&targets)),
            "at the limit"
        );
        repository
            .publish(targets.clone(), &keys, now())
            .expect("just as many as devices read");
        find(&folder, &first.path).expect("a device reads them");

        let before = files(&folder);
        let refused = repository.add(&release(b"b"), &keys, now());
        assert!(
            matches!(refused, Err(ReleaseError::TooMany { .. })),
            "{refused:?}"
        );
        assert_eq!(files(&folder), before, "nothing is left of it");
        find(&folder, &first.path).expect("a device still reads what was there");

        // Removing old releases makes room.
        assert!(
            repository
                .forget(KEPT_RELEASES, &BTreeSet::new(), &keys, now())
                .expect("published")
        );
        let added = repository
            .add(&release(b"b"), &keys, now())
            .expect("there is room again");
        find(&folder, &added.path).expect("a device reads it");
    }

    #[test]
    fn the_newest_and_the_needed_releases_stay_and_files_of_the_others_go() {
        let dir = tempfile::tempdir().expect("a folder");
        let (repositories, project) = (
            ReleaseRepositories::new(dir.path(), None),
            ProjectId::from_bytes([1; 12]),
        );
        let needed = BTreeSet::from([2, 5]);
        let releases: Vec<_> = (0..KEPT_RELEASES + 20)
            .map(|n| {
                repositories
                    .add(
                        project,
                        0,
                        &needed,
                        &release(format!("release {n}").as_bytes()),
                        now(),
                    )
                    .expect("added")
            })
            .collect();
        let folder = repositories.folder(project);
        let named = repositories.repository(project).list().expect("read").len();
        assert_eq!(named, KEPT_RELEASES + 2, "the metadata never names more");
        assert!(
            repositories
                .prune(project, &needed, false, now())
                .expect("pruned")
                > 0
        );
        for release in &releases {
            let stays = release.release_seq > 20 || needed.contains(&release.release_seq);
            assert_eq!(find(&folder, &release.path).is_ok(), stays, "{release:?}");
            assert_eq!(
                repositories.published(project, &release.path).is_ok(),
                stays,
                "{release:?}"
            );
        }
        assert_eq!(
            files(&folder.join("targets")),
            2 * (KEPT_RELEASES + 2),
            "a component and a list of parts each"
        );
        // The first root stays, and as many versions of the other roles as clients may be reading.
        let versions = usize::try_from(KEPT_VERSIONS).expect("few");
        assert_eq!(files(&folder.join("metadata")), 2 + 2 * versions);
        assert_eq!(
            repositories
                .prune(project, &needed, false, now())
                .expect("looked at"),
            0,
            "once is enough"
        );
        assert!(repositories.prune(project, &needed, true, now()).expect("pruned") > 0);
        assert_eq!(
            files(&folder.join("targets")),
            2 * 3,
            "the needed ones and the newest"
        );
        let next = repositories
            .add(project, 0, &needed, &release(b"one more"), now())
            .expect("added");
        assert_eq!(next.release_seq, releases.len() as u64 + 1, "numbers continue");
    }

    #[test]
    fn dates_of_a_clock_that_was_wrong_are_signed_anew() {
        const YEARS: u64 = 10 * 365 * 86_400;
        let dir = tempfile::tempdir().expect("a folder");
        let (repositories, project) = (
            ReleaseRepositories::new(dir.path(), None),
            ProjectId::from_bytes([1; 12]),
        );
        for wrong in [now().plus(YEARS), Instant::from_unix(now().unix() - YEARS)] {
            let added = repositories
                .add(project, 0, &BTreeSet::new(), &release(b"a"), wrong)
                .expect("added");
            repositories.ensure(project, now()).expect("signed again");
            find(&repositories.folder(project), &added.path).expect("a device with the right time reads it");
        }
        // A repository without new releases stays readable for a long time.
        let later = now().plus(300 * 86_400);
        repositories.ensure(project, later).expect("signed again");
        let targets: Targets = ReleaseRepository::new(&repositories.folder(project), Lifetimes::default())
            .targets()
            .expect("read");
        assert!(targets.header.expires > later.plus(86_400));
    }
}
