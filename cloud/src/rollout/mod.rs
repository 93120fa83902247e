//! Rollouts: which devices of a group are directed to install a release, and when.
//!
//! [`plan`](iottly_core::rollout::plan) is a pure function of policy, members and time. Its steps may be executed twice, or their
//! execution may stop in between: the next plan begins with what the devices have reported. [`Rollouts`]
//! makes releases of branches and executes the plans of all projects: every step is stored before it is sent
//! to a device.

mod builder;
mod builds;
mod check;
mod component;
mod executor;
mod files;
mod flash;
mod flash_request;
mod keys;
mod roll_back;
mod send;
mod steady_clock;
mod upkeep;
mod watch;

pub use builder::{Build, BuildFailure, Builder, Capabilities};
pub use check::BuiltCode;
pub use executor::StepError;
pub use flash_request::{FlashError, FlashRequest, Flashed};
pub use keys::{KeyError, KeyRing, KeyStanding, ROOTS_PER_SECOND, RootPoint};
pub use steady_clock::SteadyClock;
pub use watch::Watched;

use std::sync::Arc;

use iottly_protocol::ProjectId;
use iottly_protocol::tuf::{Instant, Root};
use tokio::sync::Notify;

use crate::broker::Broker;
use crate::clock;
use crate::live::LiveHub;
use crate::releases::{ReleaseError, ReleaseRepositories};
use builds::Builds;
use iottly_core::rollout::seconds;
use iottly_store::Store;
use watch::Feed;

/// Service of releases and rollouts of all projects.
pub struct Rollouts {
    store: Arc<dyn Store>,
    broker: Arc<dyn Broker>,
    live: Arc<LiveHub>,
    repositories: ReleaseRepositories,
    builder: Option<Builder>,
    /// Wakes the executor: an update ended, a device connected, or a rollout started.
    wake_up: Notify,
    /// Wakes callers that wait for the progress of a rollout.
    feed: Feed,
    /// Versions of the projects' newest roots.
    newest_roots: keys::NewestRoots,
    /// Queues for building, checking and writing.
    work: Arc<Builds>,
}

impl Rollouts {
    /// Creates the service over a store, a broker and the projects' repositories. Without a builder only
    /// uploaded components become releases.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        broker: Arc<dyn Broker>,
        live: Arc<LiveHub>,
        repositories: ReleaseRepositories,
        builder: Option<Builder>,
    ) -> Self {
        Self {
            store,
            broker,
            live,
            repositories,
            builder,
            wake_up: Notify::new(),
            feed: Feed::new(),
            newest_roots: keys::NewestRoots::default(),
            work: Arc::default(),
        }
    }

    /// Returns the projects' repositories.
    #[must_use]
    pub fn repositories(&self) -> &ReleaseRepositories {
        &self.repositories
    }

    /// Wakes the executor before its next tick.
    pub fn wake(&self) {
        self.wake_up.notify_one();
    }

    /// Notifies waiting callers that devices of a project have reported about updates, and wakes the executor
    /// if one of these has `ended`.
    pub fn reported(&self, project: ProjectId, ended: bool) {
        self.feed.reports(project);
        if ended {
            self.wake();
        }
    }

    /// Runs work on the repositories' files on a blocking thread.
    async fn with_repositories<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ReleaseRepositories, Instant) -> Result<T, ReleaseError> + Send + 'static,
    ) -> Result<T, ReleaseError> {
        let repositories = self.repositories.clone();
        let now = Instant::from_unix(seconds(clock::now()));
        let done = tokio::task::spawn_blocking(move || work(&repositories, now)).await;
        done.unwrap_or_else(|error| {
            Err(ReleaseError::Input(format!(
                "the work on the repository stopped: {error}"
            )))
        })
    }

    /// Returns the root metadata that devices of a project trust first, as JSON text.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub async fn trusted_root(&self, project: ProjectId) -> Result<String, ReleaseError> {
        self.with_repositories(move |repositories, now| {
            repositories.ensure(project, now)?;
            let path = repositories.first_root(project);
            std::fs::read_to_string(&path).map_err(|error| ReleaseError::file(&path, error))
        })
        .await
    }

    /// Returns the newest root of a project's releases, with the keys that it names.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub async fn current_root(&self, project: ProjectId) -> Result<Root, ReleaseError> {
        self.with_repositories(move |repositories, now| repositories.current_root(project, now))
            .await
    }

    /// Creates a project's keys and repository, unless they exist.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub async fn prepare(&self, project: ProjectId) -> Result<(), ReleaseError> {
        self.with_repositories(move |repositories, now| repositories.ensure(project, now))
            .await
    }
}
