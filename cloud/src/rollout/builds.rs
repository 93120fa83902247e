//! Queues for building, checking and writing, and a cache of the outcomes of earlier builds.
//!
//! Each project has its own queue of each kind, so that a project whose code builds slowly delays only
//! itself. The turn is moved into the work: if the request is cancelled, the turn is held until the work has
//! ended.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use iottly_protocol::ProjectId;
use iottly_protocol::limits::clip;

use crate::fair_queue::{FairQueue, FairQueueLimits};

/// Maximum number of requests of a project that wait for a turn of one kind; further ones are refused.
const WAITING: usize = 8;
/// Limits of concurrent builds, over all projects: each uses a processor for seconds.
const BUILDS: FairQueueLimits = FairQueueLimits {
    running: 2,
    running_per_key: 1,
    waiting_per_key: WAITING,
};
/// Limits of concurrent checks of components, over all projects: each may briefly use a hundred mebibytes.
const CHECKS: FairQueueLimits = FairQueueLimits {
    running: 2,
    running_per_key: 1,
    waiting_per_key: WAITING,
};
/// Limits of concurrent writers of files: one per project.
const WRITES: FairQueueLimits = FairQueueLimits {
    running: 8,
    running_per_key: 1,
    waiting_per_key: WAITING,
};
/// Limits of concurrent uploads: each holds a component in memory.
const UPLOADS: FairQueueLimits = FairQueueLimits {
    running: 32,
    running_per_key: 2,
    waiting_per_key: WAITING,
};
/// Limits of concurrent diffs of revisions.
const DIFFS: FairQueueLimits = FairQueueLimits {
    running: 2,
    running_per_key: 1,
    waiting_per_key: WAITING,
};

/// Maximum number of remembered builds and of remembered checks.
const REMEMBERED: usize = 1024;
/// Time for which a failed build is remembered: it may have failed because the machine was busy.
const REMEMBERED_FOR: Duration = Duration::from_secs(3600);
/// Maximum length of the remembered reason of a failed build, in bytes.
const MAX_REASON_BYTES: usize = 4096;

/// Queues of all projects, and known outcomes.
pub(super) struct Builds {
    pub(super) builds: FairQueue<ProjectId>,
    pub(super) checks: FairQueue<ProjectId>,
    pub(super) writes: FairQueue<ProjectId>,
    pub(super) uploads: FairQueue<ProjectId>,
    pub(super) diffs: FairQueue<ProjectId>,
    failed: Mutex<Memory<String>>,
    reach: Mutex<Memory<Vec<String>>>,
    /// Components that are no scripts.
    opaque: Mutex<Memory<()>>,
}

impl Default for Builds {
    fn default() -> Self {
        Self {
            builds: FairQueue::new(BUILDS),
            checks: FairQueue::new(CHECKS),
            writes: FairQueue::new(WRITES),
            uploads: FairQueue::new(UPLOADS),
            diffs: FairQueue::new(DIFFS),
            failed: Mutex::default(),
            reach: Mutex::default(),
            opaque: Mutex::default(),
        }
    }
}

impl Builds {
    /// Returns the reason for which this code failed to build; none if it did not fail within the last hour.
    pub(super) fn failure(&self, project: ProjectId, name: &str) -> Option<String> {
        lock(&self.failed).get(project, name, Instant::now())
    }

    pub(super) fn failed(&self, project: ProjectId, name: &str, reason: &str) {
        lock(&self.failed).put(
            project,
            name,
            clip(reason, MAX_REASON_BYTES).to_owned(),
            Instant::now(),
        );
    }

    /// Returns the capabilities of a component, if it was checked before.
    pub(super) fn reach(&self, project: ProjectId, name: &str) -> Option<Vec<String>> {
        lock(&self.reach).get(project, name, Instant::now())
    }

    /// Returns true if a component was found to be no script.
    pub(super) fn is_opaque(&self, project: ProjectId, sha256: &str) -> bool {
        lock(&self.opaque).get(project, sha256, Instant::now()).is_some()
    }

    pub(super) fn note_opaque(&self, project: ProjectId, sha256: &str) {
        lock(&self.opaque).put(project, sha256, (), Instant::now());
    }

    pub(super) fn reaches(&self, project: ProjectId, name: &str, capabilities: &[String]) {
        lock(&self.reach).put(project, name, capabilities.to_vec(), Instant::now());
    }
}

fn lock<T>(memory: &Mutex<T>) -> MutexGuard<'_, T> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bounded cache of the newest outcomes, by project and name.
struct Memory<T> {
    known: HashMap<(ProjectId, String), (T, Instant)>,
    order: VecDeque<(ProjectId, String)>,
}

impl<T> Default for Memory<T> {
    fn default() -> Self {
        Self {
            known: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<T: Clone> Memory<T> {
    fn get(&self, project: ProjectId, name: &str, now: Instant) -> Option<T> {
        let (value, at) = self.known.get(&(project, name.to_owned()))?;
        (now.saturating_duration_since(*at) < REMEMBERED_FOR).then(|| value.clone())
    }

    fn put(&mut self, project: ProjectId, name: &str, value: T, now: Instant) {
        let key = (project, name.to_owned());
        if self.known.insert(key.clone(), (value, now)).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > REMEMBERED {
            let oldest = self.order.pop_front().expect("it is longer than its bound");
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_remembered_by_project_within_a_bound_and_for_a_while() {
        let (one, two) = (ProjectId::from_bytes([1; 12]), ProjectId::from_bytes([2; 12]));
        let (mut memory, now) = (Memory::default(), Instant::now());
        memory.put(one, "a", "why", now);
        assert_eq!(memory.get(one, "a", now), Some("why"));
        assert_eq!(
            (memory.get(two, "a", now), memory.get(one, "b", now)),
            (None, None)
        );
        assert_eq!(memory.get(one, "a", now + REMEMBERED_FOR), None);
        for n in 0..REMEMBERED {
            memory.put(two, &n.to_string(), "why", now);
        }
        assert_eq!(memory.get(one, "a", now), None, "the oldest goes");
        assert_eq!((memory.known.len(), memory.order.len()), (REMEMBERED, REMEMBERED));
    }
}
