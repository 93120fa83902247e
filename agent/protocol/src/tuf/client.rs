//! The client workflow with its I/O behind two traits. Every decision is in [`Trusted`].

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use super::instant::Instant;
use super::key::Schemes;
use super::metadata::{TargetFile, Targets};
use super::stream::read_limited;
use super::trusted::{Search, Step, TimestampNews, Trusted};
use super::{CheckedReader, TufError, digest, limits, quote, quote_path};

/// File of a repository that is wanted. Names are encoded for an address already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// Metadata file.
    Metadata(&'a str),
    /// Path of a target; slashes separate folders.
    Target(&'a str),
}

/// Reason why a file cannot be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchError {
    /// The repository has no such file.
    NotFound,
    /// Every other failure, for people.
    Failed(String),
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("not found"),
            Self::Failed(reason) => f.write_str(reason),
        }
    }
}

impl From<String> for FetchError {
    fn from(reason: String) -> Self {
        Self::Failed(reason)
    }
}

/// Source of a repository's files.
pub trait Fetch {
    /// Opens a file. The reader stops at the limit that holds for the file.
    ///
    /// # Errors
    /// The file does not exist, or the source fails.
    fn open(&mut self, place: Place<'_>) -> Result<Box<dyn Read + '_>, FetchError>;
}

/// Storage of trusted metadata between updates, one file a role.
pub trait Store {
    /// Reads a role's metadata; none if there is none.
    ///
    /// # Errors
    /// The store fails.
    fn get(&mut self, role: &str) -> io::Result<Option<Vec<u8>>>;
    /// Replaces a role's metadata, atomically. Durable once it returns.
    ///
    /// # Errors
    /// The store fails.
    fn put(&mut self, role: &str, bytes: &[u8]) -> io::Result<()>;
    /// Removes a role's metadata, if there is any. Durable once it returns.
    ///
    /// # Errors
    /// The store fails.
    fn remove(&mut self, role: &str) -> io::Result<()>;
}

/// Target that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Located {
    /// Path of the target.
    pub path: String,
    /// Role that describes the target.
    pub role: String,
    /// Signed description of the target.
    pub file: TargetFile,
}

impl Located {
    /// Returns the path under which the target is served, encoded for an address.
    #[must_use]
    pub fn served_path(&self, consistent_snapshot: bool) -> String {
        let mut path = self.path.clone();
        if consistent_snapshot && let Some(digest) = digest::name_digest(&self.file.hashes) {
            let name_at = path.rfind('/').map_or(0, |slash| slash + 1);
            path.insert_str(name_at, &format!("{digest}."));
        }
        quote_path(&path)
    }
}

/// Client of one update: a refresh, then any number of searches and downloads against the same state of the
/// repository.
pub struct Client<F, S> {
    fetch: F,
    store: S,
    trusted: Trusted,
    refreshed: bool,
}

impl<F: Fetch, S: Store> Client<F, S> {
    /// Begins an update at a moment, with the root in the store (5.1 and 5.2).
    ///
    /// # Errors
    /// The root is missing, malformed or not signed by its own keys.
    pub fn open(fetch: F, mut store: S, now: Instant, schemes: Schemes) -> Result<Self, TufError> {
        let root = stored(&mut store, "root")?.ok_or_else(|| TufError::Malformed {
            role: "root".to_owned(),
            reason: "no trusted root is stored".to_owned(),
        })?;
        let trusted = Trusted::new(&root, now, schemes)?;
        Ok(Self {
            fetch,
            store,
            trusted,
            refreshed: false,
        })
    }

    /// Returns the trusted metadata.
    #[must_use]
    pub fn trusted(&self) -> &Trusted {
        &self.trusted
    }

    /// Brings the top-level metadata up to date, once (5.3 to 5.6).
    ///
    /// # Errors
    /// A file cannot be fetched or must not be trusted; what was accepted before it stays accepted.
    pub fn refresh(&mut self) -> Result<(), TufError> {
        if self.refreshed {
            return Ok(());
        }
        self.refresh_root()?;
        self.refresh_timestamp()?;
        self.refresh_snapshot()?;
        self.load_targets(&Step {
            role: "targets".to_owned(),
            delegator: "root".to_owned(),
        })?;
        self.refreshed = true;
        Ok(())
    }

    /// Follows the chain of roots (5.3).
    fn refresh_root(&mut self) -> Result<(), TufError> {
        for _ in 0..limits::ROOT_STEPS {
            // 5.3.2 and 5.3.3: the chain ends at the last version that exists.
            let next = self.trusted.root().header.version.saturating_add(1);
            let bytes = match self.metadata(&format!("{next}.root.json"), limits::ROOT_BYTES) {
                Err(TufError::Fetch {
                    reason: FetchError::NotFound,
                    ..
                }) => break,
                other => other?,
            };
            let rotated = self.trusted.update_root(&bytes)?;
            if rotated {
                // 5.3.11, before the new root is stored: a power cut in between must not keep what the root
                // invalidates.
                self.forget("timestamp")?;
                self.forget("snapshot")?;
            }
            // 5.3.8
            self.keep("root", &bytes)?;
        }
        // 5.3.10
        self.trusted.finish_root()
    }

