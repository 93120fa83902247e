//! Limit on the bytes that firmware may make the device write: flash memory wears out by the total written
//! over years.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iottly_sandbox::Fault;

use crate::clock::Monotonic;

/// Length of a day, in milliseconds.
const DAY_MS: u64 = 86_400_000;
/// Minimum cost of a message, in bytes: storing it alone takes more, in a group less.
const MIN_MESSAGE_BYTES: u64 = 1 << 10;
/// Cost of one sync beside the bytes written, in bytes: a data block and a metadata block of the file system.
const SYNC_BYTES: u64 = 8 << 10;
/// Minimum time between two reports that the budget is used up, in milliseconds.
const REPORT_EVERY_MS: u64 = 3_600_000;

/// Returns the cost of a message or log line of `len` bytes: its storage takes about twice its size.
pub(super) fn message_cost(len: usize, durable: bool) -> u64 {
    (2 * len as u64).max(MIN_MESSAGE_BYTES) + if durable { SYNC_BYTES } else { 0 }
}

/// Returns the cost of replacing a file by one of `len` bytes.
pub(super) fn file_cost(len: usize) -> u64 {
    len as u64 + SYNC_BYTES
}

/// Balance of the budget: starts with a day's bytes, and used bytes return over a day.
#[derive(Debug)]
struct Account {
    /// Bytes a day.
    daily: u64,
    /// Remaining bytes times [`DAY_MS`], so that nothing is lost by rounding.
    left: u128,
    at_ms: u64,
    /// Calls refused since the last report.
    refused: u64,
    report_at_ms: u64,
}

impl Account {
    fn new(daily: u64) -> Self {
        Self {
            daily,
            left: times_day(daily),
            at_ms: 0,
            refused: 0,
            report_at_ms: 0,
        }
    }

    fn take(&mut self, bytes: u64, now_ms: u64) -> bool {
        let gained = u128::from(self.daily) * u128::from(now_ms.saturating_sub(self.at_ms));
        self.at_ms = self.at_ms.max(now_ms);
        self.left = (self.left + gained).min(times_day(self.daily));
        let Some(left) = self.left.checked_sub(times_day(bytes)) else {
            self.refused = self.refused.saturating_add(1);
            return false;
        };
        self.left = left;
        true
    }

    fn give_back(&mut self, bytes: u64) {
        self.left = (self.left + times_day(bytes)).min(times_day(self.daily));
    }

    /// Returns the number of refused calls if a report is due.
    fn report(&mut self, now_ms: u64) -> Option<u64> {
        if self.refused == 0 || now_ms < self.report_at_ms {
            return None;
        }
        self.report_at_ms = now_ms.saturating_add(REPORT_EVERY_MS);
        Some(std::mem::take(&mut self.refused))
    }
}

fn times_day(bytes: u64) -> u128 {
    u128::from(bytes) * u128::from(DAY_MS)
}

/// Write budget of a device, shared by all starts of its firmware; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct WriteBudget {
    account: Arc<Mutex<Account>>,
    clock: Monotonic,
}

impl WriteBudget {
    /// Creates a budget of `daily` bytes a day.
    pub(crate) fn new(daily: u64) -> Self {
        Self {
            account: Arc::new(Mutex::new(Account::new(daily))),
            clock: Monotonic::start(),
        }
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the cost of a call.
    ///
    /// # Errors
    /// [`Fault::Limit`] if less than `bytes` is left.
    pub(super) fn take(&self, bytes: u64) -> Result<(), Fault> {
        let mut account = self.account();
        if account.take(bytes, self.clock.now_ms()) {
            return Ok(());
        }
        Err(Fault::Limit(format!(
            "the firmware's write budget of {} bytes a day is used up",
            account.daily
        )))
    }

    /// Returns the cost of a call that failed to write.
    pub(super) fn give_back(&self, bytes: u64) {
        self.account().give_back(bytes);
    }

    /// Returns the text of the report for the device's operator if one is due: at most once an hour, and only
    /// if calls were refused.
    pub(super) fn report(&self) -> Option<String> {
        let mut account = self.account();
        let refused = account.report(self.clock.now_ms())?;
        let daily = account.daily;
        Some(format!(
            "{refused} calls of the firmware were refused: it may write {daily} bytes a day to this device's disk"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_its_bytes_and_they_come_back_over_a_day() {
        let mut account = Account::new(1_000_000);
        assert!(account.take(1_000_000, 5));
        assert!(!account.take(1, 5));
        assert!(!account.take(500_001, 5 + DAY_MS / 2));
        assert!(account.take(500_000, 5 + DAY_MS / 2));
        assert!(
            !account.take(1_000_000, 0),
            "a clock that steps back yields nothing"
        );
        assert!(
            account.take(1_000_000, 10 * DAY_MS),
            "unused days do not accumulate"
        );
        assert!(!account.take(1, 10 * DAY_MS));
        account.give_back(7);
        assert!(account.take(7, 10 * DAY_MS) && !account.take(1, 10 * DAY_MS));
    }

    #[test]
    fn ten_days_of_flood_write_eleven_days_bytes_at_most_whatever_the_steps() {
        for step_ms in [1_000, 60_000, 7_777_777] {
            let mut account = Account::new(1 << 30);
            let written: u64 = (0..=10 * DAY_MS / step_ms)
                .map(|step| {
                    let cost = message_cost(4096, true);
                    (0..50).take_while(|_| account.take(cost, step * step_ms)).count() as u64 * cost
                })
                .sum();
            assert!(written <= 11 << 30, "{written} bytes in steps of {step_ms} ms");
        }
    }

    #[test]
    fn refused_calls_are_reported_once_an_hour() {
        let mut account = Account::new(10);
        assert!(account.take(10, 0));
        assert_eq!(account.report(0), None);
        assert!((0..3).all(|_| !account.take(10, 0)));
        assert_eq!(account.report(1), Some(3));
        assert!(!account.take(10, 2));
        assert_eq!(account.report(REPORT_EVERY_MS), None);
        assert_eq!(account.report(REPORT_EVERY_MS + 1), Some(1));
    }
}
