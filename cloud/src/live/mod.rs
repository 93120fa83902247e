//! Live feed: hands stored messages to watchers as they are stored, and to those that ask for it log lines and answers
//! to developer orders. Never reads from the store, and never waits for a watcher.

mod parts;
mod watcher;

use std::collections::{HashMap, HashSet};
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use iottly_protocol::{DeviceId, ProjectId};
use tokio::sync::OnceCell;

use iottly_core::ingest::Observed;
use iottly_core::model::{Scope, StoredMessage};
use iottly_core::presence::View;
pub use parts::Parts;
use watcher::{Item, Kind, Watcher, lock};

/// Maximum number of watchers; with the limits of their queues, the hub holds at most 256 MiB.
const MAX_WATCHERS: usize = 256;
/// Maximum number of watchers of a project. When the hub is full, the project with the most watchers loses
/// one to a project with fewer.
const MAX_PER_PROJECT: usize = 64;

/// Messages that a watcher subscribes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Watch {
    /// Project; a watcher never gets messages of other projects.
    pub project: ProjectId,
    /// Device of the project; `None` for all devices.
    pub device: Option<DeviceId>,
}

/// Event for a watcher.
#[derive(Debug, Clone)]
pub enum LiveEvent {
    /// Message that was stored.
    Message(Arc<LiveMessage>),
    /// Log line, or answer to a developer order.
    Observed(Arc<Observed>),
    /// Presence of a device that has changed.
    Presence(Arc<PresenceChange>),
    /// Parts of the project, or of the device, that have changed. Only for watchers of pages.
    Changed(Parts),
    /// Changes of presence were left out because the watcher was too slow: it asks for the presence of its devices.
    PresenceSkipped,
    /// Number of messages and observed records that were skipped because the watcher was too slow. The messages are in
    /// the history.
    Lagged(u64),
    /// End of the feed: the watcher's place was given to another project.
    Ended,
}

/// Message that was stored, with the text in which it is shown: that is made once for all watchers.
#[derive(Debug)]
pub struct LiveMessage {
    message: StoredMessage,
    shown: OnceCell<Box<str>>,
}

impl LiveMessage {
    fn new(message: &StoredMessage) -> Self {
        Self {
            message: message.clone(),
            shown: OnceCell::new(),
        }
    }

    /// Returns the text in which the message is shown; the first caller makes it, and the others wait for it.
    pub async fn shown(&self, make: impl Future<Output = String>) -> &str {
        let make = async || make.await.into_boxed_str();
        self.shown.get_or_init(make).await
    }
}

impl Deref for LiveMessage {
    type Target = StoredMessage;

    fn deref(&self) -> &StoredMessage {
        &self.message
    }
}

/// Presence of a device after a change.
#[derive(Debug, Clone)]
pub struct PresenceChange {
    /// The device.
    pub scope: Scope,
    /// True if the device is connected.
    pub online: bool,
    /// Presence as people are shown it.
    pub view: View,
}

/// Refusal of a watcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooManyWatchers {
    /// The project has its maximum of watchers.
    #[error("the project already has {MAX_PER_PROJECT} watchers, the maximum")]
    Project,
    /// The hub is full, and no project has more watchers than this one would have.
    #[error("the cloud already has {MAX_WATCHERS} watchers, the maximum")]
    All,
}

