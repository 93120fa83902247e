//! The bounded queue in front of the ingest's worker. Projects take turns, and so do the devices of a
//! project, so that a sender of many events delays only its own.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iottly_protocol::{DeviceId, Hello, ProjectId, Status};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::progress::Progress;
use iottly_core::ingest::UploadBody;
use iottly_core::ingest::decode::Decoded;
use iottly_core::model::{Scope, UnixMs};

/// Maximum bytes of publishes between the broker and the end of their commit.
const TOTAL_BYTES: usize = 64 << 20;
/// Maximum of these bytes per project.
const PROJECT_BYTES: usize = 16 << 20;
/// Maximum of these bytes per device; a publish of the largest size fits.
const DEVICE_BYTES: usize = 4 << 20;
/// Minimum bytes counted per event, which bounds the number of events: 16,384 in total, 1,024 per device.
const EVENT_BYTES: usize = 4 << 10;
/// Bytes per permit of the budgets.
const PERMIT_BYTES: usize = 1 << 10;
/// Number of unused budgets of devices and projects above which they are deleted.
const SPARE_BUDGETS: usize = 1024;

/// Rows that a change of a device, or a stream that a hello announces, counts as. Such a write takes statements of its own,
/// where records share theirs; everything else that writes waits for the transaction.
pub(super) const OWN_STATEMENTS: usize = 10;

/// A job for the worker.
pub(super) struct Job {
    pub(super) scope: Scope,
    pub(super) at: UnixMs,
    pub(super) what: What,
    /// Room in the budgets, held until the job is done.
    pub(super) room: Room,
}

pub(super) enum What {
    Publish(Result<Decoded, String>),
    Status(Status),
    /// Hello of one of several boards that share the keys of the device, with its address.
    Held(Hello, Option<IpAddr>),
    Disconnected,
}

/// Reserved room in the budgets of a device, its project and the cloud.
pub(super) struct Room {
    bytes: usize,
    _permits: [OwnedSemaphorePermit; 3],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Payer {
    Project(ProjectId),
    Device(Scope),
}

/// Queue of jobs with byte budgets.
pub(super) struct Queue {
    state: Mutex<State>,
    budgets: Mutex<Budgets>,
    total: Arc<Semaphore>,
    wake: Notify,
    pub(super) progress: Progress,
}

#[derive(Default)]
struct State {
    projects: HashMap<ProjectId, Lane>,
    /// Projects with jobs, in the order of their turns.
    order: VecDeque<ProjectId>,
    jobs: usize,
    closed: bool,
}

#[derive(Default)]
struct Lane {
    devices: HashMap<DeviceId, VecDeque<Job>>,
    /// Devices with jobs, in the order of their turns.
    order: VecDeque<DeviceId>,
}

#[derive(Default)]
struct Budgets {
    of: HashMap<Payer, Arc<Semaphore>>,
    in_use: usize,
}

impl Job {
    /// Returns the approximate number of rows that can be written in the time that the job's writes take.
    pub(super) fn rows(&self) -> usize {
        match &self.what {
            What::Publish(Ok(Decoded::Upload(_, UploadBody::Records { records, .. }))) => records.len(),
            What::Publish(Ok(Decoded::Hello(hello))) => OWN_STATEMENTS * (hello.streams.len() + 1),
            _ => OWN_STATEMENTS,
        }
    }

    /// Returns the bytes of the job's publish.
    pub(super) fn bytes(&self) -> usize {
        self.room.bytes
    }

    fn is_hello(&self) -> bool {
        matches!(self.what, What::Publish(Ok(Decoded::Hello(_))))
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            budgets: Mutex::default(),
            total: Arc::new(Semaphore::new(TOTAL_BYTES / PERMIT_BYTES)),
            wake: Notify::new(),
            progress: Progress::default(),
        }
    }
}

