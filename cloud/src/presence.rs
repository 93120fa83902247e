//! Presence of devices as people and programs see it: derives it from the database and from the notes about links, and
//! tells watchers when it changes. The ingest decides who is online.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::broker::{Broker, Uplink};
use crate::clock;
use crate::guarded_clock::GuardedClock;
use crate::links::{Book, Moment};
use crate::live::{LiveHub, PresenceChange};
use iottly_core::model::{Device, Scope, UnixMs};
use iottly_core::presence::View;
use iottly_protocol::ProjectId;
use iottly_store::Store;

/// Interval at which silent devices and dead links are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// Number of changes that watchers are to be notified of; beyond it, watchers learn of them when they ask.
const WAITING: usize = 1024;
/// Number of history entries of a device in which its last messages are looked for at the start.
const LOOKED_AT: usize = 64;
/// Maximum number of ended absences that watchers are notified of in one sweep.
const ENDED: usize = 1000;

/// Presence of devices.
pub struct PresenceService {
    store: Arc<dyn Store>,
    live: Arc<LiveHub>,
    time: Arc<GuardedClock>,
    book: Arc<Book>,
    changed: mpsc::Sender<Scope>,
}

/// Numbers of a project's devices.
#[derive(Debug, Clone, Copy)]
pub struct PresenceCounts {
    /// All devices.
    pub total: usize,
    /// Connected ones that send as usual.
    pub online: usize,
    /// Connected ones that have sent nothing for three usual pauses.
    pub silent: usize,
    /// Ones without a connection.
    pub offline: usize,
    /// Ones without a connection, as planned.
    pub absent: usize,
    /// Ones whose firmware failed too often.
    pub quarantined: usize,
    /// Ones that log in with a secret that does not expire.
    pub legacy: usize,
}

/// Changes that watchers are to be notified of.
pub(crate) struct Changes(mpsc::Receiver<Scope>);

impl PresenceService {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        live: Arc<LiveHub>,
        time: Arc<GuardedClock>,
        book: Arc<Book>,
    ) -> (Self, Changes) {
        let (changed, changes) = mpsc::channel(WAITING);
        let service = Self {
            store,
            live,
            time,
            book,
            changed,
        };
        (service, Changes(changes))
    }

    /// Returns the presence of a device now.
    #[must_use]
    pub fn view(&self, device: &Device) -> View {
        self.book.view(device, self.moment())
    }

    /// Returns the numbers of a project's devices by presence now.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn counts(&self, project: ProjectId) -> iottly_store::Result<PresenceCounts> {
        let now = self.moment();
        let recorded = self.store.device_counts(project, now.date).await?;
        let silent = self.book.silent(project, now).min(recorded.online);
        Ok(PresenceCounts {
            total: recorded.total,
            online: recorded.online - silent,
            silent,
            offline: recorded.total.saturating_sub(recorded.online + recorded.absent),
            absent: recorded.absent,
            quarantined: recorded.quarantined,
            legacy: recorded.legacy,
        })
    }

    /// Returns the time of the last message of a device's firmware; none if it never sent one.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn last_sent(&self, scope: Scope) -> iottly_store::Result<Option<UnixMs>> {
        if let Some(known) = self.book.last_sent(scope) {
            return Ok(known);
        }
        self.look_back(scope).await
    }

    /// Reports that the presence of a device may have changed, so that watchers are notified.
    pub fn changed(&self, scope: Scope) {
        if self.live.is_watched() {
            // A watcher that misses a change sees it when it asks.
            let _ = self.changed.try_send(scope);
        }
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment {
            steady: clock::steady_ms(),
            date: self.time.received(),
        }
    }

    async fn look_back(&self, scope: Scope) -> iottly_store::Result<Option<UnixMs>> {
        let mut times = self.store.sent_times(scope, LOOKED_AT).await?;
        times.reverse();
        self.book.sent_before(scope, &times);
        Ok(times.last().copied())
    }

    async fn tell(&self, scope: Scope) -> iottly_store::Result<()> {
        if let Some(device) = self.store.device(scope).await? {
            let view = self.view(&device);
            self.live.publish_presence(PresenceChange {
                scope,
                online: device.online,
                view,
            });
        }
        Ok(())
    }

    /// Runs until aborted: reads when the online devices sent last, then tells watchers of changes, and ends dead links.
    pub(crate) async fn run(
        self: Arc<Self>,
        mut changes: Changes,
        broker: Arc<dyn Broker>,
        uplink: Arc<dyn Uplink>,
    ) {
        self.look_back_at_all().await;
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut swept = self.moment().date;
        loop {
            let scope = tokio::select! {
                scope = changes.0.recv() => scope,
                _ = sweep.tick() => {
                    let now = self.moment();
                    let (turned, overdue) = self.book.sweep(now);
                    for scope in overdue {
                        tracing::debug!(device.id = %scope.device, "a device is silent beyond its keep-alive; closing its connection");
                        broker.disconnect(scope.device).await;
                        uplink.disconnected(scope.device).await;
                    }
                    turned.into_iter().for_each(|scope| self.changed(scope));
                    self.tell_of_ended_absences(swept, now.date).await;
                    swept = now.date;
                    continue;
                }
            };
            let Some(scope) = scope else { return };
            if let Err(error) = self.tell(scope).await {
                tracing::debug!(device.id = %scope.device, %error, "failed to read a device; watchers are not notified of its presence");
            }
        }
    }

    async fn tell_of_ended_absences(&self, after: UnixMs, until: UnixMs) {
        if !self.live.is_watched() || until <= after {
            return;
        }
        match self.store.absences_ended(after, until, ENDED).await {
            Ok(ended) => ended.into_iter().for_each(|scope| self.changed(scope)),
            Err(error) => {
                tracing::debug!(%error, "failed to read ended absences; watchers are not notified of them");
            }
        }
    }

    async fn look_back_at_all(&self) {
        let online = match self.store.online_devices().await {
            Ok(online) => online,
            Err(error) => {
                tracing::warn!(%error, "failed to read the online devices; they count as silent only after they have sent again");
                return;
            }
        };
        for scope in online {
            if let Err(error) = self.look_back(scope).await {
                tracing::debug!(device.id = %scope.device, %error, "failed to read when a device sent last; it counts as silent only after it has sent again");
            }
        }
    }
}
