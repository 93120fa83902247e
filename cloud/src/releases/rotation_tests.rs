use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use iottly_protocol::release::{HealthRules, Reason};
use iottly_protocol::tuf::{Client, Fetch, FetchError, Place, Store, TufError};

use super::*;
use crate::releases::{Lifetimes, NewRelease};

const NOW: Instant = Instant::from_unix(1_800_000_000);
const PROJECT: ProjectId = ProjectId::from_bytes([1; 12]);

/// A device's view of a repository in a folder.
#[derive(Clone)]
struct Folder(PathBuf);

impl Fetch for Folder {
    fn open(&mut self, place: Place<'_>) -> Result<Box<dyn Read + '_>, FetchError> {
        let path = match place {
            Place::Metadata(name) => self.0.join("metadata").join(name),
            Place::Target(name) => self.0.join("targets").join(name),
        };
        let file = std::fs::File::open(path).map_err(|_| FetchError::NotFound)?;
        Ok(Box::new(file))
    }
}

/// Metadata that a device trusts.
#[derive(Clone, Default)]
struct Trust(BTreeMap<String, Vec<u8>>);

impl Store for Trust {
    fn get(&mut self, role: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.get(role).cloned())
    }

    fn put(&mut self, role: &str, bytes: &[u8]) -> io::Result<()> {
        self.0.insert(role.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn remove(&mut self, role: &str) -> io::Result<()> {
        self.0.remove(role);
        Ok(())
    }
}

struct Setup {
    dir: tempfile::TempDir,
    repositories: ReleaseRepositories,
    first: Vec<u8>,
}

impl Setup {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let repositories = ReleaseRepositories::new(dir.path(), None);
        repositories.ensure(PROJECT, NOW).expect("made");
        let first = std::fs::read(repositories.first_root(PROJECT)).expect("a root");
        Self {
            dir,
            repositories,
            first,
        }
    }

    fn add(&self, content: &[u8]) -> String {
        let new = release(content);
        let added = self
            .repositories
            .add(PROJECT, 0, &BTreeSet::new(), &new, NOW)
            .expect("added");
        added.path
    }

    fn key_folder(&self) -> PathBuf {
        let folder = self.dir.path().join("releases").join(PROJECT.to_string());
        folder.join("keys")
    }

    fn keys(&self) -> KeyFolder {
        self.repositories.keys(PROJECT).expect("keys")
    }

    fn ids(&self, role: &str) -> Vec<String> {
        let root = self.repositories.current_root(PROJECT, NOW).expect("a root");
        role_of(&root, role).expect("named").keyids
    }

    /// Returns what a device that trusts the first root finds: the version of its root then, or why it refuses.
    fn device_takes(&self, target: &str) -> Result<u64, TufError> {
        let mut trust = Trust::default();
        trust.put("root", &self.first).expect("memory");
        let folder = Folder(self.repositories.folder(PROJECT));
        let mut client = Client::open(folder, trust, NOW, Schemes::ED25519)?;
        client.refresh()?;
        client.find(target)?;
        Ok(client.trusted().root().header.version)
    }

    /// Moves the keys of a role out of the cloud, and returns their folder.
    fn take_away(&self, role: &str) -> KeyFolder {
        let offline = self.dir.path().join(format!("offline-{role}"));
        std::fs::create_dir(&offline).expect("dir");
        for path in files_of(&self.key_folder(), role) {
            std::fs::rename(&path, offline.join(path.file_name().expect("a name"))).expect("moved");
        }
        let seal = crate::seal_file::open(&self.dir.path().join("seal.key"), None).expect("the seal");
        KeyFolder::new(&offline, Some(seal))
    }

    fn sign(&self, proposal: &[u8], keys: &KeyFolder) -> Vec<u8> {
        let proposal: serde_json::Value = serde_json::from_slice(proposal).expect("JSON");
        let root: Root = serde_json::from_value(proposal["signed"].clone()).expect("a root");
        let signers = keys.of("root").expect("keys");
        sign(&root, &signers.iter().collect::<Vec<_>>()).expect("signed")
    }
}

fn files_of(folder: &Path, role: &str) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(folder)
        .expect("a folder")
        .flatten()
        .map(|entry| entry.path());
    let named = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(&format!("{role}-")))
    };
    paths.filter(named).collect()
}

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

