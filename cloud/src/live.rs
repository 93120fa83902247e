//! Stored messages as they are stored, for those who watch.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use iottly_protocol::{DeviceId, ProjectId};
use tokio::sync::Notify;

use crate::model::StoredMessage;

/// Most messages that wait for one slow watcher.
const QUEUE_MESSAGES: usize = 256;
/// Most payload bytes that wait for one slow watcher; a single larger message still passes alone.
const QUEUE_BYTES: usize = 1 << 20;
/// Most watchers at a time; with the two bounds above, the hub holds at most 256 MiB.
const MAX_WATCHERS: usize = 256;

/// Whose messages a watcher wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Watch {
    /// The project; messages of other projects never reach the watcher.
    pub project: ProjectId,
    /// One device of it; none for all.
    pub device: Option<DeviceId>,
}

/// What a watcher receives.
#[derive(Debug, Clone)]
pub enum LiveEvent {
    /// A message that is stored now.
    Message(Arc<StoredMessage>),
    /// The watcher was too slow: so many messages were skipped. They are in the history.
    Lagged(u64),
}

/// Why a watcher was not admitted.
#[derive(Debug, thiserror::Error)]
#[error("{MAX_WATCHERS} watchers are connected already")]
pub struct TooManyWatchers;

/// Hands stored messages to watchers; never waits for one.
#[derive(Debug, Default)]
pub struct LiveHub {
    watchers: Mutex<HashMap<Watch, Vec<Weak<Watcher>>>>,
    count: Arc<AtomicUsize>,
}

/// A watcher's end.
#[derive(Debug)]
pub struct LiveStream {
    watcher: Arc<Watcher>,
    count: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Watcher {
    queue: Mutex<Queue>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Arc<StoredMessage>>,
    bytes: usize,
    skipped: u64,
}

impl LiveHub {
    /// Admits a watcher; it sees what is stored from now on.
    ///
    /// # Errors
    /// When 256 watchers are connected.
    pub fn watch(&self, what: Watch) -> Result<LiveStream, TooManyWatchers> {
        let admitted = self.count.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < MAX_WATCHERS).then_some(n + 1));
        admitted.map_err(|_| TooManyWatchers)?;
        let watcher = Arc::new(Watcher::default());
        let mut watchers = lock(&self.watchers);
        watchers.retain(|_, list| {
            list.retain(|watcher| watcher.strong_count() > 0);
            !list.is_empty()
        });
        watchers.entry(what).or_default().push(Arc::downgrade(&watcher));
        Ok(LiveStream { watcher, count: Arc::clone(&self.count) })
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
            for watcher in watchers.get(&Watch { project, device }).into_iter().flatten().filter_map(Weak::upgrade) {
                watcher.push(Arc::clone(shared.get_or_insert_with(|| Arc::new(message.clone()))));
            }
        }
    }
}

impl Watcher {
    fn push(&self, message: Arc<StoredMessage>) {
        let mut queue = lock(&self.queue);
        queue.bytes += message.payload.get().len();
        queue.messages.push_back(message);
        while queue.messages.len() > 1 && (queue.messages.len() > QUEUE_MESSAGES || queue.bytes > QUEUE_BYTES) {
            if let Some(dropped) = queue.messages.pop_front() {
                queue.bytes -= dropped.payload.get().len();
                queue.skipped += 1;
            }
        }
        drop(queue);
        self.wake.notify_one();
    }

    fn pop(&self) -> Option<LiveEvent> {
        let mut queue = lock(&self.queue);
        if queue.skipped > 0 {
            return Some(LiveEvent::Lagged(std::mem::take(&mut queue.skipped)));
        }
        let message = queue.messages.pop_front()?;
        queue.bytes -= message.payload.get().len();
        Some(LiveEvent::Message(message))
    }
}

impl LiveStream {
    /// The next event; waits until there is one. Cancel-safe.
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use iottly_protocol::MessageKind;

    use super::*;
    use crate::model::{MessageId, Scope};

    fn message(project: u8, device: DeviceId, number: i64) -> StoredMessage {
        StoredMessage {
            id: MessageId([0; 12]),
            scope: Scope { project: ProjectId::from_bytes([project; 12]), device },
            kind: MessageKind::UserDefined,
            timestamp: number,
            device_timestamp: 0,
            channel: None,
            payload: serde_json::value::to_raw_value(&number).expect("a number"),
            origin: None,
        }
    }

    #[tokio::test]
    async fn watchers_see_their_own_scope_only() {
        let hub = LiveHub::default();
        let (mine, other) = (DeviceId::random(), DeviceId::random());
        let project = ProjectId::from_bytes([1; 12]);
        let mut device = hub.watch(Watch { project, device: Some(mine) }).expect("admitted");
        let mut all = hub.watch(Watch { project, device: None }).expect("admitted");
        hub.publish(&message(1, other, 1));
        hub.publish(&message(2, mine, 2));
        hub.publish(&message(1, mine, 3));
        assert!(matches!(device.recv().await, LiveEvent::Message(m) if m.timestamp == 3));
        assert!(matches!(all.recv().await, LiveEvent::Message(m) if m.timestamp == 1));
        assert!(matches!(all.recv().await, LiveEvent::Message(m) if m.timestamp == 3));
    }

    #[tokio::test]
    async fn a_slow_watcher_is_told_what_it_missed() {
        let hub = LiveHub::default();
        let device = DeviceId::random();
        let mut stream = hub.watch(Watch { project: ProjectId::from_bytes([1; 12]), device: None }).expect("admitted");
        for number in 0..300 {
            hub.publish(&message(1, device, number));
        }
        assert!(matches!(stream.recv().await, LiveEvent::Lagged(44)));
        assert!(matches!(stream.recv().await, LiveEvent::Message(m) if m.timestamp == 44));
    }

    #[test]
    fn watchers_are_bounded_and_leave() {
        let hub = LiveHub::default();
        let watch = Watch { project: ProjectId::from_bytes([1; 12]), device: None };
        let held: Vec<_> = (0..MAX_WATCHERS).map(|_| hub.watch(watch).expect("admitted")).collect();
        assert!(hub.watch(watch).is_err());
        drop(held);
        assert!(hub.watch(watch).is_ok());
    }
}
