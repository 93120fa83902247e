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
use watcher::{Item, Watcher, lock};

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

/// What a watcher gets beside messages and presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum WhatElse {
    #[default]
    Nothing,
    /// Log lines and answers to developer orders.
    Observed,
    /// Which parts have changed.
    Parts,
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
        what_else: WhatElse,
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
        let watcher = Arc::new(Watcher::new(self.next, what_else));
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
        let watcher = lock(&self.watchers).admit(what.project, &[what.device], WhatElse::Nothing)?;
        Ok(self.stream(watcher))
    }

    /// Admits a watcher for a page, which is also told which parts of what it watches have changed.
    ///
    /// # Errors
    /// As [`watch`](Self::watch).
    pub fn watch_for_page(&self, what: Watch) -> Result<LiveStream, TooManyWatchers> {
        let watcher = lock(&self.watchers).admit(what.project, &[what.device], WhatElse::Parts)?;
        Ok(self.stream(watcher))
    }

    /// Tells the pages that show a device, or something of the project, that parts of it have changed.
    pub fn changed(&self, project: ProjectId, device: Option<DeviceId>, parts: Parts) {
        if parts.is_empty() || self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let watchers = lock(&self.watchers);
        let devices = [Some(None), device.map(Some)];
        for device in devices.into_iter().flatten() {
            let list = watchers.lists.get(&Watch { project, device });
            for watcher in list.into_iter().flatten().filter_map(Weak::upgrade) {
                watcher.changed(parts);
            }
        }
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
        let watcher = lock(&self.watchers).admit(project, &devices, WhatElse::Observed)?;
        Ok(self.stream(watcher))
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
            {
                watcher.push(Item::Message(Arc::clone(
                    shared.get_or_insert_with(|| Arc::new(LiveMessage::new(message))),
                )));
            }
        }
    }

    /// Returns true if there is a watcher.
    pub(crate) fn is_watched(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    /// Hands a change of presence to the watchers of its device and of its project.
    pub(crate) fn publish_presence(&self, change: PresenceChange) {
        let (project, change) = (change.scope.project, Arc::new(change));
        let watchers = lock(&self.watchers);
        for device in [None, Some(change.scope.device)] {
            let list = watchers.lists.get(&Watch { project, device });
            for watcher in list.into_iter().flatten().filter_map(Weak::upgrade) {
                watcher.push(Item::Presence(Arc::clone(&change)));
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
            .filter(|watcher| watcher.what_else == WhatElse::Observed)
        {
            watcher.push(Item::Observed(Arc::clone(
                shared.get_or_insert_with(|| Arc::new(observed.clone())),
            )));
        }
    }
}

impl LiveStream {
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
mod tests {
    use iottly_protocol::MessageKind;

    use super::watcher::QUEUE_MESSAGES;
    use super::*;
    use iottly_core::ingest::ObservedRecord;
    use iottly_core::model::MessageId;

    fn message(project: u8, device: DeviceId, number: i64) -> StoredMessage {
        StoredMessage {
            id: MessageId([0; 12]),
            scope: Scope {
                project: ProjectId::from_bytes([project; 12]),
                device,
            },
            kind: MessageKind::UserDefined,
            timestamp: number,
            device_timestamp: 0,
            channel: None,
            payload: serde_json::value::to_raw_value(&number).expect("a number"),
            origin: None,
            firmware: None,
        }
    }

    #[tokio::test]
    async fn watchers_see_their_own_scope_only() {
        let hub = LiveHub::default();
        let (mine, other) = (DeviceId::random(), DeviceId::random());
        let project = ProjectId::from_bytes([1; 12]);
        let mut device = hub
            .watch(Watch {
                project,
                device: Some(mine),
            })
            .expect("admitted");
        let mut all = hub
            .watch(Watch {
                project,
                device: None,
            })
            .expect("admitted");
        hub.publish(&message(1, other, 1));
        hub.publish(&message(2, mine, 2));
        hub.publish(&message(1, mine, 3));
        assert!(matches!(device.recv().await, LiveEvent::Message(m) if m.timestamp == 3));
        assert!(matches!(all.recv().await, LiveEvent::Message(m) if m.timestamp == 1));
        assert!(matches!(all.recv().await, LiveEvent::Message(m) if m.timestamp == 3));
    }

    #[tokio::test]
    async fn pages_learn_once_which_parts_have_changed() {
        let hub = LiveHub::default();
        let (mine, other) = (DeviceId::random(), DeviceId::random());
        let project = ProjectId::from_bytes([1; 12]);
        let of = |device| Watch { project, device };
        let mut page = hub.watch_for_page(of(Some(mine))).expect("admitted");
        let mut all = hub.watch_for_page(of(None)).expect("admitted");
        let mut feed = hub.watch(of(None)).expect("admitted");
        for _ in 0..QUEUE_MESSAGES * 2 {
            hub.changed(project, Some(mine), Parts::COMMAND);
        }
        hub.changed(project, Some(mine), Parts::DEVICE);
        hub.changed(project, Some(other), Parts::CRASH);
        hub.changed(ProjectId::from_bytes([2; 12]), None, Parts::ALERT);
        let both = Parts::COMMAND | Parts::DEVICE;
        assert!(matches!(page.recv().await, LiveEvent::Changed(parts) if parts == both));
        assert!(page.ready().is_none());
        assert!(matches!(all.recv().await, LiveEvent::Changed(parts) if parts == both | Parts::CRASH));
        assert!(feed.ready().is_none(), "programs get what the API describes");
    }

    #[tokio::test]
    async fn a_slow_watcher_is_told_what_it_missed() {
        let hub = LiveHub::default();
        let device = DeviceId::random();
        let mut stream = hub
            .watch(Watch {
                project: ProjectId::from_bytes([1; 12]),
                device: None,
            })
            .expect("admitted");
        for number in 0..300 {
            hub.publish(&message(1, device, number));
        }
        assert!(matches!(stream.recv().await, LiveEvent::Lagged(44)));
        assert!(matches!(stream.recv().await, LiveEvent::Message(m) if m.timestamp == 44));
    }

    #[tokio::test]
    async fn a_developer_sees_the_log_of_the_chosen_devices_and_takes_one_place() {
        let hub = LiveHub::default();
        let project = ProjectId::from_bytes([1; 12]);
        let devices: Vec<_> = (1..=16u8).map(|n| DeviceId::from_bytes([n; 16])).collect();
        let mut held: Vec<_> = (0..MAX_PER_PROJECT - 1)
            .map(|_| hub.watch(of_project(1)).expect("admitted"))
            .collect();
        let mut stream = hub.watch_devices(project, devices.clone()).expect("admitted");
        assert!(hub.watch(of_project(1)).is_err(), "all places are taken");
        let line = |project: u8, device: DeviceId, text: &str| Observed {
            scope: Scope {
                project: ProjectId::from_bytes([project; 12]),
                device,
            },
            received: 1,
            what: ObservedRecord::Log(iottly_protocol::LogLine {
                level: iottly_protocol::Level::Info,
                text: text.into(),
                at_ms: 1,
                firmware: None,
            }),
        };
        hub.publish_observed(&line(2, devices[0], "of another project"));
        hub.publish_observed(&line(1, DeviceId::from_bytes([99; 16]), "of another device"));
        hub.publish_observed(&line(1, devices[15], "mine"));
        hub.publish(&message(1, devices[0], 7));
        let LiveEvent::Observed(seen) = stream.recv().await else {
            panic!("a line")
        };
        assert!(matches!(&seen.what, ObservedRecord::Log(line) if line.text == "mine"));
        assert!(matches!(stream.recv().await, LiveEvent::Message(m) if m.timestamp == 7));
        for _ in 0..QUEUE_MESSAGES + 3 {
            hub.publish_observed(&line(1, devices[1], "again"));
        }
        assert!(matches!(stream.recv().await, LiveEvent::Lagged(3)));
        assert!(
            matches!(held[0].recv().await, LiveEvent::Message(m) if m.timestamp == 7),
            "others get messages alone"
        );
        assert!(held[0].watcher.pop().is_none());
    }

    fn of_project(project: u8) -> Watch {
        Watch {
            project: ProjectId::from_bytes([project; 12]),
            device: None,
        }
    }

    #[test]
    fn a_project_has_its_share_and_gets_it_back() {
        let hub = LiveHub::default();
        let mut held: Vec<_> = (0..MAX_PER_PROJECT)
            .map(|_| hub.watch(of_project(1)).expect("admitted"))
            .collect();
        let one_device = Watch {
            device: Some(DeviceId::random()),
            ..of_project(1)
        };
        for refused in [of_project(1), one_device] {
            assert_eq!(hub.watch(refused).expect_err("full"), TooManyWatchers::Project);
        }
        assert!(hub.watch(of_project(2)).is_ok(), "others are not concerned");
        held.pop();
        assert!(hub.watch(one_device).is_ok());
    }

    #[tokio::test]
    async fn when_all_places_are_taken_the_busiest_project_gives_one_up() {
        let hub = LiveHub::default();
        let share = MAX_WATCHERS / 8;
        let wanted = (0..8u8).flat_map(|project| (0..share).map(move |_| of_project(project)));
        let held: Vec<_> = wanted.map(|what| hub.watch(what).expect("admitted")).collect();
        let mut late = hub.watch(of_project(9)).expect("at the cost of another");
        assert_eq!(held.len(), MAX_WATCHERS);
        let mut ended = 0;
        for stream in &held {
            ended += usize::from(
                stream
                    .watcher
                    .pop()
                    .is_some_and(|event| matches!(event, LiveEvent::Ended)),
            );
        }
        assert_eq!(ended, 1, "one place was needed");
        hub.publish(&message(9, DeviceId::random(), 5));
        assert!(matches!(late.recv().await, LiveEvent::Message(m) if m.timestamp == 5));
    }

    #[test]
    fn where_all_have_as_much_nobody_gives_way() {
        let hub = LiveHub::default();
        let held: Vec<_> = (0..=255u8)
            .map(|project| hub.watch(of_project(project)).expect("admitted"))
            .collect();
        assert_eq!(hub.watch(of_project(3)).expect_err("full"), TooManyWatchers::All);
        drop(held);
        assert!(hub.watch(of_project(3)).is_ok());
    }
}
