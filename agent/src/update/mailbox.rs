//! Inputs that wait for the update's thread, ordered by urgency. Bounded per kind.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::orders::Received;
use super::question::Answer;
use crate::guest::{SwapOutcome, TrialEvent};

/// Mailbox of the update's thread; cheap to clone. Each kind of input has its own place, so that no kind can
/// displace another. A stop and the events of a trial come first.
#[derive(Debug, Clone, Default)]
pub(super) struct UpdateMailbox(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stop: bool,
    /// Number of the current trial.
    trial: u64,
    /// First reason for which the firmware on trial ended; later ones are ignored.
    failed: Option<String>,
    /// Positive health checks that have not been taken.
    healthy: u32,
    /// Answers of the repository's thread, at most one per question.
    answers: VecDeque<Answer>,
    /// Latest directive from the cloud; earlier ones are outdated.
    directive: Option<Vec<u8>>,
    /// Latest developer order; earlier ones are outdated.
    order: Option<Received>,
    /// True if the time was revised and the thread has not noticed yet.
    time_revised: bool,
    /// Newest root that the cloud has announced.
    root: Option<u64>,
    /// Outcomes of attempts to run a developer's code; at most one per attempt, and one attempt at a time.
    swapped: VecDeque<(u64, SwapOutcome)>,
}

/// Input for the update's thread.
#[derive(Debug)]
pub(super) enum UpdateInput {
    /// The agent stops.
    Stop,
    /// Event of the firmware on trial.
    Trial(TrialEvent),
    /// Answer from the repository's thread.
    Answer(Answer),
    /// The cloud has sent a directive.
    Directive(Vec<u8>),
    /// The cloud has sent a developer order.
    Order(Received),
    /// The date became known, or turned out to be wrong.
    TimeRevised,
    /// The cloud has announced this version of the root.
    Root(u64),
    /// Outcome of this attempt to run a developer's code.
    Swapped(u64, SwapOutcome),
}

