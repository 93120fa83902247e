//! States of a job: pure. The store keeps the result of each event in the transaction of its effects.

use std::collections::BTreeSet;

use crate::model::{MAX_TAGS, UnixMs};

pub use crate::model::{JobState, Progress};

/// Longest time from the start of a job to its end, in milliseconds: 20 hours. Keys of commands are remembered for a day,
/// so that a job within this time sends no command twice.
pub const LONGEST_MS: UnixMs = 20 * 60 * 60 * 1000;

/// Event of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A worker has taken the job.
    Claimed,
    /// Numbers of further devices that are done, and of those among them that have failed.
    Stepped {
        /// Devices that are done.
        done: u64,
        /// Devices among them that failed.
        failed: u64,
    },
    /// All work has to be done again: the file of an export is lost.
    Lost,
    /// The requester, or another one with the right, ends the job.
    Cancelled,
    /// The job cannot continue, for this reason.
    Stopped(String),
}

impl Progress {
    /// Returns the progress of a new job over so many devices.
    #[must_use]
    pub const fn new(total: u64) -> Self {
        Self {
            state: JobState::Queued,
            total,
            done: 0,
            failed: 0,
            reason: None,
            started: None,
            ended: None,
        }
    }

    /// Returns the progress after an event; none if the event does not change it.
    ///
    /// Devices that were being handled when the job was ended are counted, without a change of the state.
    #[must_use]
    pub fn handle(&self, event: Event, now: UnixMs) -> Option<Self> {
        let mut next = self.clone();
        match event {
            Event::Claimed if self.state == JobState::Queued => {
                (next.state, next.started) = (JobState::Running, Some(now));
            }
            Event::Stepped { done, failed } => {
                next.done = self.done.saturating_add(done).min(self.total);
                next.failed = self.failed.saturating_add(failed).min(next.done);
                if next.done == self.total && !self.state.is_final() {
                    (next.state, next.ended) = (JobState::Finished, Some(now));
                }
            }
            Event::Lost if !self.state.is_final() => (next.done, next.failed) = (0, 0),
            Event::Cancelled if !self.state.is_final() => {
                (next.state, next.ended) = (JobState::Cancelled, Some(now));
            }
            Event::Stopped(reason) if !self.state.is_final() => {
                next.reason = Some(reason);
                (next.state, next.ended) = (JobState::Failed, Some(now));
            }
            Event::Claimed | Event::Lost | Event::Cancelled | Event::Stopped(_) => {}
        }
        (next != *self).then_some(next)
    }

    /// Returns true if the job runs for longer than a job may.
    #[must_use]
    pub fn is_overdue(&self, now: UnixMs) -> bool {
        self.started
            .is_some_and(|started| now.saturating_sub(started) > LONGEST_MS)
    }
}

/// Returns the tags of a device after some were added and others removed, in their order.
///
/// # Errors
/// The reason, when the device would have too many.
pub fn retagged(tags: &[String], add: &[String], remove: &[String]) -> Result<Vec<String>, String> {
    let kept = tags.iter().filter(|tag| !remove.contains(tag));
    let all: BTreeSet<&String> = kept.chain(add).collect();
    if all.len() > MAX_TAGS {
        return Err(format!("device would have more than {MAX_TAGS} tags"));
    }
    Ok(all.into_iter().cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(total: u64) -> Progress {
        let new = Progress::new(total);
        new.handle(Event::Claimed, 5).expect("starts")
    }

    #[test]
    fn a_job_goes_its_way_and_counts_each_device_once() {
        let job = running(3);
        assert_eq!((job.state, job.started), (JobState::Running, Some(5)));
        assert_eq!(job.handle(Event::Claimed, 6), None, "a later turn is no news");
        let job = job
            .handle(Event::Stepped { done: 2, failed: 1 }, 7)
            .expect("counts");
        assert_eq!((job.state, job.done, job.failed), (JobState::Running, 2, 1));
        let job = job
            .handle(Event::Stepped { done: 1, failed: 0 }, 8)
            .expect("ends");
        assert_eq!((job.state, job.ended), (JobState::Finished, Some(8)));
        for event in [
            Event::Claimed,
            Event::Lost,
            Event::Cancelled,
            Event::Stopped("x".into()),
        ] {
            assert_eq!(job.handle(event, 9), None, "an end is final");
        }
    }

    #[test]
    fn devices_in_hand_are_counted_after_an_end_without_undoing_it() {
        let job = running(2).handle(Event::Cancelled, 6).expect("ends");
        let job = job
            .handle(Event::Stepped { done: 2, failed: 0 }, 7)
            .expect("counts");
        assert_eq!(
            (job.state, job.done, job.ended),
            (JobState::Cancelled, 2, Some(6))
        );
        let waiting = Progress::new(2).handle(Event::Cancelled, 6).expect("ends");
        assert_eq!(waiting.state, JobState::Cancelled, "before its first turn too");
    }

    #[test]
    fn a_lost_file_begins_again_and_a_stop_has_its_reason() {
        let job = running(2)
            .handle(Event::Stepped { done: 1, failed: 1 }, 6)
            .expect("counts");
        let again = job.handle(Event::Lost, 7).expect("begins again");
        assert_eq!((again.done, again.failed), (0, 0));
        let stopped = job.handle(Event::Stopped("no room".into()), 7).expect("ends");
        assert_eq!(
            (stopped.state, stopped.reason.as_deref(), stopped.done),
            (JobState::Failed, Some("no room"), 1)
        );
        assert!(!job.is_overdue(5 + LONGEST_MS) && job.is_overdue(6 + LONGEST_MS));
    }

    #[test]
    fn tags_are_a_sorted_set_within_their_bound() {
        let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            retagged(&of(&["b", "c"]), &of(&["a", "b"]), &of(&["c", "x"])),
            Ok(of(&["a", "b"]))
        );
        let many: Vec<String> = (0..=MAX_TAGS).map(|n| n.to_string()).collect();
        assert!(retagged(&[], &many, &[]).is_err());
    }
}
