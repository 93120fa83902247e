//! What an HTTP connection is doing, and since when: a pure record from which follows whether it has waited
//! too long for its client.

use std::time::{Duration, Instant};

/// Time in which a request's head has to arrive as a whole.
const HEAD: Duration = Duration::from_secs(10);
/// Time for which a connection is kept between two requests.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Longest pause of a client in the middle of a request's body.
const BODY: Duration = Duration::from_secs(10);
/// Longest time in which a client takes nothing of its answer. Downloads that are slow on purpose read in
/// steps.
const ANSWER: Duration = Duration::from_secs(60);

/// What one connection is doing.
#[derive(Debug)]
pub(super) struct Activity {
    phase: Phase,
    body_wanted: Option<Instant>,
    answer_stuck: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Between two requests.
    Idle(Instant),
    /// A request's head is on its way.
    Head(Instant),
    /// A request is being answered.
    Busy,
}

impl Activity {
    /// A connection that was accepted at `now`. Its first request is due at once.
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Head(now),
            body_wanted: None,
            answer_stuck: None,
        }
    }

    /// Bytes have come.
    pub(super) fn heard(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Idle(_)) {
            self.phase = Phase::Head(now);
        }
    }

    /// A request's head is complete.
    pub(super) fn request(&mut self) {
        self.phase = Phase::Busy;
    }

    /// An answer is complete.
    pub(super) fn answered(&mut self, now: Instant) {
        self.phase = Phase::Idle(now);
        self.body_wanted = None;
    }

    /// A handler waits for more of the request's body, or does so no more.
    pub(super) fn body_wanted(&mut self, wanted: bool, now: Instant) {
        self.body_wanted = wanted.then(|| self.body_wanted.unwrap_or(now));
    }

    /// The client takes nothing of the answer, or does so again.
    pub(super) fn answer_stuck(&mut self, stuck: bool, now: Instant) {
        self.answer_stuck = stuck.then(|| self.answer_stuck.unwrap_or(now));
    }

    /// Returns what the connection has waited for too long.
    pub(super) fn overdue(&self, now: Instant) -> Option<&'static str> {
        let over = |since: Instant, limit| now.saturating_duration_since(since) >= limit;
        if self.answer_stuck.is_some_and(|since| over(since, ANSWER)) {
            return Some("the client does not take its answer");
        }
        match self.phase {
            Phase::Idle(since) => over(since, KEEP_ALIVE).then_some("no further request"),
            Phase::Head(since) => over(since, HEAD).then_some("no whole request"),
            Phase::Busy => self
                .body_wanted
                .is_some_and(|since| over(since, BODY))
                .then_some("the request's body does not come"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_silent_client_has_ten_seconds_and_a_known_one_more() {
        let start = Instant::now();
        let mut activity = Activity::new(start);
        activity.heard(after(start, 9));
        assert!(activity.overdue(after(start, 9)).is_none());
        assert_eq!(
            activity.overdue(after(start, 10)),
            Some("no whole request"),
            "single bytes gain no time"
        );
        activity.request();
        assert!(
            activity.overdue(after(start, 10_000)).is_none(),
            "an answer may take its time"
        );
        activity.answered(after(start, 100));
        assert!(activity.overdue(after(start, 174)).is_none());
        assert_eq!(activity.overdue(after(start, 175)), Some("no further request"));
        activity.heard(after(start, 160));
        assert!(activity.overdue(after(start, 169)).is_none());
        assert_eq!(activity.overdue(after(start, 170)), Some("no whole request"));
    }

    #[test]
    fn bodies_and_answers_have_to_move() {
        let start = Instant::now();
        let mut activity = Activity::new(start);
        activity.request();
        activity.body_wanted(true, start);
        activity.body_wanted(true, after(start, 9));
        assert!(activity.overdue(after(start, 10)).is_some());
        activity.body_wanted(false, after(start, 9));
        activity.body_wanted(true, after(start, 9));
        assert!(activity.overdue(after(start, 10)).is_none());
        activity.answered(after(start, 12));
        activity.answer_stuck(true, after(start, 12));
        assert!(activity.overdue(after(start, 71)).is_none());
        assert!(activity.overdue(after(start, 72)).is_some());
        activity.answer_stuck(false, after(start, 71));
        assert!(activity.overdue(after(start, 72)).is_none());
    }
}
