//! Decision when a report about the device's health is sent. Pure; times are milliseconds of a clock that does not jump.

use iottly_protocol::health::{HEALTH_EVERY_MS, HEALTH_LEAST_MS};

/// Number of records that wait from which on a report is followed by another one once they are sent.
const BACKLOG: u64 = 10;

/// Event that the decision handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A cloud that takes reports has welcomed the device.
    Welcomed,
    /// The connection has ended.
    Lost,
    /// The firmware trapped, or was started.
    Firmware,
    /// The queue was emptied after a report of records that wait.
    Drained,
    /// The time of [`Pace::next`] has come.
    Timer,
}

/// State of the reports.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Time of the next report; none without a cloud that takes them.
    due: Option<u64>,
    /// Time of the last report.
    sent: Option<u64>,
    /// The next report tells that the queue was emptied.
    follows: bool,
    /// The last report named records that wait, and another is sent once they are not there any more.
    awaits_empty: bool,
}

impl Pace {
    /// Handles an event. Returns true if a report is to be sent now; [`Pace::reported`] follows.
    pub(super) fn handle(&mut self, event: Event, now: u64) -> bool {
        let earliest = self
            .sent
            .map_or(now, |sent| now.max(sent.saturating_add(HEALTH_LEAST_MS)));
        match event {
            Event::Welcomed => self.due = Some(earliest),
            Event::Lost => {
                self.due = None;
                self.awaits_empty = false;
            }
            Event::Firmware => self.due = self.due.map(|due| due.min(earliest)),
            Event::Drained => {
                if std::mem::take(&mut self.awaits_empty) {
                    self.follows = true;
                    self.due = self.due.map(|due| due.min(earliest));
                }
            }
            Event::Timer => {}
        }
        if self.due.is_none_or(|due| now < due) {
            return false;
        }
        self.sent = Some(now);
        self.due = Some(now.saturating_add(HEALTH_EVERY_MS));
        true
    }

    /// Notes how many records wait by the report that is sent now. Of two reports in a row at most one is sent because the
    /// queue was emptied: a device that always sends would make one every ten seconds.
    pub(super) fn reported(&mut self, waiting: u64) {
        self.awaits_empty = !std::mem::take(&mut self.follows) && waiting >= BACKLOG;
    }

    /// Returns true while [`Event::Drained`] is of interest.
    pub(super) const fn awaits_empty(&self) -> bool {
        self.awaits_empty
    }

    /// Returns the time of the next report.
    pub(super) const fn next(&self) -> Option<u64> {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the decision by the millisecond grid of its own deadlines, and returns the times of reports.
    fn reports(pace: &mut Pace, from: u64, until: u64, waiting: u64) -> Vec<u64> {
        let mut times = Vec::new();
        let mut now = from;
        while let Some(at) = pace.next().filter(|at| *at < until) {
            now = now.max(at);
            if pace.handle(Event::Timer, now) {
                pace.reported(waiting);
                times.push(now);
            }
        }
        times
    }

    #[test]
    fn a_report_follows_each_connection_and_then_every_five_minutes() {
        let mut pace = Pace::default();
        assert!(
            !pace.handle(Event::Timer, 0) && pace.next().is_none(),
            "not connected"
        );
        assert!(!pace.handle(Event::Firmware, 5));
        assert!(pace.handle(Event::Welcomed, 1000));
        pace.reported(0);
        assert_eq!(
            reports(&mut pace, 1000, 1_000_000, 0),
            [301_000, 601_000, 901_000]
        );
        assert!(!pace.handle(Event::Lost, 950_000));
        assert_eq!(pace.next(), None);
        assert!(pace.handle(Event::Welcomed, 960_000));
    }

    #[test]
    fn a_trap_is_reported_at_once_and_traps_without_end_every_ten_seconds() {
        let mut pace = Pace::default();
        assert!(pace.handle(Event::Welcomed, 0));
        assert!(pace.handle(Event::Firmware, 60_000));
        assert!(
            !pace.handle(Event::Firmware, 61_000),
            "the restart a second later"
        );
        assert_eq!(pace.next(), Some(70_000));
        assert!(pace.handle(Event::Timer, 70_000));
        let sent = (70_001..130_000)
            .filter(|now| pace.handle(Event::Firmware, *now))
            .count();
        assert_eq!(sent, 5);
    }

    #[test]
    fn a_connection_that_comes_and_goes_makes_no_flood() {
        let mut pace = Pace::default();
        let mut sent = 0;
        for now in 0..60_000 {
            pace.handle(Event::Lost, now);
            sent += u64::from(pace.handle(Event::Welcomed, now));
        }
        assert_eq!(sent, 60_000 / HEALTH_LEAST_MS);
    }

    #[test]
    fn a_queue_that_was_emptied_is_reported_once() {
        let mut pace = Pace::default();
        assert!(pace.handle(Event::Welcomed, 0));
        pace.reported(50);
        assert!(pace.awaits_empty());
        assert!(!pace.handle(Event::Drained, 200));
        assert!(!pace.awaits_empty());
        assert!(pace.handle(Event::Timer, 10_000));
        pace.reported(50);
        assert!(
            !pace.awaits_empty(),
            "a device that always sends makes no report every ten seconds"
        );
        assert_eq!(pace.next(), Some(310_000));
        assert!(pace.handle(Event::Timer, 310_000));
        pace.reported(3);
        assert!(!pace.awaits_empty(), "a few are always under way");
    }
}