impl UpdateMailbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let done = change(&mut self.lock());
        self.0.arrived.notify_one();
        done
    }

    /// Asks the thread to end.
    pub(super) fn stop(&self) {
        self.put(|state| state.stop = true);
    }

    /// Stores a directive from the cloud. Returns `false` if the thread is stopping.
    pub(super) fn directive(&self, document: Vec<u8>) -> bool {
        self.put(|state| {
            state.directive = Some(document);
            !state.stop
        })
    }

    /// Stores a developer order. Returns `false` if the thread is stopping.
    pub(super) fn order(&self, received: Received) -> bool {
        self.put(|state| {
            state.order = Some(received);
            !state.stop
        })
    }

    /// Notes that the date became known or turned out to be wrong.
    pub(super) fn time_revised(&self) {
        self.put(|state| state.time_revised = true);
    }

    /// Stores the version of the root that the cloud has announced.
    pub(super) fn root(&self, version: u64) {
        self.put(|state| state.root = state.root.max(Some(version)));
    }

    /// Stores the outcome of an attempt to run a developer's code.
    pub(super) fn swapped(&self, attempt: u64, outcome: SwapOutcome) {
        self.put(|state| state.swapped.push_back((attempt, outcome)));
    }

    /// Begins a trial and discards the events of earlier ones. Returns its number.
    pub(super) fn begin_trial(&self) -> u64 {
        let mut state = self.lock();
        (state.failed, state.healthy) = (None, 0);
        state.trial += 1;
        state.trial
    }

    /// Stores an event of a trial; ignored unless the trial is the current one.
    pub(super) fn trial(&self, trial: u64, event: TrialEvent) {
        self.put(|state| {
            if trial != state.trial {
                return;
            }
            match event {
                TrialEvent::Healthy => state.healthy = state.healthy.saturating_add(1),
                TrialEvent::Failed(why) => _ = state.failed.get_or_insert(why),
            }
        });
    }

    /// Stores an answer of the repository's thread.
    pub(super) fn answer(&self, answer: Answer) {
        self.put(|state| state.answers.push_back(answer));
    }

    /// Removes and returns the most urgent input, waiting at most `wait` for one.
    pub(super) fn take(&self, wait: Duration) -> Option<UpdateInput> {
        let empty = |state: &mut State| {
            !state.stop
                && state.failed.is_none()
                && state.healthy == 0
                && state.answers.is_empty()
                && state.directive.is_none()
                && state.order.is_none()
                && !state.time_revised
                && state.root.is_none()
                && state.swapped.is_empty()
        };
        let waited = self.0.arrived.wait_timeout_while(self.lock(), wait, empty);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.stop {
            return Some(UpdateInput::Stop);
        }
        if let Some(why) = state.failed.take() {
            state.healthy = 0;
            return Some(UpdateInput::Trial(TrialEvent::Failed(why)));
        }
        if state.healthy > 0 {
            state.healthy -= 1;
            return Some(UpdateInput::Trial(TrialEvent::Healthy));
        }
        if let Some((attempt, outcome)) = state.swapped.pop_front() {
            return Some(UpdateInput::Swapped(attempt, outcome));
        }
        if let Some(received) = state.order.take() {
            return Some(UpdateInput::Order(received));
        }
        if std::mem::take(&mut state.time_revised) {
            return Some(UpdateInput::TimeRevised);
        }
        if let Some(version) = state.root.take() {
            return Some(UpdateInput::Root(version));
        }
        let answer = state.answers.pop_front().map(UpdateInput::Answer);
        answer.or_else(|| state.directive.take().map(UpdateInput::Directive))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(mailbox: &UpdateMailbox) -> Option<UpdateInput> {
        mailbox.take(Duration::ZERO)
    }

    #[test]
    fn events_of_a_trial_come_before_any_number_of_directives_and_are_not_dropped() {
        let mailbox = UpdateMailbox::default();
        let trial = mailbox.begin_trial();
        for n in 0..10_000u32 {
            assert!(mailbox.directive(n.to_be_bytes().to_vec()));
            mailbox.answer(Answer::NoDirective);
        }
        mailbox.trial(trial, TrialEvent::Healthy);
        mailbox.trial(trial, TrialEvent::Healthy);
        mailbox.trial(trial, TrialEvent::Failed("first".into()));
        mailbox.trial(trial, TrialEvent::Failed("second".into()));
        assert!(
            matches!(take(&mailbox), Some(UpdateInput::Trial(TrialEvent::Failed(why))) if why == "first")
        );
        mailbox.trial(trial, TrialEvent::Healthy);
        assert!(matches!(
            take(&mailbox),
            Some(UpdateInput::Trial(TrialEvent::Healthy))
        ));
        assert!(
            (0..10_000).all(|_| matches!(take(&mailbox), Some(UpdateInput::Answer(Answer::NoDirective))))
        );
        assert!(
            matches!(take(&mailbox), Some(UpdateInput::Directive(last)) if last == 9_999u32.to_be_bytes()),
            "the latest counts"
        );
        assert!(take(&mailbox).is_none());
    }

    #[test]
    fn revisions_of_the_time_are_one_input_until_it_is_taken() {
        let mailbox = UpdateMailbox::default();
        mailbox.time_revised();
        mailbox.time_revised();
        assert!(matches!(take(&mailbox), Some(UpdateInput::TimeRevised)));
        assert!(take(&mailbox).is_none());
    }

    #[test]
    fn events_of_an_earlier_trial_do_not_end_a_later_one() {
        let mailbox = UpdateMailbox::default();
        let first = mailbox.begin_trial();
        mailbox.trial(first, TrialEvent::Failed("traps".into()));
        let second = mailbox.begin_trial();
        mailbox.trial(first, TrialEvent::Failed("traps again".into()));
        assert!(take(&mailbox).is_none());
        mailbox.trial(second, TrialEvent::Healthy);
        assert!(matches!(
            take(&mailbox),
            Some(UpdateInput::Trial(TrialEvent::Healthy))
        ));
    }

    #[test]
    fn a_stop_comes_first_and_stays() {
        let mailbox = UpdateMailbox::default();
        let trial = mailbox.begin_trial();
        mailbox.trial(trial, TrialEvent::Healthy);
        mailbox.stop();
        assert!(matches!(take(&mailbox), Some(UpdateInput::Stop)));
        assert!(matches!(take(&mailbox), Some(UpdateInput::Stop)));
        assert!(!mailbox.directive(Vec::new()));
    }
}
