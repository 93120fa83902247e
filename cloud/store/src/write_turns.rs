//! Turns of the writers that serve requests.
//!
//! Many requests of one tenant at the same time must not delay the others: each lane has one writer at a time, and all
//! lanes together have a few. Everything else that writes (ingest first of all) takes no turn, so it waits for these
//! few only and never behind a queue of requests.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use iottly_core::model::OrganizationId;
use iottly_protocol::ProjectId;
use tokio::sync::{OwnedMutexGuard, Semaphore, SemaphorePermit};

/// The requests that queue behind each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    /// Requests of one project.
    Project(ProjectId),
    /// Requests of one organization.
    Organization(OrganizationId),
    /// Requests of boards that are not yet known to belong to a project.
    Enrolment,
}

type Queue = Arc<tokio::sync::Mutex<()>>;

/// The lanes in use and the turns of all of them.
#[derive(Debug)]
pub(super) struct WriteTurns {
    lanes: Mutex<HashMap<Lane, Queue>>,
    all: Semaphore,
}

/// The right to write for a lane, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    // Dropped in this order: a lane that is left is free.
    _one_of_all: SemaphorePermit<'a>,
    _first_of_lane: OwnedMutexGuard<()>,
    _place: Place<'a>,
}

/// A place in a lane's queue; the last one to leave removes the lane.
#[derive(Debug)]
struct Place<'a> {
    turns: &'a WriteTurns,
    lane: Lane,
    queue: Queue,
}

impl WriteTurns {
    /// Returns an order in which `count` lanes write at the same time.
    pub(super) fn new(count: usize) -> Self {
        Self {
            lanes: Mutex::new(HashMap::new()),
            all: Semaphore::new(count),
        }
    }

    /// Waits for the turn of a request of `lane`; requests of a lane take turns in the order of their calls, lanes
    /// too.
    pub(super) async fn take(&self, lane: Lane) -> Turn<'_> {
        let place = self.enter(lane);
        let first_of_lane = Arc::clone(&place.queue).lock_owned().await;
        Turn {
            _one_of_all: self.all.acquire().await.expect("the semaphore is never closed"),
            _first_of_lane: first_of_lane,
            _place: place,
        }
    }

    fn enter(&self, lane: Lane) -> Place<'_> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = Arc::clone(lanes.entry(lane).or_default());
        Place {
            turns: self,
            lane,
            queue,
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut lanes = self.turns.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        // Two owners are the map and this place: queues are cloned under this lock only.
        if let Entry::Occupied(entry) = lanes.entry(self.lane)
            && Arc::strong_count(&self.queue) <= 2
        {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOISY: Lane = Lane::Enrolment;

    fn quiet() -> Lane {
        Lane::Project(ProjectId::from_bytes([7; 12]))
    }

    #[tokio::test]
    async fn a_lane_with_many_requests_delays_another_by_one_turn() {
        let turns = Arc::new(WriteTurns::new(1));
        let (done, mut order) = tokio::sync::mpsc::unbounded_channel();
        let first = turns.take(NOISY).await;
        let mut tasks = tokio::task::JoinSet::new();
        for lane in std::iter::repeat_n(NOISY, 16).chain([quiet()]) {
            let (turns, done) = (Arc::clone(&turns), done.clone());
            tasks.spawn(async move {
                let turn = turns.take(lane).await;
                done.send(lane).expect("the test listens");
                drop(turn);
            });
            // Each task queues before the next one starts.
            tokio::task::yield_now().await;
        }
        drop(first);
        while tasks.join_next().await.is_some() {}
        drop(done);
        let mut lanes = Vec::new();
        while let Some(lane) = order.recv().await {
            lanes.push(lane);
        }
        assert_eq!(lanes.len(), 17);
        let position = lanes.iter().position(|lane| *lane == quiet());
        assert!(position.is_some_and(|position| position <= 1), "{lanes:?}");
    }

    #[tokio::test]
    async fn lanes_that_are_left_are_forgotten() {
        let turns = WriteTurns::new(2);
        let held = turns.take(quiet()).await;
        // A request that stops waiting leaves the queue.
        let waiting = tokio::time::timeout(std::time::Duration::from_millis(5), turns.take(quiet())).await;
        assert!(waiting.is_err());
        assert_eq!(turns.lanes.lock().expect("no thread panicked").len(), 1);
        drop(held);
        assert!(turns.lanes.lock().expect("no thread panicked").is_empty());
        drop(turns.take(quiet()).await);
        assert!(turns.lanes.lock().expect("no thread panicked").is_empty());
    }
}