/// Hands stored messages to watchers; never waits for one.
#[derive(Debug, Default)]
pub struct LiveHub {
    watchers: Mutex<Watchers>,
    /// Number of watchers, so that a publisher can skip an empty table.
    count: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Watchers {
    lists: HashMap<Watch, Vec<Weak<Watcher>>>,
    /// Number of the next watcher.
    next: u64,
}

/// Receiving end of a watcher.
#[derive(Debug)]
pub struct LiveStream {
    watcher: Arc<Watcher>,
    count: Arc<AtomicUsize>,
}

impl Watchers {
    /// Admits a watcher of one or several devices of a project, or of the whole project; when the hub is full, ends the
    /// oldest watcher of the project with the most.
    fn admit(
        &mut self,
        project: ProjectId,
        devices: &[Option<DeviceId>],
        kind: Kind,
    ) -> Result<Arc<Watcher>, TooManyWatchers> {
        self.lists.retain(|_, list| {
            list.retain(|watcher| watcher.strong_count() > 0);
            !list.is_empty()
        });
        let shares = self.shares();
        let own = shares.get(&project).copied().unwrap_or(0);
        if own >= MAX_PER_PROJECT {
            return Err(TooManyWatchers::Project);
        }
        if shares.values().sum::<usize>() >= MAX_WATCHERS {
            let busiest = shares
                .into_iter()
                .filter(|(_, share)| *share > own + 1)
                .max_by_key(|(_, share)| *share);
            self.end_oldest(busiest.ok_or(TooManyWatchers::All)?.0);
        }
        let watcher = Arc::new(Watcher::new(self.next, kind));
        self.next += 1;
        for device in devices {
            let what = Watch {
                project,
                device: *device,
            };
            self.lists.entry(what).or_default().push(Arc::downgrade(&watcher));
        }
        Ok(watcher)
    }

    /// Returns the number of watchers of each project; one of several devices counts once.
    fn shares(&self) -> HashMap<ProjectId, usize> {
        let mut watchers: HashMap<ProjectId, HashSet<*const Watcher>> = HashMap::new();
        for (what, list) in &self.lists {
            let known = watchers.entry(what.project).or_default();
            known.extend(list.iter().map(Weak::as_ptr));
        }
        watchers
            .into_iter()
            .map(|(project, watchers)| (project, watchers.len()))
            .collect()
    }

    /// Ends the oldest watcher of a project.
    fn end_oldest(&mut self, project: ProjectId) {
        let of_project = self.lists.iter().filter(|(what, _)| what.project == project);
        let oldest = of_project
            .flat_map(|(_, list)| list)
            .filter_map(Weak::upgrade)
            .min_by_key(|watcher| watcher.number);
        let Some(oldest) = oldest else { return };
        oldest.end();
        for list in self.lists.values_mut() {
            list.retain(|watcher| watcher.as_ptr() != Arc::as_ptr(&oldest));
        }
    }
}

impl LiveHub {
    /// Admits a watcher, which gets the messages that are stored from now on.
    ///
    /// # Errors
    /// [`TooManyWatchers`] if the project has 64 watchers, or if the hub has 256 and no other project has more than this
    /// one would have.
    pub fn watch(&self, what: Watch) -> Result<LiveStream, TooManyWatchers> {
        let watcher = lock(&self.watchers).admit(what.project, &[what.device], Kind::Page)?;
        Ok(self.stream(watcher))
    }

    /// Admits a watcher of some devices, which gets their messages and their presence.
    ///
    /// # Errors
    /// As [`watch`](Self::watch).
    pub fn watch_some(
        &self,
        project: ProjectId,
        devices: &[DeviceId],
    ) -> Result<LiveStream, TooManyWatchers> {
        let devices: Vec<_> = devices.iter().copied().map(Some).collect();
        let watcher = lock(&self.watchers).admit(project, &devices, Kind::Page)?;
        Ok(self.stream(watcher))
    }

    /// Admits a watcher of the presence of all devices of a project, which gets no messages.
    ///
    /// # Errors
    /// As [`watch`](Self::watch).
    pub fn watch_presence(&self, project: ProjectId) -> Result<LiveStream, TooManyWatchers> {
        let watcher = lock(&self.watchers).admit(project, &[None], Kind::Presence)?;
        Ok(self.stream(watcher))
    }

    /// Admits a watcher of some devices, which gets their messages, their log lines and their answers to developer orders
    /// from now on.
    ///
    /// # Errors
    /// As [`watch`](Self::watch).
    pub fn watch_devices(
        &self,
        project: ProjectId,
        devices: impl IntoIterator<Item = DeviceId>,
    ) -> Result<LiveStream, TooManyWatchers> {
        let devices: Vec<_> = devices.into_iter().map(Some).collect();
        let watcher = lock(&self.watchers).admit(project, &devices, Kind::Developer)?;
        Ok(self.stream(watcher))
    }

