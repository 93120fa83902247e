//! The queue of one watcher: bounded, and what does not fit is counted. Presence has a place of its own, where messages
//! do not drive it out. Knows no other watcher.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iottly_protocol::DeviceId;
use tokio::sync::Notify;

use super::{LiveEvent, LiveMessage, Parts, PresenceChange};
use iottly_core::ingest::{Observed, ObservedRecord};

/// Maximum number of messages queued for a slow watcher.
pub(super) const QUEUE_MESSAGES: usize = 256;
/// Maximum payload bytes queued for a slow watcher; a single larger message is still queued alone.
const QUEUE_BYTES: usize = 1 << 20;

/// Maximum number of devices whose presence waits for a slow watcher; above, all is dropped, and the watcher asks again.
pub(super) const QUEUE_PRESENCES: usize = 1024;

/// Kind of a watcher, by what it gets beside presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kind {
    /// Messages.
    #[default]
    Page,
    /// Nothing.
    Presence,
    /// Messages, log lines and answers to developer orders.
    Developer,
}

/// Watcher with its bounded queue.
#[derive(Debug, Default)]
pub(super) struct Watcher {
    /// Position in the order in which watchers were admitted.
    pub(super) number: u64,
    pub(super) kind: Kind,
    /// True for the watcher of a page, which is also told which parts have changed.
    pub(super) wants_parts: AtomicBool,
    queue: Mutex<Queue>,
    pub(super) wake: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
    skipped: u64,
    /// Devices whose presence waits, in the order of their first change, and the latest presence of each.
    turns: VecDeque<DeviceId>,
    presences: HashMap<DeviceId, Arc<PresenceChange>>,
    presence_skipped: bool,
    changed: Parts,
    ended: bool,
}

/// Entry of a queue.
#[derive(Debug)]
pub(super) enum Item {
    Message(Arc<LiveMessage>),
    Observed(Arc<Observed>),
}

impl Item {
    /// Returns the bytes of the item that a device chose.
    fn len(&self) -> usize {
        match self {
            Self::Message(message) => message.payload.get().len(),
            Self::Observed(observed) => match &observed.what {
                ObservedRecord::Log(line) => line.text.len(),
                ObservedRecord::Developer(report) => report.detail.as_ref().map_or(0, String::len),
            },
        }
    }
}

impl Watcher {
    pub(super) fn new(number: u64, kind: Kind) -> Self {
        Self {
            number,
            kind,
            ..Self::default()
        }
    }

    /// Ends the feed: what is queued is dropped.
    pub(super) fn end(&self) {
        let mut queue = lock(&self.queue);
        *queue = Queue {
            ended: true,
            ..Queue::default()
        };
        drop(queue);
        self.wake.notify_one();
    }

    /// Notes that parts have changed, for a watcher that wants to know.
    pub(super) fn changed(&self, parts: Parts) {
        if !self.wants_parts.load(Ordering::Relaxed) {
            return;
        }
        let mut queue = lock(&self.queue);
        queue.changed = queue.changed | parts;
        drop(queue);
        self.wake.notify_one();
    }

    /// Adds an entry; where the queue is full, the oldest ones are skipped.
    pub(super) fn push(&self, item: Item) {
        let mut queue = lock(&self.queue);
        if queue.ended {
            return;
        }
        queue.bytes += item.len();
        queue.items.push_back(item);
        while queue.items.len() > 1 && (queue.items.len() > QUEUE_MESSAGES || queue.bytes > QUEUE_BYTES) {
            if let Some(dropped) = queue.items.pop_front() {
                queue.bytes -= dropped.len();
                queue.skipped += 1;
            }
        }
        drop(queue);
        self.wake.notify_one();
    }

    /// Adds the presence of a device; of several of a device, only the latest waits.
    pub(super) fn push_presence(&self, change: Arc<PresenceChange>) {
        let mut queue = lock(&self.queue);
        if queue.ended {
            return;
        }
        let device = change.scope.device;
        if queue.presences.insert(device, change).is_none() {
            queue.turns.push_back(device);
        }
        if queue.turns.len() > QUEUE_PRESENCES {
            queue.turns.clear();
            queue.presences.clear();
            queue.presence_skipped = true;
        }
        drop(queue);
        self.wake.notify_one();
    }

    /// Returns the next event, if there is one: presence before messages.
    pub(super) fn pop(&self) -> Option<LiveEvent> {
        let mut queue = lock(&self.queue);
        if queue.ended {
            return Some(LiveEvent::Ended);
        }
        if std::mem::take(&mut queue.presence_skipped) {
            return Some(LiveEvent::PresenceSkipped);
        }
        while let Some(device) = queue.turns.pop_front() {
            if let Some(change) = queue.presences.remove(&device) {
                return Some(LiveEvent::Presence(change));
            }
        }
        if queue.skipped > 0 {
            return Some(LiveEvent::Lagged(std::mem::take(&mut queue.skipped)));
        }
        if !queue.changed.is_empty() {
            return Some(LiveEvent::Changed(std::mem::take(&mut queue.changed)));
        }
        let item = queue.items.pop_front()?;
        queue.bytes -= item.len();
        Some(match item {
            Item::Message(message) => LiveEvent::Message(message),
            Item::Observed(observed) => LiveEvent::Observed(observed),
        })
    }
}

/// Locks data that is whole at every moment, also after a panic.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
