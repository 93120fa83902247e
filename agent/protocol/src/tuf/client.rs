use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use super::instant::Instant;
use super::key::Schemes;
use super::metadata::{TargetFile, Targets};
use super::stream::read_limited;
use super::trusted::{Search, Step, TimestampNews, Trusted};
use super::{CheckedReader, TufError, digest, limits, quote, quote_path};

/// Which file of a repository is wanted. Names are encoded for an address already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// A metadata file.
    Metadata(&'a str),
    /// A target's path; slashes separate folders.
    Target(&'a str),
}

/// Why a file cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchError {
    /// The repository has no such file.
    NotFound,
    /// Anything else, for people.
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

/// Where a repository's files come from.
pub trait Fetch {
    /// Opens a file. Whoever reads it stops at the limit that holds for it.
    ///
    /// # Errors
    /// When there is no such file or the source fails.
    fn open(&mut self, place: Place<'_>) -> Result<Box<dyn Read + '_>, FetchError>;
}

/// Where trusted metadata is kept from one update to the next, one file a role.
pub trait Store {
    /// Reads a role's metadata; none when there is none.
    ///
    /// # Errors
    /// When the store fails.
    fn get(&mut self, role: &str) -> io::Result<Option<Vec<u8>>>;
    /// Keeps a role's metadata instead of what was kept before. Durable when it returns, and never half of
    /// it.
    ///
    /// # Errors
    /// When the store fails.
    fn put(&mut self, role: &str, bytes: &[u8]) -> io::Result<()>;
    /// Forgets a role's metadata, if there is any. Durable when it returns.
    ///
    /// # Errors
    /// When the store fails.
    fn remove(&mut self, role: &str) -> io::Result<()>;
}

/// A target that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Located {
    /// Its path.
    pub path: String,
    /// The role that describes it.
    pub role: String,
    /// What was signed about it.
    pub file: TargetFile,
}

impl Located {
    /// The path under which the target is served, encoded for an address.
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

/// One update: a refresh, then any number of searches and downloads against the same state of the repository.
pub struct Client<F, S> {
    fetch: F,
    store: S,
    trusted: Trusted,
    refreshed: bool,
}

impl<F: Fetch, S: Store> Client<F, S> {
    /// 5.1 and 5.2: begins an update at a moment, with the root in the store.
    ///
    /// # Errors
    /// When there is no root, or it is malformed or not signed by its own keys.
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

    /// What is trusted.
    #[must_use]
    pub fn trusted(&self) -> &Trusted {
        &self.trusted
    }

    /// 5.3 to 5.6: brings the top-level metadata up to date, once.
    ///
    /// # Errors
    /// When a file cannot be had or is not to be trusted; what was taken before it stays taken.
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

    /// 5.3: follows the chain of roots.
    fn refresh_root(&mut self) -> Result<(), TufError> {
        for _ in 0..limits::ROOT_STEPS {
            // 5.3.2 and 5.3.3: no next version ends the chain.
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
                // 5.3.11, before the new root is kept: a cut in between must not leave what it was to take
                // away.
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
            // One that the root's keys have not signed is none.
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

    /// 5.6.1 to 5.6.6, for the top-level role and for delegated ones.
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

    /// 5.6.7: looks for a target, through delegations where the top level does not describe it. Refreshes
    /// first if that has not been done.
    ///
    /// # Errors
    /// When no role that may, describes it, or metadata on the way cannot be had or is not to be trusted.
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

    /// 5.7.2: opens a target that was found; what is read is held to its signed length and digests.
    ///
    /// # Errors
    /// When it cannot be had or has no digest of a known algorithm.
    pub fn open_target(&mut self, target: &Located) -> Result<CheckedReader<Box<dyn Read + '_>>, TufError> {
        let path = target.served_path(self.trusted.root().consistent_snapshot == Some(true));
        let opened = self.fetch.open(Place::Target(&path));
        let source = opened.map_err(|reason| TufError::Fetch {
            what: target.path.clone(),
            reason,
        })?;
        CheckedReader::new(source, &target.path, &target.file)
    }

    /// Gives the store back.
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
