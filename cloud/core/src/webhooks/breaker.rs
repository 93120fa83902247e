//! Circuit breaker: after ten failures in a row, a receiver only gets one probe every 30 s until it succeeds.
//! Pure.

use crate::model::UnixMs;

/// Number of failures in a row that open the breaker.
pub const OPENS_AT: u32 = 10;
/// Time between two probes while the breaker is open, in milliseconds.
pub const PROBE_EVERY_MS: UnixMs = 30_000;

/// Event for the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A probe is being sent.
    Probing,
    /// A probe was not sent after all.
    ProbeWithdrawn,
    /// An attempt succeeded.
    Succeeded,
    /// An attempt failed.
    Failed,
}

/// Change of the breaker on which the worker acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Send only probes; other deliveries wait and use up no attempts.
    Opened,
    /// Send deliveries again.
    Closed,
}

/// Deliveries that may be sent at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// All deliveries.
    Everything,
    /// A single delivery, to test the receiver.
    Probe,
    /// No delivery.
    Nothing,
}

/// Circuit breaker of a webhook.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Breaker {
    failures: u32,
    /// Time of the next probe while the breaker is open.
    probe_at: Option<UnixMs>,
    probing: bool,
}

impl Breaker {
    /// Restores a breaker from the stored number of failures in a row, and the time of the next probe if it
    /// is open.
    #[must_use]
    pub const fn kept(failures: u32, probe_at: Option<UnixMs>) -> Self {
        Self {
            failures,
            probe_at,
            probing: false,
        }
    }

    /// Returns the number of failures in a row.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Returns the time of the next probe; `None` while the breaker is closed.
    #[must_use]
    pub const fn probe_at(&self) -> Option<UnixMs> {
        self.probe_at
    }

    /// Returns the deliveries that may be sent.
    #[must_use]
    pub const fn admits(&self, now: UnixMs) -> Admission {
        match self.probe_at {
            None => Admission::Everything,
            // A time further ahead than the interval was stored while the clock was ahead.
            Some(at) if !self.probing && (now >= at || at > now + PROBE_EVERY_MS) => Admission::Probe,
            Some(_) => Admission::Nothing,
        }
    }

    /// Handles an event.
    pub fn handle(&mut self, event: Event, now: UnixMs) -> Vec<Effect> {
        match event {
            Event::Probing => {
                self.probing = true;
                Vec::new()
            }
            Event::ProbeWithdrawn => {
                self.probing = false;
                Vec::new()
            }
            Event::Succeeded => {
                let was_open = self.probe_at.is_some();
                *self = Self::default();
                was_open.then_some(Effect::Closed).into_iter().collect()
            }
            Event::Failed => {
                self.failures = self.failures.saturating_add(1);
                let opens = self.probe_at.is_none() && self.failures >= OPENS_AT;
                if opens || self.probing {
                    (self.probe_at, self.probing) = (Some(now + PROBE_EVERY_MS), false);
                }
                opens.then_some(Effect::Opened).into_iter().collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_failures_open_it_and_a_success_closes_it() {
        let mut breaker = Breaker::default();
        for n in 1..OPENS_AT {
            assert_eq!(breaker.handle(Event::Failed, 0), [], "{n}");
            assert_eq!(breaker.admits(0), Admission::Everything);
        }
        assert_eq!(breaker.handle(Event::Failed, 1000), [Effect::Opened]);
        assert_eq!(breaker.admits(30_999), Admission::Nothing);
        assert_eq!(breaker.admits(31_000), Admission::Probe);
        breaker.handle(Event::Probing, 31_000);
        assert_eq!(breaker.admits(99_000), Admission::Nothing, "one probe at a time");
        assert_eq!(breaker.handle(Event::Failed, 40_000), []);
        assert_eq!(
            (breaker.admits(69_999), breaker.admits(70_000)),
            (Admission::Nothing, Admission::Probe)
        );
        breaker.handle(Event::Probing, 70_000);
        assert_eq!(breaker.handle(Event::Succeeded, 70_001), [Effect::Closed]);
        assert_eq!(
            (breaker.admits(70_001), breaker.failures()),
            (Admission::Everything, 0)
        );
    }

    #[test]
    fn failures_have_to_be_in_a_row() {
        let mut breaker = Breaker::default();
        for _ in 0..100 {
            for _ in 1..OPENS_AT {
                assert_eq!(breaker.handle(Event::Failed, 0), []);
            }
            assert_eq!(breaker.handle(Event::Succeeded, 0), []);
        }
    }

    #[test]
    fn late_failures_do_not_put_the_probe_off() {
        let mut breaker = Breaker::default();
        for _ in 0..OPENS_AT {
            breaker.handle(Event::Failed, 0);
        }
        // What was on its way when it opened.
        breaker.handle(Event::Failed, 15_000);
        assert_eq!(breaker.admits(30_000), Admission::Probe);
        breaker.handle(Event::Probing, 30_000);
        breaker.handle(Event::ProbeWithdrawn, 30_000);
        assert_eq!(breaker.admits(30_000), Admission::Probe);
        assert_eq!(
            Breaker::kept(breaker.failures(), breaker.probe_at()).admits(30_000),
            Admission::Probe
        );
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_put_the_probe_off_for_years() {
        let mut breaker = Breaker::default();
        let ahead = 10 * 365 * 24 * 3_600_000;
        for _ in 0..OPENS_AT {
            breaker.handle(Event::Failed, ahead);
        }
        assert_eq!(breaker.admits(ahead), Admission::Nothing);
        assert_eq!(breaker.admits(0), Admission::Probe);
        breaker.handle(Event::Probing, 0);
        assert_eq!(breaker.handle(Event::Failed, 0), []);
        assert_eq!(
            (breaker.admits(29_999), breaker.admits(30_000)),
            (Admission::Nothing, Admission::Probe)
        );
    }
}
