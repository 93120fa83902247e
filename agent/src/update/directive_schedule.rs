//! Schedule of the directives to consider. Pure: the time is an argument, in milliseconds of the monotonic
//! clock.

use iottly_protocol::release::{Ending, Reason, Refusal, Step, UpdateState};

/// First and longest pause before a directive that could not be verified is considered again, in
/// milliseconds.
const PAUSE_MS: (u64, u64) = (1_000, 60_000);
/// Maximum number of directives per minute that are reported as not followed: an attacker on the line can
/// invent them.
const REPORTS_PER_MINUTE: u32 = 10;
const MINUTE_MS: u64 = 60_000;

/// Next question to the repository.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Poll of the repository for a directive.
    Poll,
    /// Admission of this directive.
    Admit(Vec<u8>),
}

#[derive(Debug)]
struct Sent {
    document: Vec<u8>,
    at_ms: u64,
}

/// Known directives and the time of the next question.
#[derive(Debug, Default)]
pub(super) struct DirectiveSchedule {
    /// Directive that was followed last.
    seen: Vec<u8>,
    /// Latest directive from the cloud, and when to consider it.
    sent: Option<Sent>,
    /// Directive that was not valid at the device's time, which may turn out to be wrong.
    waiting: Option<Vec<u8>>,
    /// Directive that came in the last steps of an update, which accepts none.
    held: Option<Vec<u8>>,
    /// Directive and reason that were reported last.
    reported: Option<(Vec<u8>, Reason)>,
    /// Outstanding question; `true` if its document came from the cloud and not from the repository.
    asking: Option<bool>,
    pause_ms: u64,
    poll_at_ms: u64,
    revision: u64,
    /// Revision of the time when the latest question was asked.
    asked_revision: u64,
    minute_ms: u64,
    reported_this_minute: u32,
}

impl DirectiveSchedule {
    /// Stores a directive that the cloud has sent.
    pub(super) fn sent(&mut self, document: Vec<u8>, now_ms: u64) {
        self.pause_ms = PAUSE_MS.0;
        self.held = None;
        self.sent = Some(Sent {
            document,
            at_ms: now_ms,
        });
    }

    /// Holds a directive until the update under way has ended.
    pub(super) fn hold(&mut self, document: Vec<u8>) {
        self.held = Some(document);
    }

    /// Notes that an update has ended: a directive that was held is considered now.
    pub(super) fn update_ended(&mut self, now_ms: u64) {
        if let Some(document) = self.held.take()
            && self.sent.is_none()
        {
            self.sent(document, now_ms);
        }
    }

    /// Returns the directive that was followed last.
    pub(super) fn seen(&self) -> &[u8] {
        &self.seen
    }

    /// Notes how often the cloud's time became known or changed. Returns `true` if the number has changed; a
    /// directive that waits for the time is then considered again.
    pub(super) fn time_revised(&mut self, revision: u64, now_ms: u64) -> bool {
        if self.revision == revision {
            return false;
        }
        self.revision = revision;
        if let Some(document) = self.waiting.take()
            && self.sent.is_none()
        {
            self.sent(document, now_ms);
        }
        true
    }

    /// Returns the time at which [`DirectiveSchedule::next`] may have a question; none while one is
    /// outstanding.
    pub(super) fn due_ms(&self) -> Option<u64> {
        let next = self
            .sent
            .as_ref()
            .map_or(self.poll_at_ms, |sent| sent.at_ms.min(self.poll_at_ms));
        self.asking.is_none().then_some(next)
    }

    /// Returns the question to ask now, one at a time.
    pub(super) fn next(&mut self, now_ms: u64, every_ms: u64) -> Option<Next> {
        if self.asking.is_some() {
            return None;
        }
        self.asked_revision = self.revision;
        if let Some(sent) = self.sent.take_if(|sent| sent.at_ms <= now_ms) {
            self.asking = Some(true);
            return Some(Next::Admit(sent.document));
        }
        if self.poll_at_ms > now_ms {
            return None;
        }
        self.asking = Some(false);
        self.poll_at_ms = now_ms.saturating_add(every_ms);
        Some(Next::Poll)
    }

    /// Closes the outstanding question. Returns `true` if its document came from the cloud.
    pub(super) fn answered(&mut self) -> bool {
        self.asking.take().unwrap_or(false)
    }