    /// Notifies the pages that show a device, or something of the project, that parts of it have changed.
    pub fn changed(&self, project: ProjectId, device: Option<DeviceId>, parts: Parts) {
        if parts.is_empty() || !self.has_watchers() {
            return;
        }
        let watchers = lock(&self.watchers);
        let concerned = watchers.lists.iter().filter(|(what, _)| {
            what.project == project && (device.is_none() || what.device.is_none() || what.device == device)
        });
        for watcher in concerned.flat_map(|(_, list)| list).filter_map(Weak::upgrade) {
            watcher.changed(parts);
        }
    }

    fn stream(&self, watcher: Arc<Watcher>) -> LiveStream {
        self.count.fetch_add(1, Ordering::AcqRel);
        LiveStream {
            watcher,
            count: Arc::clone(&self.count),
        }
    }

    /// Hands a message to the watchers of its device and of its project.
    pub fn publish(&self, message: &StoredMessage) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let project = message.scope.project;
        let watchers = lock(&self.watchers);
        let mut shared = None;
        for device in [None, Some(message.scope.device)] {
            for watcher in watchers
                .lists
                .get(&Watch { project, device })
                .into_iter()
                .flatten()
                .filter_map(Weak::upgrade)
                .filter(|watcher| watcher.kind != Kind::Presence)
            {
                watcher.push(Item::Message(Arc::clone(
                    shared.get_or_insert_with(|| Arc::new(LiveMessage::new(message))),
                )));
            }
        }
    }

    /// Returns true if there is a watcher.
    pub(crate) fn has_watchers(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    /// Returns true if a device or its project has a watcher.
    pub(crate) fn is_watched(&self, scope: Scope) -> bool {
        let project = scope.project;
        self.has_watchers() && {
            let watchers = lock(&self.watchers);
            [None, Some(scope.device)].into_iter().any(|device| {
                let list = watchers.lists.get(&Watch { project, device });
                list.is_some_and(|list| list.iter().any(|watcher| watcher.strong_count() > 0))
            })
        }
    }

    /// Hands a change of presence to the watchers of its device and of its project.
    pub(crate) fn publish_presence(&self, change: PresenceChange) {
        let (project, change) = (change.scope.project, Arc::new(change));
        let watchers = lock(&self.watchers);
        for device in [None, Some(change.scope.device)] {
            let list = watchers.lists.get(&Watch { project, device });
            for watcher in list.into_iter().flatten().filter_map(Weak::upgrade) {
                watcher.push_presence(Arc::clone(&change));
            }
        }
    }

    /// Hands a log line or an answer to a developer order to the watchers of its device that get them.
    pub fn publish_observed(&self, observed: &Observed) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let what = Watch {
            project: observed.scope.project,
            device: Some(observed.scope.device),
        };
        let watchers = lock(&self.watchers);
        let list = watchers.lists.get(&what).into_iter().flatten();
        let mut shared = None;
        for watcher in list
            .filter_map(Weak::upgrade)
            .filter(|watcher| watcher.kind == Kind::Developer)
        {
            watcher.push(Item::Observed(Arc::clone(
                shared.get_or_insert_with(|| Arc::new(observed.clone())),
            )));
        }
    }
}

impl LiveStream {
    /// Returns the same stream for a page, which is also told which parts of what it watches have changed.
    #[must_use]
    pub fn for_page(self) -> Self {
        self.watcher.wants_parts.store(true, Ordering::Relaxed);
        self
    }

    /// Returns the next event if it is there.
    pub fn ready(&mut self) -> Option<LiveEvent> {
        self.watcher.pop()
    }

    /// Returns the next event; waits until there is one. Cancel-safe.
    pub async fn recv(&mut self) -> LiveEvent {
        loop {
            if let Some(event) = self.watcher.pop() {
                return event;
            }
            self.watcher.wake.notified().await;
        }
    }
}

impl Drop for LiveStream {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests;
