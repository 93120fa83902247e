//! Which directive is looked at when. Pure: the time is an argument, milliseconds of the growing clock.

use iottly_protocol::release::{Ending, Reason, Refusal, Step, UpdateState};

/// First and longest pause before a directive is looked at again that could not be verified, milliseconds.
const PAUSE_MS: (u64, u64) = (1_000, 60_000);
/// Time between two looks at the clock while a directive waits for it, milliseconds.
const CLOCK_EVERY_MS: u64 = 1_000;
/// Directives that are told not to be followed, a minute: whoever is on the line can make them up.
const TOLD_A_MINUTE: u32 = 10;
const MINUTE_MS: u64 = 60_000;

/// The next question to the repository.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Asks whether it has a directive.
    Look,
    /// Asks what to do about this one.
    Admit(Vec<u8>),
}

#[derive(Debug)]
struct Sent {
    document: Vec<u8>,
    at_ms: u64,
}

/// The directives that are known.
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// The one that was followed last.
    seen: Vec<u8>,
    /// A directive to look at, and when; the latest counts.
    sent: Option<Sent>,
    /// A directive that was not in its time, by a time that may turn out to be another one.
    waiting: Option<Vec<u8>>,
    /// The reason that was told last, and of which directive.
    told: Option<(Vec<u8>, Reason)>,
    /// A question is outstanding; whether it is about a document that lies here and not in the repository.
    asking: Option<bool>,
    pause_ms: u64,
    look_at_ms: u64,
    tellings: u64,
    minute_ms: u64,
    told_this_minute: u32,
}

impl Desk {
    /// The cloud has sent one.
    pub(super) fn sent(&mut self, document: Vec<u8>, now_ms: u64) {
        self.pause_ms = PAUSE_MS.0;
        self.sent = Some(Sent {
            document,
            at_ms: now_ms,
        });
    }

    /// The one that was followed last.
    pub(super) fn seen(&self) -> &[u8] {
        &self.seen
    }

    /// Takes note of how often the time was told; says whether that is news. What waits for the time is
    /// looked at again.
    pub(super) fn time_told(&mut self, tellings: u64, now_ms: u64) -> bool {
        if self.tellings == tellings {
            return false;
        }
        self.tellings = tellings;
        if let Some(document) = self.waiting.take()
            && self.sent.is_none()
        {
            self.sent(document, now_ms);
        }
        true
    }

    /// When [`Desk::next`] may have something, or the clock is to be looked at.
    pub(super) fn due_ms(&self, now_ms: u64) -> Option<u64> {
        let clock = self
            .waiting
            .as_ref()
            .map(|_| now_ms.saturating_add(CLOCK_EVERY_MS));
        let next = self
            .sent
            .as_ref()
            .map_or(self.look_at_ms, |sent| sent.at_ms.min(self.look_at_ms));
        [clock, self.asking.is_none().then_some(next)]
            .into_iter()
            .flatten()
            .min()
    }

    /// Returns what is to be asked now; one question at a time.
    pub(super) fn next(&mut self, now_ms: u64, every_ms: u64) -> Option<Next> {
        if self.asking.is_some() {
            return None;
        }
        if let Some(sent) = self.sent.take_if(|sent| sent.at_ms <= now_ms) {
            self.asking = Some(true);
            return Some(Next::Admit(sent.document));
        }
        if self.look_at_ms > now_ms {
            return None;
        }
        self.asking = Some(false);
        self.look_at_ms = now_ms.saturating_add(every_ms);
        Some(Next::Look)
    }

    /// The question is answered; says whether it was about a document that lies in no repository.
    pub(super) fn answered(&mut self) -> bool {
        self.asking.take().unwrap_or(false)
    }

    /// Takes note that a directive is followed.
    pub(super) fn followed(&mut self, document: Vec<u8>) {
        (self.seen, self.told, self.waiting) = (document, None, None);
    }

    /// Takes note that a directive cannot be verified now. One from the cloud is looked at again, unless
    /// something newer came. Returns what to tell.
    pub(super) fn unreachable(&mut self, document: Vec<u8>, sent: bool, now_ms: u64) -> Option<UpdateState> {
        let tell = self.tell(&document, Reason::Unreachable, now_ms);
        if sent && self.sent.is_none() {
            self.sent = Some(Sent {
                document,
                at_ms: now_ms.saturating_add(self.pause_ms),
            });
            self.pause_ms = self.pause_ms.saturating_mul(2).min(PAUSE_MS.1);
        }
        tell.then_some(UpdateState::Underway(Step::VerifyingMeta))
    }

