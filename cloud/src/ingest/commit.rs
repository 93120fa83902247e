//! Commits of groups. What the database refuses for one device is that device's fault and costs no other
//! device its turn; an outage of the database is nobody's, and is waited for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use iottly_protocol::DeviceId;
use tokio::time::Instant;

use super::queue::Queue;
use crate::metrics::Metrics;
use iottly_core::ingest::{Outcome, Upload, UploadBody, Write};
use iottly_store::{Fault, Store, StoreError};

/// Waits between attempts on a database that is out of order: the first, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// How long the writes of a device go alone after one of them has failed.
const APART: Duration = Duration::from_secs(60);
/// Most devices whose writes go alone.
const APART_DEVICES: usize = 1024;
/// Why a record is refused that the database cannot keep.
const UNKEEPABLE: &str = "record holds a value that the database cannot keep";

/// Commits groups of writes.
pub(super) struct Committer {
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    queue: Arc<Queue>,
    apart: HashMap<DeviceId, Instant>,
}

/// A write, or a piece of one, with the place of its outcome.
type Piece = (usize, Write);

impl Committer {
    pub(super) fn new(store: Arc<dyn Store>, metrics: Arc<Metrics>, queue: Arc<Queue>) -> Self {
        Self {
            store,
            metrics,
            queue,
            apart: HashMap::new(),
        }
    }

    /// Says whether the writes of a device go alone, because one of them failed lately.
    pub(super) fn is_apart(&self, device: DeviceId) -> bool {
        self.apart
            .get(&device)
            .is_some_and(|until| Instant::now() < *until)
    }

    /// Commits writes and returns what became of each. None stands for one that the database refuses: it is
    /// not acknowledged and waits on its device.
    ///
    /// A group that fails is halved until the write that is to blame stands alone.
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
                    tracing::debug!(%error, writes = group.len(), "group of writes failed; its halves are tried");
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

    /// Writes a group, whatever time that takes while the database is out of order; what else is wrong is
    /// returned.
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
                    tracing::error!(%error, writes = group.len(), "database failed; retrying in {retry_ms} ms");
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(longest);
        }
    }

    /// Decides what is tried next of a piece that fails alone.
    fn alone(&mut self, (place, write): Piece, error: &StoreError) -> Vec<Vec<Piece>> {
        let scope = write.scope();
        let next = smaller(write, error.fault() == Fault::Value);
        if self.set_apart(scope.device) {
            let then = if next.is_empty() {
                "it waits, unacknowledged"
            } else {
                "its records are tried one by one"
            };
            tracing::error!(device = %scope.device, project = %scope.project, %error, "database refuses what a device sent; {then}");
        }
        next.into_iter().rev().map(|write| vec![(place, write)]).collect()
    }

    /// Sets a device apart; false when it was so already.
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

/// The smaller writes that stand for one that failed, in their order; none when there are none.
///
/// Records are tried in halves; a single record with a value that no database keeps becomes a refusal.
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

/// Adds what became of a later piece of a write.
fn join(known: &mut Option<Outcome>, next: Outcome) {
    let Some(outcome) = known else {
        *known = Some(next);
        return;
    };
    (outcome.upto, outcome.newest) = (next.upto, next.newest);
    outcome.left |= next.left;
    outcome.updated |= next.updated;
    outcome.stored.extend(next.stored);
    outcome.refused.extend(next.refused);
    outcome.results.extend(next.results);
}
