//! Commits of groups of writes. A write that the database refuses delays only its own device; an outage of
//! the database delays all writes until it is over.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use iottly_protocol::DeviceId;
use tokio::time::Instant;

use super::queue::Queue;
use crate::metrics::Metrics;
use iottly_core::ingest::{Outcome, Upload, UploadBody, Write};
use iottly_store::{Fault, IngestStore, StoreError};

/// Shortest and longest wait between attempts during an outage of the database.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// Time for which a device's writes are committed separately after one of them has failed.
const APART: Duration = Duration::from_secs(60);
/// Maximum number of devices whose writes are committed separately.
const APART_DEVICES: usize = 1024;
/// Reason of the refusal of a record that the database cannot store.
const UNKEEPABLE: &str = "record holds a value that the database cannot keep";

/// Commits groups of writes.
pub(super) struct Committer {
    store: Arc<dyn IngestStore>,
    metrics: Arc<Metrics>,
    queue: Arc<Queue>,
    apart: HashMap<DeviceId, Instant>,
}

/// A write, or a part of one, with the index of its outcome.
type Piece = (usize, Write);

impl Committer {
    pub(super) fn new(store: Arc<dyn IngestStore>, metrics: Arc<Metrics>, queue: Arc<Queue>) -> Self {
        Self {
            store,
            metrics,
            queue,
            apart: HashMap::new(),
        }
    }

    /// Returns true if the device's writes are committed separately, because one of them failed recently.
    pub(super) fn is_apart(&self, device: DeviceId) -> bool {
        self.apart
            .get(&device)
            .is_some_and(|until| Instant::now() < *until)
    }

    /// Commits writes and returns their outcomes. None means that the database refuses the write: it is not
    /// acknowledged and stays on its device.
    ///
    /// A group that fails is halved until the write that causes the failure is alone.
    pub(super) async fn commit(&mut self, writes: Vec<Write>) -> Vec<Option<Outcome>> {
        let mut outcomes: Vec<Option<Outcome>> = writes.iter().map(|_| None).collect();
        let mut groups: Vec<Vec<Piece>> = vec![writes.into_iter().enumerate().collect()];
        while let Some(mut group) = groups.pop() {
            if group.is_empty() {
                continue;
            }
            match self.attempt(&group).await {
                Ok(found) => {
                    for ((place, _), outcome) in group.into_iter().zip(found) {
                        join(&mut outcomes[place], outcome);
                    }
                }
                Err(error) if group.len() > 1 => {
                    tracing::debug!(%error, group.writes = group.len(), "failed to commit a group of writes; trying its halves");
                    let rest = group.split_off(group.len() / 2);
                    groups.extend([rest, group]);
                }
                Err(error) => groups.extend(
                    group
                        .pop()
                        .map(|piece| self.alone(piece, &error))
                        .unwrap_or_default(),
                ),
            }
        }
        outcomes
    }

    /// Commits a group, retrying without limit during an outage of the database; returns any other error.
    async fn attempt(&self, group: &[Piece]) -> Result<Vec<Outcome>, StoreError> {
        let (mut wait, longest) = RETRY;
        loop {
            let began = Instant::now();
            match self
                .store
                .commit(group.iter().map(|(_, write)| write.clone()).collect())
                .await
            {
                Ok(outcomes) => {
                    self.queue.progress.committed(Instant::now());
                    let uploads = group
                        .iter()
                        .filter(|(_, write)| matches!(write, Write::Upload(_)))
                        .count();
                    let stored = outcomes.iter().map(|outcome| outcome.stored.len()).sum();
                    let refused = outcomes.iter().map(|outcome| outcome.refused.len()).sum();
                    self.metrics.committed(uploads, stored, refused, began.elapsed());
                    return Ok(outcomes);
                }
                Err(error) if error.fault() == Fault::Outage => {
                    let retry_ms = wait.as_millis() as u64;
                    tracing::error!(%error, group.writes = group.len(), retry_ms, "failed to commit a group of writes; retrying");
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(longest);
        }
    }

    /// Returns what to try next after a single write has failed.
    fn alone(&mut self, (place, write): Piece, error: &StoreError) -> Vec<Vec<Piece>> {
        let scope = write.scope();
        let next = smaller(write, error.fault() == Fault::Value);
        if self.set_apart(scope.device) {
            let then = if next.is_empty() {
                "the write waits, unacknowledged"
            } else {
                "trying its records one by one"
            };
            tracing::error!(device.id = %scope.device, project.id = %scope.project, %error, "failed to commit a write of a device; {then}");
        }
        next.into_iter().rev().map(|write| vec![(place, write)]).collect()
    }

    /// Starts committing a device's writes separately. Returns false if that was the case already.
    fn set_apart(&mut self, device: DeviceId) -> bool {
        let now = Instant::now();
        if self.apart.len() >= APART_DEVICES {
            self.apart.retain(|_, until| now < *until);
        }
        let known = self.is_apart(device);
        if known || self.apart.len() < APART_DEVICES {
            self.apart.insert(device, now + APART);
        }
        !known
    }
}

/// Returns the smaller writes that replace a failed one, in their order; none if it cannot be divided.
///
/// Records are divided in halves; a single record with a value that the database cannot store becomes a
/// refusal.
fn smaller(write: Write, is_value: bool) -> Vec<Write> {
    let Write::Upload(Upload {
        scope,
        stream,
        received,
        body: UploadBody::Records { first, mut records },
    }) = write
    else {
        return Vec::new();
    };
    let upload = |first: u64, records| {
        Write::Upload(Upload {
            scope,
            stream,
            received,
            body: UploadBody::Records { first, records },
        })
    };
    if records.len() > 1 {
        let rest = records.split_off(records.len() / 2);
        let second = first + records.len() as u64;
        return vec![upload(first, records), upload(second, rest)];
    }
    if is_value && records.iter().all(Result::is_ok) {
        vec![upload(first, vec![Err(UNKEEPABLE.to_owned())])]
    } else {
        Vec::new()
    }
}

/// Adds the outcome of a later part of a write.
fn join(known: &mut Option<Outcome>, next: Outcome) {
    let Some(outcome) = known else {
        *known = Some(next);
        return;
    };
    (outcome.upto, outcome.newest) = (next.upto, next.newest);
    outcome.left |= next.left;
    outcome.updated |= next.updated;
    outcome.update_ended |= next.update_ended;
    outcome.stored.extend(next.stored);
    outcome.refused.extend(next.refused);
    outcome.results.extend(next.results);
    outcome.observed.extend(next.observed);
}