    /// Takes note that a directive is refused, or waits. Returns what to tell.
    pub(super) fn refused(&mut self, document: Vec<u8>, why: &Refusal, now_ms: u64) -> Option<UpdateState> {
        let tell = self.tell(&document, why.reason, now_ms);
        if matches!(why.reason, Reason::Clock | Reason::Expired) {
            self.waiting = Some(document);
        }
        let state = if why.reason.is_waiting() {
            UpdateState::Underway(Step::Deferred)
        } else {
            UpdateState::Ended(Ending::Rejected)
        };
        tell.then_some(state)
    }

    /// Says whether a directive's standing is told: once for each document and reason, and only so many times
    /// a minute.
    fn tell(&mut self, document: &[u8], reason: Reason, now_ms: u64) -> bool {
        if self
            .told
            .as_ref()
            .is_some_and(|(told, why)| told == document && *why == reason)
        {
            return false;
        }
        if now_ms >= self.minute_ms.saturating_add(MINUTE_MS) {
            (self.minute_ms, self.told_this_minute) = (now_ms, 0);
        }
        if self.told_this_minute >= TOLD_A_MINUTE {
            return false;
        }
        self.told_this_minute += 1;
        self.told = Some((document.to_vec(), reason));
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

    /// A desk whose first look at the repository found nothing.
    fn desk() -> Desk {
        let mut desk = Desk::default();
        assert_eq!(desk.next(0, EVERY), Some(Next::Look));
        assert!(!desk.answered());
        desk
    }

    #[test]
    fn what_waits_for_the_clock_is_looked_at_when_the_time_becomes_known_and_not_before() {
        let mut desk = desk();
        desk.sent(b"d".to_vec(), 10);
        assert_eq!(desk.next(10, EVERY), Some(Next::Admit(b"d".to_vec())));
        assert!(desk.answered());
        assert_eq!(
            desk.refused(b"d".to_vec(), &why(Reason::Clock), 20),
            Some(UpdateState::Underway(Step::Deferred)),
            "it waits, it has not ended"
        );
        assert!(!desk.time_told(0, 30));
        assert_eq!(desk.next(30, EVERY), None);
        assert_eq!(desk.due_ms(30), Some(1_030), "the clock is looked at");
        assert!(desk.time_told(1, 900));
        assert_eq!(desk.next(900, EVERY), Some(Next::Admit(b"d".to_vec())));
        desk.answered();
        desk.followed(b"d".to_vec());
        assert!(desk.time_told(2, 1_000));
        assert_eq!(desk.next(1_000, EVERY), None, "what was followed waits no more");
    }

    #[test]
    fn what_was_refused_by_a_wrong_time_is_looked_at_when_another_one_is_told() {
        let mut desk = desk();
        desk.time_told(1, 5);
        desk.sent(b"d".to_vec(), 10);
        desk.next(10, EVERY);
        desk.answered();
        assert_eq!(
            desk.refused(b"d".to_vec(), &why(Reason::Expired), 20),
            Some(UpdateState::Ended(Ending::Rejected))
        );
        desk.time_told(2, 30);
        assert_eq!(desk.next(30, EVERY), Some(Next::Admit(b"d".to_vec())));
        // A newer one takes its place.
        desk.answered();
        desk.refused(b"d".to_vec(), &why(Reason::Expired), 40);
        desk.sent(b"e".to_vec(), 50);
        desk.time_told(3, 60);
        assert_eq!(desk.next(60, EVERY), Some(Next::Admit(b"e".to_vec())));
    }

    #[test]
    fn what_cannot_be_verified_is_told_once_and_tried_again_later_each_time() {
        let mut desk = desk();
        desk.sent(b"d".to_vec(), 0);
        let mut now_ms = 0;
        let mut pauses = Vec::new();
        for round in 0..9 {
            assert_eq!(
                desk.next(now_ms, 10 * MINUTE_MS),
                Some(Next::Admit(b"d".to_vec()))
            );
            let sent = desk.answered();
            let told = desk.unreachable(b"d".to_vec(), sent, now_ms);
            assert_eq!(
                told,
                (round == 0).then_some(UpdateState::Underway(Step::VerifyingMeta))
            );
            let at_ms = desk.sent.as_ref().expect("again").at_ms;
            pauses.push(at_ms - now_ms);
            now_ms = at_ms;
        }
        assert_eq!(pauses[..3], [1_000, 2_000, 4_000]);
        assert_eq!(pauses[8], 60_000);
    }

    #[test]
    fn a_flood_of_different_ones_is_told_ten_times_a_minute() {
        let mut desk = desk();
        let told = (0..1_000u32).filter(|n| {
            desk.refused(
                n.to_be_bytes().to_vec(),
                &why(Reason::BadSignature),
                MINUTE_MS + u64::from(*n),
            )
            .is_some()
        });
        assert_eq!(told.count(), 10);
        assert!(
            desk.refused(b"x".to_vec(), &why(Reason::BadSignature), 2 * MINUTE_MS)
                .is_some()
        );
    }
}
