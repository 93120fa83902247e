//! Fair admission of expensive work: one queue per key, served in turn.
//!
//! Work whose cost a tenant chooses (builds, filters over a history, exports) takes a turn here first. A key
//! with a lot of queued work delays only itself: keys are served one after the other, however much work each
//! of them has waiting.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Limits of a [`FairQueue`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct FairQueueLimits {
    /// Maximum number of turns at the same time, over all keys.
    pub(crate) running: usize,
    /// Maximum number of turns of a key at the same time.
    pub(crate) running_per_key: usize,
    /// Maximum number of waiting requests of a key; further ones are refused.
    pub(crate) waiting_per_key: usize,
}

/// Refusal of a turn: the key's queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many requests of this kind are waiting for the project; try again when one has finished")]
pub struct QueueFull;

/// Queue that hands out turns, key by key; cheap to clone.
#[derive(Debug)]
pub(crate) struct FairQueue<K: Eq + Hash + Copy> {
    shared: Arc<Shared<K>>,
}

#[derive(Debug)]
struct Shared<K: Eq + Hash + Copy> {
    limits: FairQueueLimits,
    state: Mutex<State<K>>,
}

#[derive(Debug)]
struct State<K: Eq + Hash + Copy> {
    running: usize,
    /// Entries of the keys that run or wait.
    keys: HashMap<K, Key<K>>,
    /// Keys with waiting requests, in the order in which they are served next.
    order: VecDeque<K>,
}

#[derive(Debug)]
struct Key<K: Eq + Hash + Copy> {
    running: usize,
    waiting: VecDeque<oneshot::Sender<Turn<K>>>,
}

impl<K: Eq + Hash + Copy> Default for Key<K> {
    fn default() -> Self {
        Self {
            running: 0,
            waiting: VecDeque::new(),
        }
    }
}

/// Permission to do one piece of work; ends when it is dropped. Move it into the work, so that an abandoned
/// request keeps its turn until the work has really ended.
#[derive(Debug)]
pub struct Turn<K: Eq + Hash + Copy> {
    key: K,
    shared: Option<Arc<Shared<K>>>,
}

impl<K: Eq + Hash + Copy> Clone for FairQueue<K> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<K: Eq + Hash + Copy> FairQueue<K> {
    /// Creates an empty queue.
    #[must_use]
    pub(crate) fn new(limits: FairQueueLimits) -> Self {
        let state = State {
            running: 0,
            keys: HashMap::new(),
            order: VecDeque::new(),
        };
        Self {
            shared: Arc::new(Shared {
                limits,
                state: Mutex::new(state),
            }),
        }
    }

    /// Waits for a turn of `key`. Dropping the future frees the place in the queue.
    ///
    /// # Errors
    /// [`QueueFull`] at once when the key has `waiting_per_key` requests waiting.
    pub(crate) async fn take(&self, key: K) -> Result<Turn<K>, QueueFull> {
        let waiting = {
            let mut state = self.shared.lock();
            let limits = self.shared.limits;
            let entry = state.keys.entry(key).or_default();
            entry.waiting.retain(|waiting| !waiting.is_closed());
            if entry.waiting.len() >= limits.waiting_per_key && !self.can_start(&state, key) {
                return Err(QueueFull);
            }
            let (sender, receiver) = oneshot::channel();
            let entry = state.keys.entry(key).or_default();
            entry.waiting.push_back(sender);
            if !state.order.contains(&key) {
                state.order.push_back(key);
            }
            receiver
        };
        Shared::serve(&self.shared);
        // The sender is only dropped without a turn when the queue is dropped, which `self` prevents.
        waiting.await.map_err(|_| QueueFull)
    }

    fn can_start(&self, state: &State<K>, key: K) -> bool {
        let limits = self.shared.limits;
        let entry = state.keys.get(&key);
        state.running < limits.running
            && entry.is_none_or(|entry| entry.running < limits.running_per_key && entry.waiting.is_empty())
    }
}