    /// Notes that a directive is followed.
    pub(super) fn followed(&mut self, document: Vec<u8>) {
        (self.seen, self.reported, self.waiting) = (document, None, None);
    }

    /// Notes that a directive cannot be verified now. A directive from the cloud is considered again unless a
    /// newer one has arrived. Returns the state to report.
    pub(super) fn unreachable(&mut self, document: Vec<u8>, sent: bool, now_ms: u64) -> Option<UpdateState> {
        let report = self.reports(&document, Reason::Unreachable, now_ms);
        if sent && self.sent.is_none() {
            self.sent = Some(Sent {
                document,
                at_ms: now_ms.saturating_add(self.pause_ms),
            });
            self.pause_ms = self.pause_ms.saturating_mul(2).min(PAUSE_MS.1);
        }
        report.then_some(UpdateState::Underway(Step::VerifyingMeta))
    }

    /// Notes that a directive is refused, or waits. Returns the state to report.
    pub(super) fn refused(&mut self, document: Vec<u8>, why: &Refusal, now_ms: u64) -> Option<UpdateState> {
        let report = self.reports(&document, why.reason, now_ms);
        if matches!(why.reason, Reason::Clock | Reason::Expired) {
            self.waits(document, now_ms);
        }
        let state = if why.reason.is_waiting() {
            UpdateState::Underway(Step::Deferred)
        } else {
            UpdateState::Ended(Ending::Rejected)
        };
        report.then_some(state)
    }

    /// Keeps a directive that was not valid at the device's time until that time is revised. If that has
    /// happened since the question was asked, the directive is considered again at once.
    fn waits(&mut self, document: Vec<u8>, now_ms: u64) {
        if self.revision == self.asked_revision {
            self.waiting = Some(document);
        } else if self.sent.is_none() {
            self.sent(document, now_ms);
        }
    }