    /// 5.4
    fn refresh_timestamp(&mut self) -> Result<(), TufError> {
        if let Some(bytes) = self.stored("timestamp")? {
            // A timestamp that the root's keys have not signed counts as none.
            let _ = self.trusted.load_timestamp(&bytes);
        }
        // 5.4.1
        let bytes = self.metadata("timestamp.json", limits::TIMESTAMP_BYTES)?;
        if self.trusted.update_timestamp(&bytes)? == TimestampNews::Newer {
            // 5.4.5
            self.keep("timestamp", &bytes)?;
        }
        Ok(())
    }

    /// 5.5
    fn refresh_snapshot(&mut self) -> Result<(), TufError> {
        if let Some(bytes) = self.stored("snapshot")?
            && let Ok(true) = self.trusted.load_snapshot(&bytes)
        {
            return Ok(());
        }
        // 5.5.1
        let info = self.trusted.snapshot_info();
        let limit = info
            .length
            .unwrap_or(limits::SNAPSHOT_BYTES)
            .min(limits::SNAPSHOT_BYTES);
        let name = self.versioned(info.version, "snapshot");
        let bytes = self.metadata(&name, limit)?;
        self.trusted.update_snapshot(&bytes)?;
        // 5.5.7
        self.keep("snapshot", &bytes)
    }

    /// Loads the metadata of the top-level targets role or of a delegated one (5.6.1 to 5.6.6).
    fn load_targets(&mut self, step: &Step) -> Result<Arc<Targets>, TufError> {
        let Step { role, delegator } = step;
        if let Some(targets) = self.trusted.targets(role, delegator) {
            return Ok(targets);
        }
        if let Some(bytes) = self.stored(role)?
            && let Ok(targets) = self.trusted.update_targets(&bytes, role, delegator)
        {
            return Ok(targets);
        }
        // 5.6.1
        let info = self.trusted.targets_info(role)?;
        let limit = info
            .length
            .unwrap_or(limits::TARGETS_BYTES)
            .min(limits::TARGETS_BYTES);
        let name = self.versioned(info.version, role);
        let bytes = self.metadata(&name, limit)?;
        let targets = self.trusted.update_targets(&bytes, role, delegator)?;
        // 5.6.6
        self.keep(role, &bytes)?;
        Ok(targets)
    }

    /// Searches a target, through delegations where the top level does not describe it (5.6.7). Refreshes
    /// first if that has not been done.
    ///
    /// # Errors
    /// No role that may, describes the target, or metadata on the way cannot be fetched or must not be
    /// trusted.
    pub fn find(&mut self, path: &str) -> Result<Located, TufError> {
        self.refresh()?;
        let mut search = Search::new(path);
        while let Some(step) = search.next() {
            let targets = self.load_targets(&step)?;
            if let Some(file) = search.look(&step.role, &targets) {
                return Ok(Located {
                    path: path.to_owned(),
                    role: step.role,
                    file,
                });
            }
        }
        Err(TufError::NoTarget {
            path: path.to_owned(),
        })
    }

    /// Opens a target that was found; its bytes are checked against the signed length and digests (5.7.2).
    ///
    /// # Errors
    /// The target cannot be fetched or has no digest of a known algorithm.
    pub fn open_target(&mut self, target: &Located) -> Result<CheckedReader<Box<dyn Read + '_>>, TufError> {
        let path = target.served_path(self.trusted.root().consistent_snapshot == Some(true));
        let opened = self.fetch.open(Place::Target(&path));
        let source = opened.map_err(|reason| TufError::Fetch {
            what: target.path.clone(),
            reason,
        })?;
        CheckedReader::new(source, &target.path, &target.file)
    }

    /// Returns the store.
    pub fn into_store(self) -> S {
        self.store
    }

    fn versioned(&self, version: u64, role: &str) -> String {
        let role = quote(role);
        match self.trusted.root().consistent_snapshot {
            Some(true) => format!("{version}.{role}.json"),
            _ => format!("{role}.json"),
        }
    }

    fn metadata(&mut self, name: &str, limit: u64) -> Result<Vec<u8>, TufError> {
        let opened = self.fetch.open(Place::Metadata(name));
        let source = opened.map_err(|reason| TufError::Fetch {
            what: name.to_owned(),
            reason,
        })?;
        read_limited(source, name, limit)
    }

    fn stored(&mut self, role: &str) -> Result<Option<Vec<u8>>, TufError> {
        stored(&mut self.store, role)
    }

    fn keep(&mut self, role: &str, bytes: &[u8]) -> Result<(), TufError> {
        self.store.put(role, bytes).map_err(|reason| TufError::Store {
            role: role.to_owned(),
            reason,
        })
    }

    fn forget(&mut self, role: &str) -> Result<(), TufError> {
        self.store.remove(role).map_err(|reason| TufError::Store {
            role: role.to_owned(),
            reason,
        })
    }
}

fn stored<S: Store>(store: &mut S, role: &str) -> Result<Option<Vec<u8>>, TufError> {
    store.get(role).map_err(|reason| TufError::Store {
        role: role.to_owned(),
        reason,
    })
}
