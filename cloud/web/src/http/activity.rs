//! Record of the current activity of an HTTP connection, from which follows whether it has waited too long
//! for its client. Pure.

use std::time::{Duration, Instant};

/// Maximum time until the head of a request is complete.
const HEAD: Duration = Duration::from_secs(10);
/// Maximum time for which a connection is kept between two requests.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Maximum pause of a client within a request's body.
const BODY: Duration = Duration::from_secs(10);
/// Maximum time for which a client reads nothing of a response. Generous, because downloads that are slow on
/// purpose read in steps.
const ANSWER: Duration = Duration::from_secs(60);

/// Current activity of a connection.
#[derive(Debug)]
pub(super) struct Activity {
    phase: Phase,
    body_wanted: Option<Instant>,
    answer_stuck: Option<Instant>,
    endless: bool,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Waiting between two requests, since then.
    Idle(Instant),
    /// Receiving the head of a request, since then.
    Head(Instant),
    /// Responding to a request.
    Busy,
}

impl Activity {
    /// Returns the activity of a connection that was accepted at `now`. Its first request is due at once.
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Head(now),
            body_wanted: None,
            answer_stuck: None,
            endless: false,
        }
    }

    /// Records that bytes have arrived.
    pub(super) fn heard(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Idle(_)) {
            self.phase = Phase::Head(now);
        }
    }

    /// Records that the head of a request is complete.
    pub(super) fn request(&mut self) {
        self.phase = Phase::Busy;
    }

    /// Records that a response is complete.
    pub(super) fn answered(&mut self, now: Instant) {
        self.phase = Phase::Idle(now);
        self.body_wanted = None;
        self.endless = false;
    }

    /// Records that the response is an event stream, which has no end of its own.
    pub(super) fn endless(&mut self) {
        self.endless = true;
    }

    /// Returns true while the response is an event stream.
    pub(super) fn is_endless(&self) -> bool {
        self.endless
    }

    /// Records whether a handler waits for more of the request's body.
    pub(super) fn body_wanted(&mut self, wanted: bool, now: Instant) {
        self.body_wanted = wanted.then(|| self.body_wanted.unwrap_or(now));
    }

    /// Records whether the client has stopped reading the response.
    pub(super) fn answer_stuck(&mut self, stuck: bool, now: Instant) {
        self.answer_stuck = stuck.then(|| self.answer_stuck.unwrap_or(now));
    }

    /// Returns a description of what the connection has waited for too long; `None` if it has not.
    pub(super) fn overdue(&self, now: Instant) -> Option<&'static str> {
        let over = |since: Instant, limit| now.saturating_duration_since(since) >= limit;
        if self.answer_stuck.is_some_and(|since| over(since, ANSWER)) {
            return Some("the client does not read the response");
        }
        match self.phase {
            Phase::Idle(since) => over(since, KEEP_ALIVE).then_some("no further request"),
            Phase::Head(since) => over(since, HEAD).then_some("no complete request"),
            Phase::Busy => self
                .body_wanted
                .is_some_and(|since| over(since, BODY))
                .then_some("the request's body does not arrive"),
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
            Some("no complete request"),
            "single bytes gain no time"
        );
        activity.request();
        assert!(
            activity.overdue(after(start, 10_000)).is_none(),
            "a response may take its time"
        );
        activity.answered(after(start, 100));
        assert!(activity.overdue(after(start, 174)).is_none());
        assert_eq!(activity.overdue(after(start, 175)), Some("no further request"));
        activity.heard(after(start, 160));
        assert!(activity.overdue(after(start, 169)).is_none());
        assert_eq!(activity.overdue(after(start, 170)), Some("no complete request"));
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
