//! Evidence from a firmware's calls, on which a release in its trial is kept or rolled back. Pure.
//!
//! A firmware that does not crash may still not work: an exception in every pass of the loop ends no
//! instance. So a firmware counts as working only if its own code succeeded:
//!
//! - a pass of the loop has returned, and
//! - neither the loop nor its events fail each time: of their latest three calls (of all, if there were
//!   fewer) one returned, and
//! - a firmware that has no loop, and whose events have not come yet, does not throw in every command that it
//!   was given.

/// Number of failures in a row after which a kind of call counts as failing, if earlier ones returned.
const STREAK: u32 = 3;
/// Milliseconds to the next pass that a firmware without a loop asks for: a day, the maximum.
const NO_LOOP_MS: u32 = 86_400_000;

/// Kind of call that runs code of the firmware's author.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Pass of the loop.
    Tick,
    /// Timer or event of the board.
    Event,
    /// Handler of a command.
    Handle,
}

/// Results of the calls of one kind.
#[derive(Debug, Clone, Default)]
struct Calls {
    returned: u64,
    failed_in_a_row: u32,
    reason: String,
}

impl Calls {
    fn is_failing(&self) -> bool {
        self.failed_in_a_row >= STREAK || (self.returned == 0 && self.failed_in_a_row > 0)
    }

    fn returned(&mut self) {
        self.returned = self.returned.saturating_add(1);
        self.failed_in_a_row = 0;
    }

    fn failed(&mut self, reason: &str) {
        self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
        self.reason.clear();
        self.reason.push_str(reason);
    }

    fn complaint(&self, what: &str) -> String {
        format!(
            "{what} failed {} times in a row, last with: {}",
            self.failed_in_a_row, self.reason
        )
    }
}

/// Evidence from the calls of one instance.
#[derive(Debug, Clone, Default)]
pub struct Proof {
    tick: Calls,
    event: Calls,
    handle: Calls,
    /// True once a pass of the loop asked for another one within a day.
    loops: bool,
}

impl Proof {
    /// Notes that a pass of the loop returned, and asked for the next one after `next_ms`.
    pub fn ticked(&mut self, next_ms: u32) {
        self.loops |= next_ms < NO_LOOP_MS;
        self.tick.returned();
    }

    /// Notes that a call returned.
    pub fn returned(&mut self, kind: Kind) {
        self.calls(kind).returned();
    }

    /// Notes that a call failed with a fault or an exception.
    pub fn failed(&mut self, kind: Kind, reason: &str) {
        self.calls(kind).failed(reason);
    }

    /// Decides whether the firmware has shown that it works.
    ///
    /// # Errors
    /// The missing evidence, for people.
    pub fn verdict(&self) -> Result<(), String> {
        if self.tick.is_failing() {
            return Err(self.tick.complaint("loop"));
        }
        if self.event.is_failing() {
            return Err(self.event.complaint("events"));
        }
        if self.tick.returned == 0 {
            return Err("no pass of the loop has returned yet".to_owned());
        }
        if !self.loops && self.event.returned == 0 && self.handle.is_failing() {
            return Err(self.handle.complaint("commands"));
        }
        Ok(())
    }

    fn calls(&mut self, kind: Kind) -> &mut Calls {
        match kind {
            Kind::Tick => &mut self.tick,
            Kind::Event => &mut self.event,
            Kind::Handle => &mut self.handle,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(kind: Kind, times: u32) -> Proof {
        let mut proof = Proof::default();
        (0..times).for_each(|_| proof.failed(kind, "ReferenceError: readTemperature is not defined"));
        proof
    }

    #[test]
    fn a_loop_that_always_throws_proves_nothing() {
        for times in 1..20 {
            let reason = failing(Kind::Tick, times).verdict().unwrap_err();
            assert!(
                reason.starts_with(&format!(
                    "loop failed {times} times in a row, last with: ReferenceError"
                )),
                "{reason}"
            );
        }
        assert_eq!(
            Proof::default().verdict().unwrap_err(),
            "no pass of the loop has returned yet"
        );
    }

    #[test]
    fn one_pass_that_returns_is_enough() {
        let mut proof = failing(Kind::Tick, 7);
        proof.ticked(1000);
        assert_eq!(proof.verdict(), Ok(()), "it began to work");
        proof.failed(Kind::Tick, "a sensor was busy");
        proof.failed(Kind::Tick, "a sensor was busy");
        assert_eq!(proof.verdict(), Ok(()), "now and then a pass may fail");
        proof.failed(Kind::Tick, "a sensor is gone");
        assert!(proof.verdict().unwrap_err().contains("a sensor is gone"));
    }

    #[test]
    fn a_timer_that_always_throws_proves_nothing_although_the_loop_is_fine() {
        for next_ms in [1000, NO_LOOP_MS] {
            let mut proof = failing(Kind::Event, 1);
            proof.ticked(next_ms);
            assert!(proof.verdict().unwrap_err().starts_with("events failed 1 times"));
            proof.returned(Kind::Event);
            assert_eq!(proof.verdict(), Ok(()));
        }
    }

    #[test]
    fn commands_count_for_a_firmware_that_has_nothing_else() {
        let mut proof = failing(Kind::Handle, 2);
        proof.ticked(NO_LOOP_MS);
        assert!(
            proof
                .verdict()
                .unwrap_err()
                .starts_with("commands failed 2 times")
        );
        proof.returned(Kind::Handle);
        assert_eq!(proof.verdict(), Ok(()));
        let mut proof = failing(Kind::Handle, 9);
        proof.ticked(1000);
        assert_eq!(
            proof.verdict(),
            Ok(()),
            "a sender's mistakes do not condemn a loop that works"
        );
    }
}