fn reason(result: Result<PublishedRoot, ReleaseError>) -> String {
    match result {
        Err(ReleaseError::Refused(reason)) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn devices_follow_the_rotation_of_every_role() {
    for role in ROLES {
        let setup = Setup::new();
        let path = setup.add(b"one");
        let before = setup.ids(role);
        let published = setup
            .repositories
            .rotate_role(PROJECT, role, NOW)
            .expect("rotated");
        assert_eq!(published.version, 2, "{role}");
        let gone: Vec<_> = published.removed.iter().map(|gone| gone.key.clone()).collect();
        assert_eq!(gone, before, "{role}");
        assert!(setup.ids(role).iter().all(|id| !before.contains(id)), "{role}");
        let held = setup.keys().list().expect("read");
        assert!(
            held.iter().all(|(_, id)| !before.contains(id)),
            "the old key is deleted"
        );
        assert_eq!(setup.device_takes(&path).expect("trusted"), 2, "{role}");
        let next = setup.add(b"two");
        assert_eq!(setup.device_takes(&next).expect("trusted"), 2, "{role}");
    }
}

#[test]
fn what_a_revoked_key_signs_is_refused_by_the_cloud_and_by_devices() {
    let setup = Setup::new();
    let path = setup.add(b"one");
    let stolen = setup.keys().of("targets").expect("a key");
    let thief = setup.take_away("targets");
    for file in files_of(&setup.dir.path().join("offline-targets"), "targets") {
        let back = setup.key_folder().join(file.file_name().expect("a name"));
        std::fs::copy(&file, back).expect("a copy");
    }
    let id = stolen[0].public().id();
    setup.repositories.revoke_key(PROJECT, &id, NOW).expect("revoked");
    assert!(setup.device_takes(&path).is_ok());
    let repository = ReleaseRepository::new(&setup.repositories.folder(PROJECT), Lifetimes::default());
    let refused = repository
        .add(&release(b"evil"), &thief, NOW)
        .expect_err("refused");
    assert!(
        matches!(&refused, ReleaseError::Untrusted { role, version: 2, .. } if role == "targets"),
        "{refused}"
    );
    // The thief writes the metadata without the cloud's code, under the names that devices fetch.
    let targets = repository.targets().expect("targets");
    let version = targets.header.version;
    repository
        .put("targets", version, &targets, &stolen)
        .expect("written");
    let refused = setup.device_takes(&path).expect_err("refused");
    assert_eq!(refused.reason(), Reason::UnknownKey, "{refused}");
    assert!(reason(setup.repositories.revoke_key(PROJECT, &id, NOW)).contains("names no such key"));
}

#[test]
fn the_next_root_is_signed_where_its_keys_are() {
    let setup = Setup::new();
    let path = setup.add(b"one");
    let offline = setup.take_away("root");
    let refused = reason(setup.repositories.rotate_role(PROJECT, "targets", NOW));
    assert!(refused.contains("not in this cloud"), "{refused}");
    let before = setup.ids("targets");
    let proposal = setup
        .repositories
        .propose(PROJECT, "targets", NOW)
        .expect("proposed");
    assert_eq!(
        setup
            .repositories
            .propose(PROJECT, "targets", NOW)
            .expect("again"),
        proposal,
        "the same key is proposed again"
    );
    assert_eq!(setup.ids("targets"), before, "nothing has changed yet");
    let other = setup.add(b"signed while the proposal waits");
    let publish = |document: &[u8]| setup.repositories.publish_root(PROJECT, document, NOW);
    let refused = reason(publish(&proposal));
    assert!(
        refused.contains("devices would refuse"),
        "without signatures: {refused}"
    );
    let stranger = KeyFolder::new(&setup.dir.path().join("stranger"), None);
    stranger.make("root").expect("made");
    let refused = reason(publish(&setup.sign(&proposal, &stranger)));
    assert!(
        refused.contains("devices would refuse"),
        "by a stranger: {refused}"
    );
    let signed = setup.sign(&proposal, &offline);
    assert_eq!(publish(&signed).expect("published").version, 2);
    assert_ne!(setup.ids("targets"), before);
    for path in [&path, &other] {
        assert_eq!(setup.device_takes(path).expect("trusted"), 2);
    }
    let refused = reason(publish(&signed));
    assert!(
        refused.contains("devices would refuse"),
        "the same version: {refused}"
    );
    // A root whose key for releases is elsewhere would leave the cloud without a way to sign.
    let mut next = setup.repositories.current_root(PROJECT, NOW).expect("a root");
    next.header.version = 3;
    let key = stranger.make("targets").expect("made").public();
    name_public(&mut next, "targets", &[key], 1);
    let signers = offline.of("root").expect("keys");
    let document = sign(&next, &signers.iter().collect::<Vec<_>>()).expect("signed");
    let refused = reason(publish(&document));
    assert!(refused.contains("does not have"), "{refused}");
    assert_eq!(setup.device_takes(&path).expect("as before"), 2);
}

#[test]
fn a_cloud_without_the_root_keys_still_signs_timestamps() {
    let setup = Setup::new();
    let path = setup.add(b"one");
    let _offline = setup.take_away("root");
    let then = NOW.plus(300 * DAY);
    setup.repositories.refresh(then).expect("signed");
    let timestamp = setup.repositories.repository(PROJECT);
    assert!(!timestamp.is_stale(then));
    assert!(setup.device_takes(&path).is_ok());
}

#[test]
fn a_root_that_was_written_before_a_crash_is_completed() {
    let setup = Setup::new();
    let path = setup.add(b"one");
    let (repository, keys) = (setup.repositories.repository(PROJECT), setup.keys());
    let root = repository.root().expect("a root");
    let made = keys.make("targets").expect("made").public();
    let next = next_root(&root, 365, NOW, |next| name_public(next, "targets", &[made], 1));
    let signers = keys.of("root").expect("keys");
    let document = sign(&next, &signers.iter().collect::<Vec<_>>()).expect("signed");
    repository.put_root(2, &document).expect("written");
    assert!(
        setup.device_takes(&path).is_err(),
        "the releases are not signed by the new key"
    );
    setup.repositories.ensure(PROJECT, NOW).expect("completed");
    assert_eq!(setup.device_takes(&path).expect("trusted"), 2);
}

#[test]
fn an_unknown_role_is_refused() {
    let setup = Setup::new();
    let refused = reason(setup.repositories.rotate_role(PROJECT, "nonsense", NOW));
    assert!(refused.contains("is not a role"), "{refused}");
    assert!(setup.repositories.propose(PROJECT, "root", NOW).is_err());
}

#[test]
fn a_replaced_key_that_a_crash_left_is_not_proposed_again() {
    let setup = Setup::new();
    let old = setup.ids("targets");
    let left: Vec<(PathBuf, Vec<u8>)> = files_of(&setup.key_folder(), "targets")
        .into_iter()
        .map(|path| (path.clone(), std::fs::read(&path).expect("a key")))
        .collect();
    assert!(!left.is_empty());
    setup
        .repositories
        .rotate_role(PROJECT, "targets", NOW)
        .expect("rotated");
    for (path, key) in left {
        std::fs::write(path, key).expect("written");
    }
    let proposal = setup
        .repositories
        .propose(PROJECT, "targets", NOW)
        .expect("proposed");
    let text = String::from_utf8(proposal).expect("JSON");
    assert!(old.iter().all(|id| !text.contains(id)), "{text}");
}