impl<K: Eq + Hash + Copy> Shared<K> {
    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash + Copy> Shared<K> {
    /// Gives free turns to waiting requests.
    fn serve(shared: &Arc<Self>) {
        loop {
            let Some((key, sender)) = shared.lock().next(shared.limits) else {
                return;
            };
            let turn = Turn {
                key,
                shared: Some(Arc::clone(shared)),
            };
            // The request was abandoned. Dropping the returned turn would serve again from within this call,
            // so it is counted down here instead.
            if let Err(mut unused) = sender.send(turn) {
                unused.shared = None;
                shared.lock().ended(key);
            }
        }
    }
}

impl<K: Eq + Hash + Copy> State<K> {
    /// Removes the next waiting request, round-robin over the keys, and counts it as running.
    fn next(&mut self, limits: FairQueueLimits) -> Option<(K, oneshot::Sender<Turn<K>>)> {
        if self.running >= limits.running {
            return None;
        }
        for _ in 0..self.order.len() {
            let key = self.order.pop_front()?;
            let Some(entry) = self.keys.get_mut(&key) else {
                continue;
            };
            if entry.running >= limits.running_per_key {
                self.order.push_back(key);
                continue;
            }
            let Some(sender) = entry.waiting.pop_front() else {
                continue;
            };
            entry.running += 1;
            self.running += 1;
            if !entry.waiting.is_empty() {
                self.order.push_back(key);
            }
            return Some((key, sender));
        }
        None
    }

    fn ended(&mut self, key: K) {
        self.running -= 1;
        let Some(entry) = self.keys.get_mut(&key) else {
            return;
        };
        entry.running -= 1;
        if entry.running == 0 && entry.waiting.is_empty() {
            self.keys.remove(&key);
        }
    }
}

impl<K: Eq + Hash + Copy> Drop for Turn<K> {
    fn drop(&mut self) {
        let Some(shared) = self.shared.take() else { return };
        shared.lock().ended(self.key);
        Shared::serve(&shared);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FairQueueLimits = FairQueueLimits {
        running: 2,
        running_per_key: 1,
        waiting_per_key: 2,
    };

    async fn soon<F: Future>(future: F) -> Option<F::Output> {
        tokio::time::timeout(std::time::Duration::from_millis(20), future)
            .await
            .ok()
    }

    #[tokio::test]
    async fn a_key_waits_behind_itself_only() {
        let turns = FairQueue::new(LIMITS);
        let first = turns.take('a').await.expect("a free turn");
        let second = tokio::spawn({
            let turns = turns.clone();
            async move { turns.take('a').await }
        });
        assert!(
            soon(turns.take('b')).await.is_some(),
            "another key is not behind the first one"
        );
        assert!(!second.is_finished());
        drop(first);
        assert!(second.await.expect("no panic").is_ok());
    }

    #[tokio::test]
    async fn keys_are_served_in_turn_and_a_full_queue_refuses() {
        let turns = FairQueue::new(FairQueueLimits { running: 1, ..LIMITS });
        let running = turns.take('a').await.expect("a free turn");
        let (done, mut order) = tokio::sync::mpsc::unbounded_channel();
        for key in ['a', 'a', 'b'] {
            let (turns, done) = (turns.clone(), done.clone());
            tokio::spawn(async move {
                let turn = turns.take(key).await.expect("a place in the queue");
                done.send(key).expect("the test listens");
                drop(turn);
            });
            tokio::task::yield_now().await;
        }
        assert_eq!(turns.take('a').await.err(), Some(QueueFull));
        drop(running);
        assert_eq!(
            [order.recv().await, order.recv().await, order.recv().await],
            [Some('a'), Some('b'), Some('a')]
        );
    }

    #[tokio::test]
    async fn an_abandoned_request_frees_its_place_and_nothing_is_kept() {
        let turns = FairQueue::new(FairQueueLimits { running: 1, ..LIMITS });
        let running = turns.take('a').await.expect("a free turn");
        for _ in 0..10 {
            assert!(soon(turns.take('a')).await.is_none());
        }
        drop(running);
        drop(turns.take('a').await.expect("a free turn"));
        let state = turns.shared.lock();
        assert!(state.keys.is_empty() && state.order.is_empty() && state.running == 0);
    }
}