impl Queue {
    /// Waits for room for a publish of `bytes`. Waits for the device's budget first, so that a device that
    /// sends too much delays no other.
    pub(super) async fn room(&self, scope: Scope, bytes: usize) -> Room {
        let counted = bytes.clamp(EVENT_BYTES, DEVICE_BYTES);
        let permits =
            u32::try_from(counted / PERMIT_BYTES).expect("a device's budget is a small number of permits");
        let device = acquire(self.budget(Payer::Device(scope)), permits).await;
        let project = acquire(self.budget(Payer::Project(scope.project)), permits).await;
        let total = acquire(Arc::clone(&self.total), permits).await;
        Room {
            bytes,
            _permits: [device, project, total],
        }
    }

    fn budget(&self, payer: Payer) -> Arc<Semaphore> {
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        if budgets.of.len() >= budgets.in_use + SPARE_BUDGETS {
            // Holders of room and waiting tasks share the budget, so a count of 1 means unused.
            budgets.of.retain(|_, budget| Arc::strong_count(budget) > 1);
            budgets.in_use = budgets.of.len();
        }
        let bytes = match payer {
            Payer::Project(_) => PROJECT_BYTES,
            Payer::Device(_) => DEVICE_BYTES,
        };
        Arc::clone(
            budgets
                .of
                .entry(payer)
                .or_insert_with(|| Arc::new(Semaphore::new(bytes / PERMIT_BYTES))),
        )
    }

    /// Adds a job, unless the queue is closed. Of the hellos of one device only the newest stays: it contains
    /// everything relevant.
    pub(super) fn push(&self, job: Job) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        let Scope { project, device } = job.scope;
        let state = &mut *state;
        let lane = state.projects.entry(project).or_insert_with(|| {
            state.order.push_back(project);
            Lane::default()
        });
        let jobs = lane.devices.entry(device).or_insert_with(|| {
            lane.order.push_back(device);
            VecDeque::new()
        });
        if job.is_hello() {
            let before = jobs.len();
            jobs.retain(|waiting| !waiting.is_hello());
            state.jobs -= before - jobs.len();
        }
        jobs.push_back(job);
        state.jobs += 1;
        self.progress.waiting(Instant::now());
        self.wake.notify_one();
    }

    /// Removes the next job, from the project and the device whose turn it is.
    pub(super) fn pop(&self) -> Option<Job> {
        let mut state = self.lock();
        let state = &mut *state;
        let project = state.order.pop_front()?;
        let lane = state.projects.get_mut(&project)?;
        let device = lane.order.pop_front()?;
        let jobs = lane.devices.get_mut(&device)?;
        let job = jobs.pop_front();
        if jobs.is_empty() {
            lane.devices.remove(&device);
        } else {
            lane.order.push_back(device);
        }
        if lane.devices.is_empty() {
            state.projects.remove(&project);
        } else {
            state.order.push_back(project);
        }
        state.jobs -= usize::from(job.is_some());
        job
    }

    /// Waits for a job. Returns false when the queue is closed and empty.
    pub(super) async fn ready(&self) -> bool {
        loop {
            let woken = self.wake.notified();
            {
                let state = self.lock();
                if state.jobs > 0 {
                    return true;
                }
                if state.closed {
                    return false;
                }
            }
            woken.await;
        }
    }

    /// Closes the queue for new jobs; waiting jobs stay.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }

    /// Records that the worker has nothing left to do, unless a job was added meanwhile.
    pub(super) fn idle(&self) {
        let state = self.lock();
        if state.jobs == 0 {
            self.progress.idle();
        }
    }

    /// Returns the number of waiting events, and the bytes of publishes between the broker and their commit.
    pub(super) fn depth(&self) -> (usize, usize) {
        let taken = (TOTAL_BYTES / PERMIT_BYTES).saturating_sub(self.total.available_permits());
        (self.lock().jobs, taken * PERMIT_BYTES)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn acquire(budget: Arc<Semaphore>, permits: u32) -> OwnedSemaphorePermit {
    budget
        .acquire_many_owned(permits)
        .await
        .expect("budgets are never closed")
}

#[cfg(test)]
mod tests;
