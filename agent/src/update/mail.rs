use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::question::Answer;
use crate::guest::News;

/// Letters that wait for the update's thread. Each kind has a place of its own, so that no kind takes another
/// one's: a stop and the news of a trial come first, whatever else waits.
#[derive(Debug, Clone, Default)]
pub(super) struct Mail(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    came: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stop: bool,
    /// Which trial the news are of.
    trial: u64,
    /// Reason for which the firmware on trial ended first; what comes behind that changes nothing.
    failed: Option<String>,
    healthy: u32,
    /// As many as there are questions, which are bounded.
    answers: VecDeque<Answer>,
    /// The latest from the cloud: the others are out of date.
    directive: Option<Vec<u8>>,
}

/// A thing to look at.
#[derive(Debug)]
pub(super) enum Letter {
    /// The agent stops.
    Stop,
    /// News of the firmware on trial.
    News(News),
    /// Answer from the repository's thread.
    Answer(Answer),
    /// The cloud has sent a directive.
    Directive(Vec<u8>),
}

impl Mail {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let done = change(&mut self.lock());
        self.0.came.notify_one();
        done
    }

    /// Asks the thread to end.
    pub(super) fn stop(&self) {
        self.put(|state| state.stop = true);
    }

    /// Takes a directive from the cloud; false when nobody looks at it any more.
    pub(super) fn direct(&self, document: Vec<u8>) -> bool {
        self.put(|state| {
            state.directive = Some(document);
            !state.stop
        })
    }

    /// A trial begins: news of earlier ones are forgotten. Answers who may tell of it.
    pub(super) fn begin_trial(&self) -> u64 {
        let mut state = self.lock();
        (state.failed, state.healthy) = (None, 0);
        state.trial += 1;
        state.trial
    }

    /// Takes news of a trial.
    pub(super) fn tell(&self, trial: u64, news: News) {
        self.put(|state| {
            if trial != state.trial {
                return;
            }
            match news {
                News::Healthy => state.healthy = state.healthy.saturating_add(1),
                News::Failed(why) => _ = state.failed.get_or_insert(why),
            }
        });
    }

    /// Takes an answer.
    pub(super) fn answer(&self, answer: Answer) {
        self.put(|state| state.answers.push_back(answer));
    }

    /// Takes the most urgent letter out; waits for one, at most so long.
    pub(super) fn take(&self, wait: Duration) -> Option<Letter> {
        let empty = |state: &mut State| {
            !state.stop
                && state.failed.is_none()
                && state.healthy == 0
                && state.answers.is_empty()
                && state.directive.is_none()
        };
        let waited = self.0.came.wait_timeout_while(self.lock(), wait, empty);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.stop {
            return Some(Letter::Stop);
        }
        if let Some(why) = state.failed.take() {
            state.healthy = 0;
            return Some(Letter::News(News::Failed(why)));
        }
        if state.healthy > 0 {
            state.healthy -= 1;
            return Some(Letter::News(News::Healthy));
        }
        let answer = state.answers.pop_front().map(Letter::Answer);
        answer.or_else(|| state.directive.take().map(Letter::Directive))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(mail: &Mail) -> Option<Letter> {
        mail.take(Duration::ZERO)
    }

    #[test]
    fn news_of_a_trial_come_before_any_number_of_directives_and_are_not_dropped() {
        let mail = Mail::default();
        let trial = mail.begin_trial();
        for n in 0..10_000u32 {
            assert!(mail.direct(n.to_be_bytes().to_vec()));
            mail.answer(Answer::Looked);
        }
        mail.tell(trial, News::Healthy);
        mail.tell(trial, News::Healthy);
        mail.tell(trial, News::Failed("first".into()));
        mail.tell(trial, News::Failed("second".into()));
        assert!(matches!(take(&mail), Some(Letter::News(News::Failed(why))) if why == "first"));
        mail.tell(trial, News::Healthy);
        assert!(matches!(take(&mail), Some(Letter::News(News::Healthy))));
        assert!((0..10_000).all(|_| matches!(take(&mail), Some(Letter::Answer(Answer::Looked)))));
        assert!(
            matches!(take(&mail), Some(Letter::Directive(last)) if last == 9_999u32.to_be_bytes()),
            "the latest counts"
        );
        assert!(take(&mail).is_none());
    }

    #[test]
    fn news_of_an_earlier_trial_do_not_end_a_later_one() {
        let mail = Mail::default();
        let first = mail.begin_trial();
        mail.tell(first, News::Failed("traps".into()));
        let second = mail.begin_trial();
        mail.tell(first, News::Failed("traps again".into()));
        assert!(take(&mail).is_none());
        mail.tell(second, News::Healthy);
        assert!(matches!(take(&mail), Some(Letter::News(News::Healthy))));
    }

    #[test]
    fn a_stop_comes_first_and_stays() {
        let mail = Mail::default();
        let trial = mail.begin_trial();
        mail.tell(trial, News::Healthy);
        mail.stop();
        assert!(matches!(take(&mail), Some(Letter::Stop)));
        assert!(matches!(take(&mail), Some(Letter::Stop)));
        assert!(!mail.direct(Vec::new()));
    }
}
