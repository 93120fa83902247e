//! A repository in memory that can be made to misbehave, and a client's store.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::rc::Rc;

use iottly_protocol::tuf::{
    Client, DelegatedRole, Delegations, Fetch, FetchError, FileInfo, Header, Instant, Key, Kind, Place,
    RoleKeys, Root, Schemes, SigningKey, Snapshot, Store, TargetFile, Targets, Timestamp, TufError,
    sha256_hex, sign,
};

/// Time at which all tests begin.
pub(crate) const NOW: Instant = Instant::from_unix(1_800_000_000);
pub(crate) const DAY: u64 = 86_400;

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_secret(&[seed; 32])
}

pub(crate) fn ids(keys: &[SigningKey]) -> Vec<String> {
    keys.iter().map(|key| key.public().id()).collect()
}

pub(crate) fn public(keys: &[SigningKey]) -> BTreeMap<String, Key> {
    keys.iter().map(|key| (key.public().id(), key.public())).collect()
}

/// Files of the server, and the requests for them.
#[derive(Default)]
pub(crate) struct Served {
    pub(crate) metadata: BTreeMap<String, Vec<u8>>,
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
    pub(crate) asked: Vec<String>,
    /// Files that never end.
    pub(crate) endless: Vec<String>,
}

#[derive(Clone, Default)]
pub(crate) struct Server(pub(crate) Rc<RefCell<Served>>);

impl Fetch for Server {
    fn open(&mut self, place: Place<'_>) -> Result<Box<dyn Read + '_>, FetchError> {
        let mut served = self.0.borrow_mut();
        let (name, found) = match place {
            Place::Metadata(name) => (name, served.metadata.get(name).cloned()),
            Place::Target(name) => (name, served.blobs.get(name).cloned()),
        };
        served.asked.push(name.to_owned());
        let bytes = found.ok_or(FetchError::NotFound)?;
        if served.endless.iter().any(|endless| endless == name) {
            return Ok(Box::new(io::Cursor::new(bytes).chain(io::repeat(b' '))));
        }
        Ok(Box::new(io::Cursor::new(bytes)))
    }
}

/// Store of a client; its content survives the client.
#[derive(Clone, Default)]
pub(crate) struct Kept(pub(crate) Rc<RefCell<BTreeMap<String, Vec<u8>>>>);

impl Store for Kept {
    fn get(&mut self, role: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.borrow().get(role).cloned())
    }
    fn put(&mut self, role: &str, bytes: &[u8]) -> io::Result<()> {
        self.0.borrow_mut().insert(role.to_owned(), bytes.to_vec());
        Ok(())
    }
    fn remove(&mut self, role: &str) -> io::Result<()> {
        self.0.borrow_mut().remove(role);
        Ok(())
    }
}

impl Kept {
    /// Returns the stored version of a role; 0 for none.
    pub(crate) fn version(&self, role: &str) -> u64 {
        let kept = self.0.borrow();
        let Some(bytes) = kept.get(role) else { return 0 };
        let value: serde_json::Value = serde_json::from_slice(bytes).expect("json");
        value["signed"]["version"].as_u64().expect("version")
    }

    pub(crate) fn versions(&self) -> [u64; 4] {
        ["root", "timestamp", "snapshot", "targets"].map(|role| self.version(role))
    }
}

/// Repository: metadata as it will be signed, and the keys.
pub(crate) struct Repo {
    pub(crate) keys: BTreeMap<String, Vec<SigningKey>>,
    pub(crate) root: Root,
    pub(crate) timestamp: Timestamp,
    pub(crate) snapshot: Snapshot,
    pub(crate) targets: BTreeMap<String, Targets>,
    /// True if lengths and digests of metadata are named.
    pub(crate) hashes: bool,
    pub(crate) server: Server,
    published: BTreeMap<String, Vec<u8>>,
}

