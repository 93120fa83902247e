//! Presence of devices as people and programs see it: derives it from the database and from the notes about links, and
//! tells watchers when it changes. The ingest decides who is online.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
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
/// Maximum number of devices that are read together to tell watchers of their presence.
const TOLD: usize = 100;
/// Pause after devices could not be read.
const RETRY: Duration = Duration::from_secs(1);
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
    changed: Changes,
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

/// Devices whose watchers are to be notified: each once, however often it changes, so that there are never more than the
/// watched projects have.
#[derive(Default)]
struct Changes {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Default)]
struct Waiting {
    order: VecDeque<Scope>,
    known: HashSet<Scope>,
}

impl Changes {
    fn add(&self, scope: Scope) {
        let mut waiting = self.waiting();
        if waiting.known.insert(scope) {
            waiting.order.push_back(scope);
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// Takes devices of one project, those that have waited longest.
    fn take(&self) -> Vec<Scope> {
        let mut waiting = self.waiting();
        let project = waiting.order.front().map(|scope| scope.project);
        let mut taken = Vec::new();
        while taken.len() < TOLD
            && let Some(scope) = waiting.order.pop_front_if(|scope| Some(scope.project) == project)
        {
            waiting.known.remove(&scope);
            taken.push(scope);
        }
        if !waiting.order.is_empty() {
            self.wake.notify_one();
        }
        taken
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Every change of the list is complete or was not begun.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PresenceService {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        live: Arc<LiveHub>,
        time: Arc<GuardedClock>,
        book: Arc<Book>,
    ) -> Self {
        Self {
            store,
            live,
            time,
            book,
            changed: Changes::default(),
        }
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
        if self.live.is_watched(scope) {
            self.changed.add(scope);
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
        if times.is_empty() {
            // More than that was written about the device since it sent last.
            times.extend(self.store.last_sent(scope).await?);
        }
        self.book.sent_before(scope, &times);
        Ok(times.last().copied())
    }

    /// Sends the watchers of devices of one project their presence.
    async fn tell(&self, scopes: &[Scope]) -> iottly_store::Result<()> {
        let Some(project) = scopes.first().map(|scope| scope.project) else {
            return Ok(());
        };
        let ids: Vec<_> = scopes.iter().map(|scope| scope.device).collect();
        for device in self.store.devices_with_ids(project, &ids).await? {
            let view = self.view(&device);
            self.live.publish_presence(PresenceChange {
                scope: device.scope,
                online: device.online,
                view,
            });
        }
        Ok(())
    }

    /// Runs until aborted: reads when the online devices sent last, then tells watchers of changes, and ends dead links.
    pub(crate) async fn run(self: Arc<Self>, broker: Arc<dyn Broker>, uplink: Arc<dyn Uplink>) {
        self.look_back_at_all().await;
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut swept = self.moment().date;
        loop {
            tokio::select! {
                () = self.changed.wake.notified() => {}
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
            }
            let scopes = self.changed.take();
            if let Err(error) = self.tell(&scopes).await {
                tracing::debug!(%error, devices = scopes.len(), "failed to read devices; watchers are notified of their presence in {} s", RETRY.as_secs());
                scopes.into_iter().for_each(|scope| self.changed.add(scope));
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    async fn tell_of_ended_absences(&self, after: UnixMs, until: UnixMs) {
        if !self.live.has_watchers() || until <= after {
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

#[cfg(test)]
mod tests {
    use iottly_protocol::{DeviceId, ProjectId};

    use super::*;

    #[test]
    fn however_many_devices_change_each_waits_once_and_none_is_lost() {
        let changes = Changes::default();
        let scope = |project: u8, n: u32| {
            let mut device = [0; 16];
            device[..4].copy_from_slice(&n.to_be_bytes());
            Scope {
                project: ProjectId::from_bytes([project; 12]),
                device: DeviceId::from_bytes(device),
            }
        };
        for n in 0..5000 {
            changes.add(scope(1, n % 2500));
        }
        changes.add(scope(2, 1));
        changes.add(scope(1, 7));
        let mut told = Vec::new();
        loop {
            let taken = changes.take();
            if taken.is_empty() {
                break;
            }
            assert!(taken.len() <= TOLD);
            assert!(taken.iter().all(|scope| scope.project == taken[0].project));
            told.extend(taken);
        }
        assert_eq!(told.len(), 2501);
        assert_eq!(told.iter().collect::<HashSet<_>>().len(), 2501);
        changes.add(scope(1, 7));
        assert_eq!(changes.take(), [scope(1, 7)], "a later change is published again");
    }
}