    /// Returns `true` if a directive is to be reported: once per document and reason, at most
    /// [`REPORTS_PER_MINUTE`] times a minute.
    fn reports(&mut self, document: &[u8], reason: Reason, now_ms: u64) -> bool {
        if self
            .reported
            .as_ref()
            .is_some_and(|(reported, why)| reported == document && *why == reason)
        {
            return false;
        }
        if now_ms >= self.minute_ms.saturating_add(MINUTE_MS) {
            (self.minute_ms, self.reported_this_minute) = (now_ms, 0);
        }
        if self.reported_this_minute >= REPORTS_PER_MINUTE {
            return false;
        }
        self.reported_this_minute += 1;
        self.reported = Some((document.to_vec(), reason));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: u64 = 60_000;

    fn why(reason: Reason) -> Refusal {
        Refusal {
            reason,
            detail: String::new(),
        }
    }

    /// A schedule whose first poll of the repository found nothing.
    fn schedule() -> DirectiveSchedule {
        let mut schedule = DirectiveSchedule::default();
        assert_eq!(schedule.next(0, EVERY), Some(Next::Poll));
        assert!(!schedule.answered());
        schedule
    }

    #[test]
    fn what_waits_for_the_clock_is_looked_at_when_the_time_becomes_known_and_not_before() {
        let mut schedule = schedule();
        schedule.sent(b"d".to_vec(), 10);
        assert_eq!(schedule.next(10, EVERY), Some(Next::Admit(b"d".to_vec())));
        assert!(schedule.answered());
        assert_eq!(
            schedule.refused(b"d".to_vec(), &why(Reason::Clock), 20),
            Some(UpdateState::Underway(Step::Deferred)),
            "it waits, it has not ended"
        );
        assert!(!schedule.time_revised(0, 30));
        assert_eq!(schedule.next(30, EVERY), None);
        assert_eq!(schedule.due_ms(), Some(EVERY), "nothing is done until then");
        assert!(schedule.time_revised(1, 900));
        assert_eq!(schedule.next(900, EVERY), Some(Next::Admit(b"d".to_vec())));
        schedule.answered();
        schedule.followed(b"d".to_vec());
        assert!(schedule.time_revised(2, 1_000));
        assert_eq!(
            schedule.next(1_000, EVERY),
            None,
            "what was followed waits no more"
        );
    }

    #[test]
    fn what_was_refused_by_a_wrong_time_is_looked_at_when_another_one_is_known() {
        let mut schedule = schedule();
        schedule.time_revised(1, 5);
        schedule.sent(b"d".to_vec(), 10);
        schedule.next(10, EVERY);
        schedule.answered();
        assert_eq!(
            schedule.refused(b"d".to_vec(), &why(Reason::Expired), 20),
            Some(UpdateState::Ended(Ending::Rejected))
        );
        schedule.time_revised(2, 30);
        assert_eq!(schedule.next(30, EVERY), Some(Next::Admit(b"d".to_vec())));
        // A newer directive replaces it.
        schedule.answered();
        schedule.refused(b"d".to_vec(), &why(Reason::Expired), 40);
        schedule.sent(b"e".to_vec(), 50);
        schedule.time_revised(3, 60);
        assert_eq!(schedule.next(60, EVERY), Some(Next::Admit(b"e".to_vec())));
    }

    #[test]
    fn a_time_that_is_revised_during_a_question_counts_for_its_answer() {
        let mut schedule = schedule();
        schedule.sent(b"d".to_vec(), 10);
        schedule.next(10, EVERY);
        assert!(schedule.time_revised(1, 15));
        schedule.answered();
        schedule.refused(b"d".to_vec(), &why(Reason::Clock), 20);
        assert_eq!(schedule.next(20, EVERY), Some(Next::Admit(b"d".to_vec())));
        schedule.answered();
        schedule.refused(b"d".to_vec(), &why(Reason::Expired), 30);
        assert_eq!(schedule.next(30, EVERY), None, "no newer time is known");
    }

    #[test]
    fn what_comes_in_the_last_steps_of_an_update_is_considered_at_its_end() {
        let mut schedule = schedule();
        schedule.sent(b"d".to_vec(), 10);
        assert_eq!(schedule.next(10, EVERY), Some(Next::Admit(b"d".to_vec())));
        schedule.answered();
        schedule.hold(b"d".to_vec());
        assert_eq!(schedule.next(20, EVERY), None);
        schedule.update_ended(30);
        assert_eq!(schedule.next(30, EVERY), Some(Next::Admit(b"d".to_vec())));
        schedule.answered();
        // A newer directive replaces the held one.
        schedule.hold(b"d".to_vec());
        schedule.sent(b"e".to_vec(), 40);
        schedule.update_ended(50);
        assert_eq!(schedule.next(50, EVERY), Some(Next::Admit(b"e".to_vec())));
        schedule.answered();
        schedule.update_ended(60);
        assert_eq!(schedule.next(60, EVERY), None);
    }

    #[test]
    fn what_cannot_be_verified_is_reported_once_and_tried_again_later_each_time() {
        let mut schedule = schedule();
        schedule.sent(b"d".to_vec(), 0);
        let mut now_ms = 0;
        let mut pauses = Vec::new();
        for round in 0..9 {
            assert_eq!(
                schedule.next(now_ms, 10 * MINUTE_MS),
                Some(Next::Admit(b"d".to_vec()))
            );
            let sent = schedule.answered();
            let reported = schedule.unreachable(b"d".to_vec(), sent, now_ms);
            assert_eq!(
                reported,
                (round == 0).then_some(UpdateState::Underway(Step::VerifyingMeta))
            );
            let at_ms = schedule.sent.as_ref().expect("again").at_ms;
            pauses.push(at_ms - now_ms);
            now_ms = at_ms;
        }
        assert_eq!(pauses[..3], [1_000, 2_000, 4_000]);
        assert_eq!(pauses[8], 60_000);
    }

    #[test]
    fn a_flood_of_different_ones_is_reported_ten_times_a_minute() {
        let mut schedule = schedule();
        let reported = (0..1_000u32).filter(|n| {
            schedule
                .refused(
                    n.to_be_bytes().to_vec(),
                    &why(Reason::BadSignature),
                    MINUTE_MS + u64::from(*n),
                )
                .is_some()
        });
        assert_eq!(reported.count(), 10);
        assert!(
            schedule
                .refused(b"x".to_vec(), &why(Reason::BadSignature), 2 * MINUTE_MS)
                .is_some()
        );
    }
}