impl Repo {
    pub(crate) fn new() -> Self {
        let expires = NOW.plus(30 * DAY);
        let roles = [("root", 1), ("timestamp", 2), ("snapshot", 3), ("targets", 4)];
        let keys: BTreeMap<String, Vec<SigningKey>> = roles
            .map(|(role, seed)| (role.to_owned(), vec![key(seed)]))
            .into();
        let root = Root {
            header: Header::new(Kind::Root, 0, expires),
            consistent_snapshot: Some(true),
            keys: keys.values().flat_map(|keys| public(keys)).collect(),
            roles: keys
                .iter()
                .map(|(role, keys)| (role.clone(), RoleKeys::new(ids(keys), 1)))
                .collect(),
            extra: BTreeMap::new(),
        };
        let mut repo = Self {
            keys,
            root,
            timestamp: Timestamp {
                header: Header::new(Kind::Timestamp, 0, expires),
                meta: BTreeMap::from([("snapshot.json".to_owned(), FileInfo::of_version(1))]),
                extra: BTreeMap::new(),
            },
            snapshot: Snapshot {
                header: Header::new(Kind::Snapshot, 0, expires),
                meta: BTreeMap::from([("targets.json".to_owned(), FileInfo::of_version(1))]),
                extra: BTreeMap::new(),
            },
            targets: BTreeMap::from([("targets".to_owned(), targets(expires))]),
            hashes: false,
            server: Server::default(),
            published: BTreeMap::new(),
        };
        repo.publish(&["targets", "snapshot", "timestamp", "root"]);
        repo
    }

    /// Signs the next version of each role, and names it in the role above.
    pub(crate) fn publish(&mut self, roles: &[&str]) {
        for role in roles {
            match *role {
                "root" => self.root.header.version += 1,
                "timestamp" => self.timestamp.header.version += 1,
                "snapshot" => self.snapshot.header.version += 1,
                other => self.targets.get_mut(other).expect("role").header.version += 1,
            }
            self.publish_as_is(role);
        }
    }

    /// Signs a role without a new version.
    pub(crate) fn publish_as_is(&mut self, role: &str) {
        let keys: Vec<&SigningKey> = self.keys[role].iter().collect();
        let (bytes, version) = match role {
            "root" => (sign(&self.root, &keys), self.root.header.version),
            "timestamp" => (sign(&self.timestamp, &keys), self.timestamp.header.version),
            "snapshot" => (sign(&self.snapshot, &keys), self.snapshot.header.version),
            other => (
                sign(&self.targets[other], &keys),
                self.targets[other].header.version,
            ),
        };
        let bytes = bytes.expect("signed");
        self.put(role, version, bytes.clone());
        let mut info = FileInfo::of_version(version);
        if self.hashes {
            info.length = Some(bytes.len() as u64);
            info.hashes = Some(BTreeMap::from([("sha256".to_owned(), sha256_hex(&bytes))]));
        }
        match role {
            "root" | "timestamp" => {}
            "snapshot" => drop(self.timestamp.meta.insert("snapshot.json".to_owned(), info)),
            other => drop(self.snapshot.meta.insert(format!("{other}.json"), info)),
        }
        self.published.insert(role.to_owned(), bytes);
    }

    /// Serves bytes as a version of a role.
    pub(crate) fn put(&self, role: &str, version: u64, bytes: Vec<u8>) {
        let quoted = iottly_protocol::tuf::quote(role);
        let versioned =
            role == "root" || (role != "timestamp" && self.root.consistent_snapshot == Some(true));
        let name = if versioned {
            format!("{version}.{quoted}.json")
        } else {
            format!("{quoted}.json")
        };
        self.server.0.borrow_mut().metadata.insert(name, bytes);
    }

    /// Returns the last signed bytes of a role.
    pub(crate) fn bytes(&self, role: &str) -> Vec<u8> {
        self.published[role].clone()
    }

    /// Publishes targets, snapshot and timestamp.
    pub(crate) fn publish_all(&mut self) {
        let mut roles: Vec<String> = self.targets.keys().cloned().collect();
        roles.extend(["snapshot".to_owned(), "timestamp".to_owned()]);
        self.publish(&roles.iter().map(String::as_str).collect::<Vec<_>>());
    }

