//! The service of releases and rollouts of all projects: sends directives and works on the repositories'
//! files.

use std::sync::Arc;

use iottly_protocol::release::{Action, Audience};
use iottly_protocol::tuf::Instant;
use iottly_protocol::{DeviceId, Down, ProjectId, SignedDirective};
use serde_json::value::RawValue;
use tokio::sync::Notify;

use super::Builder;
use super::builds::Builds;
use crate::broker::Broker;
use crate::clock;
use crate::releases::{NewDirective, ReleaseError, ReleaseRepositories};
use iottly_core::model::Policy;
use iottly_core::model::{Rollout, Scope, UnixMs};
use iottly_core::rollout::seconds;
use iottly_store::{Store, StoreError};

/// Number of seconds of a day.
pub(super) const DAY_S: u64 = 86_400;

/// Service of releases and rollouts of all projects.
pub struct Rollouts {
    pub(super) store: Arc<dyn Store>,
    pub(super) broker: Arc<dyn Broker>,
    pub(super) repositories: ReleaseRepositories,
    pub(super) builder: Option<Builder>,
    /// Wakes the executor: an update ended, a device connected, or a rollout started.
    pub(super) news: Notify,
    /// Queues for building, checking and writing.
    pub(super) work: Arc<Builds>,
}

impl Rollouts {
    /// Creates the service over a store, a broker and the projects' repositories. Without a builder only
    /// uploaded components become releases.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        broker: Arc<dyn Broker>,
        repositories: ReleaseRepositories,
        builder: Option<Builder>,
    ) -> Self {
        Self {
            store,
            broker,
            repositories,
            builder,
            news: Notify::new(),
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
        self.news.notify_one();
    }

    /// Handles a device's hello: later directives get counters above the highest that the device has
    /// accepted, and the device is sent its open directive.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn on_hello(&self, scope: Scope, counter: u64) -> Result<(), StoreError> {
        if counter > 0 {
            self.store.raise_counter(scope, counter).await?;
        }
        self.send_open_directive(scope).await?;
        self.wake();
        Ok(())
    }

    /// Sends a device the directive that it may still have to follow.
    pub(super) async fn send_open_directive(&self, scope: Scope) -> Result<(), StoreError> {
        if let Some(document) = self.store.open_directive(scope).await? {
            self.send_directive(scope.device, document).await;
        }
        Ok(())
    }

    pub(super) async fn send_directive(&self, device: DeviceId, document: Box<RawValue>) {
        let down = Down::Directive(SignedDirective { document });
        if let Err(error) = self.broker.publish(device, down.encode().into()).await {
            tracing::debug!(device.id = %device, %error, "failed to send a directive; it waits for the device's next hello");
        }
    }

    /// Runs work on the repositories' files on a blocking thread.
    pub(super) async fn with_repositories<T: Send + 'static>(
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

    /// Creates a project's keys and repository, unless they exist.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub async fn prepare(&self, project: ProjectId) -> Result<(), ReleaseError> {
        self.with_repositories(move |repositories, now| repositories.ensure(project, now))
            .await
    }
}

/// Returns a rollout's directive to one of its devices, with its counter.
pub(super) fn directive(
    project: ProjectId,
    rollout: &Rollout,
    target: &str,
    device: DeviceId,
    (action, again): (Action, bool),
) -> NewDirective {
    let policy: &Policy = &rollout.policy;
    // The device may get to the directive, and to its window, a day later.
    let waiting = policy.window.map_or(0, |_| DAY_S);
    NewDirective {
        project,
        audience: Audience::Device(device),
        action,
        target: target.to_owned(),
        valid_s: policy.deadline_s.max(policy.silence_s).saturating_add(waiting),
        // Devices do not count the time in which they wait for the window.
        deadline_s: policy.deadline_s,
        window: policy.window,
        max_bps: policy.max_bps,
        force_retry: again || rollout.force,
        approved: rollout.approved.clone(),
    }
}

/// Returns a counter above `before`, and above those that a cloud restored from a backup had given.
pub(super) fn counter(before: u64, now: UnixMs) -> u64 {
    u64::try_from(now).unwrap_or(0).max(before.saturating_add(1))
}