    pub(crate) fn set_keys(&mut self, role: &str, keys: &[SigningKey], threshold: u64) {
        self.root.keys.extend(public(keys));
        self.root
            .roles
            .insert(role.to_owned(), RoleKeys::new(ids(keys), threshold));
        self.keys.insert(role.to_owned(), keys.to_vec());
    }

    /// Describes a target in a role and serves it.
    pub(crate) fn add_target(&mut self, role: &str, path: &str, content: &[u8]) {
        let file = TargetFile::of(content);
        let digest = file.hashes["sha256"].clone();
        self.targets
            .get_mut(role)
            .expect("role")
            .targets
            .insert(path.to_owned(), file);
        let name_at = path.rfind('/').map_or(0, |slash| slash + 1);
        let mut name = path.to_owned();
        name.insert_str(name_at, &format!("{digest}."));
        self.server
            .0
            .borrow_mut()
            .blobs
            .insert(iottly_protocol::tuf::quote_path(&name), content.to_vec());
    }

    /// Delegates some paths to a role with a key of its own.
    pub(crate) fn delegate(
        &mut self,
        delegator: &str,
        name: &str,
        paths: &[&str],
        terminating: bool,
        seed: u8,
    ) {
        let keys = vec![key(seed)];
        let role = DelegatedRole {
            name: name.to_owned(),
            keyids: ids(&keys),
            threshold: 1,
            terminating,
            paths: Some(paths.iter().map(|path| (*path).to_owned()).collect()),
            path_hash_prefixes: None,
            extra: BTreeMap::new(),
        };
        let empty = Delegations {
            keys: BTreeMap::new(),
            roles: Some(vec![]),
            succinct_roles: None,
            extra: BTreeMap::new(),
        };
        let delegations = self
            .targets
            .get_mut(delegator)
            .expect("delegator")
            .delegations
            .get_or_insert(empty);
        delegations.keys.extend(public(&keys));
        delegations.roles.get_or_insert_default().push(role);
        self.keys.entry(name.to_owned()).or_insert(keys);
        self.targets
            .entry(name.to_owned())
            .or_insert_with(|| targets(NOW.plus(30 * DAY)));
    }

    /// Returns a client's store with root version 1 in it.
    pub(crate) fn enrolled(&self) -> Kept {
        let kept = Kept::default();
        kept.0.borrow_mut().insert(
            "root".to_owned(),
            self.server.0.borrow().metadata["1.root.json"].clone(),
        );
        kept
    }

    pub(crate) fn client_at(&self, kept: &Kept, now: Instant) -> Result<Client<Server, Kept>, TufError> {
        Client::open(self.server.clone(), kept.clone(), now, Schemes::ED25519)
    }

    pub(crate) fn refresh_at(&self, kept: &Kept, now: Instant) -> Result<(), TufError> {
        self.server.0.borrow_mut().asked.clear();
        self.client_at(kept, now)?.refresh()
    }

    pub(crate) fn refresh(&self, kept: &Kept) -> Result<(), TufError> {
        self.refresh_at(kept, NOW)
    }

    pub(crate) fn download(&self, kept: &Kept, path: &str) -> Result<Vec<u8>, TufError> {
        self.server.0.borrow_mut().asked.clear();
        let mut client = self.client_at(kept, NOW)?;
        let target = client.find(path)?;
        let mut reader = client.open_target(&target)?;
        let mut content = Vec::new();
        let mut buffer = [0; 1000];
        loop {
            match reader.read(&mut buffer)? {
                0 => break,
                count => content.extend_from_slice(&buffer[..count]),
            }
        }
        reader.finish()?;
        Ok(content)
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.server.0.borrow().asked.clone()
    }
}

pub(crate) fn targets(expires: Instant) -> Targets {
    Targets {
        header: Header::new(Kind::Targets, 0, expires),
        targets: BTreeMap::new(),
        delegations: None,
        extra: BTreeMap::new(),
    }
}
