//! Requests of machines to act for a person, in the device flow of RFC 8628: which of them get a place in the table, and
//! the answer to each when it asks again. Pure; the table is in the memory of the cloud, so that strangers write nothing to
//! the database.

use std::collections::HashMap;
use std::hash::Hash;

use iottly_protocol::enroll::ShortCode;

use crate::model::{SecretHash, UnixMs};

/// Validity of a request, in milliseconds: ten minutes.
pub const VALID_MS: UnixMs = 10 * 60 * 1000;
/// Interval in which a machine asks again, in milliseconds. One that asks earlier gets a longer interval.
pub const POLL_MS: UnixMs = 2_000;
/// Increase of the interval of a machine that asks too early, in milliseconds.
const SLOWER_MS: UnixMs = 2_000;
/// Maximum interval, in milliseconds.
const MAX_POLL_MS: UnixMs = 30_000;
/// Time by which a machine may be early, in milliseconds: timers and networks are not exact.
const EARLY_MS: UnixMs = 500;
/// Maximum number of requests in the table.
pub const MAX_REQUESTS: usize = 1_024;
/// Maximum number of requests in the table that come from one share, such as an address.
pub const MAX_REQUESTS_EACH: usize = 8;

/// Request of a machine, as the person sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginRequest {
    /// Code by which the person names the request.
    pub code: ShortCode,
    /// Name that the machine gives itself.
    pub machine: String,
    /// Address that the request came from.
    pub from: String,
    /// Time of the request.
    pub since: UnixMs,
}

/// Answer to a machine that asks again, with the words of RFC 8628.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginAnswer<A> {
    /// No person has decided yet.
    Pending {
        /// Interval in which the machine asks again, in milliseconds.
        poll_ms: UnixMs,
        /// True if the machine has asked too early.
        slow_down: bool,
    },
    /// A person has approved the request. It has left the table: each approval is used once.
    Approved(LoginRequest, A),
    /// A person has rejected the request.
    Denied,
    /// The secret is unknown, or its time is over.
    Expired,
}

/// Table of requests. A share without a place goes before the one that has most places.
#[derive(Debug)]
pub struct LoginRequests<S, A> {
    entries: HashMap<[u8; 32], Entry<S, A>>,
}

#[derive(Debug)]
struct Entry<S, A> {
    share: S,
    request: LoginRequest,
    asked: UnixMs,
    poll_ms: UnixMs,
    decision: Option<Decision<A>>,
}

#[derive(Debug)]
enum Decision<A> {
    Approved(A),
    Denied,
}

impl<S, A> Default for LoginRequests<S, A> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
        }
    }
}

impl<S: Clone + Eq + Hash, A> LoginRequests<S, A> {
    /// Adds a request, which the machine names by a secret with this hash. `now` is of a clock that does not jump. Returns
    /// false if there is no room for it.
    pub fn add(&mut self, share: S, secret: SecretHash, request: LoginRequest, now: UnixMs) -> bool {
        self.entries.retain(|_, entry| entry.is_in_time(now));
        let taken = self
            .entries
            .values()
            .any(|entry| entry.request.code == request.code);
        if taken || !self.make_room(&share) {
            return false;
        }
        let entry = Entry {
            share,
            request,
            asked: now,
            poll_ms: POLL_MS,
            decision: None,
        };
        self.entries.insert(secret.0, entry);
        true
    }

    /// Answers a machine that asks again.
    pub fn poll(&mut self, secret: SecretHash, now: UnixMs) -> LoginAnswer<A> {
        let Some(entry) = self.entries.get_mut(&secret.0) else {
            return LoginAnswer::Expired;
        };
        if entry.is_in_time(now) && entry.decision.is_none() {
            return entry.again(now);
        }
        let Some(entry) = self
            .entries
            .remove(&secret.0)
            .filter(|entry| entry.is_in_time(now))
        else {
            return LoginAnswer::Expired;
        };
        match entry.decision {
            Some(Decision::Approved(approval)) => LoginAnswer::Approved(entry.request, approval),
            Some(Decision::Denied) => LoginAnswer::Denied,
            None => LoginAnswer::Expired,
        }
    }

    /// Returns the request with this code, if its time is not over and no person has decided on it.
    #[must_use]
    pub fn find(&self, code: ShortCode, now: UnixMs) -> Option<&LoginRequest> {
        let open = |entry: &&Entry<S, A>| entry.is_open(code, now);
        self.entries.values().find(open).map(|entry| &entry.request)
    }

    /// Approves the request with this code. Returns false if there is none.
    pub fn approve(&mut self, code: ShortCode, approval: A, now: UnixMs) -> bool {
        self.decide(code, Decision::Approved(approval), now)
    }

    /// Rejects the request with this code. Returns false if there is none.
    pub fn deny(&mut self, code: ShortCode, now: UnixMs) -> bool {
        self.decide(code, Decision::Denied, now)
    }

    fn decide(&mut self, code: ShortCode, decision: Decision<A>, now: UnixMs) -> bool {
        let mut entries = self.entries.values_mut();
        let found = entries.find(|entry| entry.is_open(code, now));
        found.map(|entry| entry.decision = Some(decision)).is_some()
    }

    fn make_room(&mut self, share: &S) -> bool {
        let mut counts: HashMap<&S, usize> = HashMap::new();
        for entry in self.entries.values() {
            *counts.entry(&entry.share).or_default() += 1;
        }
        let mine = counts.get(share).copied().unwrap_or(0);
        if mine >= MAX_REQUESTS_EACH {
            return false;
        }
        if self.entries.len() < MAX_REQUESTS {
            return true;
        }
        let largest = counts.into_iter().max_by_key(|(_, count)| *count);
        let Some((largest, _)) = largest.filter(|(_, most)| *most > mine + 1) else {
            return false;
        };
        let oldest = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.share == *largest)
            .min_by_key(|(_, entry)| entry.request.since)
            .map(|(key, _)| *key);
        oldest.is_some_and(|key| self.entries.remove(&key).is_some())
    }
}

impl<S, A> Entry<S, A> {
    fn is_in_time(&self, now: UnixMs) -> bool {
        now.saturating_sub(self.request.since) < VALID_MS
    }

    /// Returns true if the code names this request. Codes are compared by their hashes, so that the time that it takes says
    /// nothing about them.
    fn is_open(&self, code: ShortCode, now: UnixMs) -> bool {
        let hash = |code: ShortCode| SecretHash::of(code.to_string().as_bytes());
        self.decision.is_none() && self.is_in_time(now) && hash(self.request.code).matches(&hash(code))
    }

    fn again(&mut self, now: UnixMs) -> LoginAnswer<A> {
        let slow_down = now.saturating_sub(self.asked) < self.poll_ms - EARLY_MS;
        if slow_down {
            self.poll_ms = (self.poll_ms + SLOWER_MS).min(MAX_POLL_MS);
        }
        self.asked = now;
        LoginAnswer::Pending {
            poll_ms: self.poll_ms,
            slow_down,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(n: u32) -> ShortCode {
        let [a, b, c, d] = n.to_be_bytes();
        ShortCode::from_bytes([0, a, b, c, d])
    }

    fn secret(n: u32) -> SecretHash {
        SecretHash::of(&n.to_be_bytes())
    }

    fn add(table: &mut LoginRequests<u32, &'static str>, share: u32, n: u32, now: UnixMs) -> bool {
        let request = LoginRequest {
            code: code(n),
            machine: format!("machine {n}"),
            from: "192.0.2.1".to_owned(),
            since: now,
        };
        table.add(share, secret(n), request, now)
    }

    #[test]
    fn an_approval_is_used_once() {
        let mut table = LoginRequests::default();
        assert!(add(&mut table, 1, 7, 0));
        let waits = LoginAnswer::Pending {
            poll_ms: POLL_MS,
            slow_down: false,
        };
        assert_eq!(table.poll(secret(7), POLL_MS), waits);
        assert_eq!(table.poll(secret(8), POLL_MS), LoginAnswer::Expired, "unknown");
        assert_eq!(
            table.find(code(7), 1).map(|found| found.machine.as_str()),
            Some("machine 7")
        );
        assert!(table.find(code(8), 1).is_none() && !table.approve(code(8), "no", 1));
        assert!(table.approve(code(7), "yes", 1));
        assert!(
            table.find(code(7), 1).is_none() && !table.deny(code(7), 1),
            "decided already"
        );
        assert!(matches!(
            table.poll(secret(7), 2),
            LoginAnswer::Approved(request, "yes") if request.machine == "machine 7"
        ));
        assert_eq!(table.poll(secret(7), 2), LoginAnswer::Expired);
    }

    #[test]
    fn a_rejected_request_and_an_old_one_end() {
        let mut table = LoginRequests::<u32, &str>::default();
        assert!(add(&mut table, 1, 1, 0) && add(&mut table, 1, 2, 0) && add(&mut table, 1, 3, 0));
        assert!(table.deny(code(1), 1));
        assert_eq!(table.poll(secret(1), 2), LoginAnswer::Denied);
        assert!(table.find(code(2), VALID_MS - 1).is_some());
        assert!(table.find(code(2), VALID_MS).is_none() && !table.approve(code(2), "late", VALID_MS));
        assert_eq!(table.poll(secret(2), VALID_MS), LoginAnswer::Expired);
        assert!(table.approve(code(3), "yes", VALID_MS - 1));
        assert_eq!(
            table.poll(secret(3), VALID_MS),
            LoginAnswer::Expired,
            "an approval that was fetched too late is none"
        );
    }

    #[test]
    fn a_machine_that_asks_too_often_is_slowed_down() {
        let mut table = LoginRequests::<u32, &str>::default();
        assert!(add(&mut table, 1, 1, 0));
        let early = LoginAnswer::Pending {
            poll_ms: POLL_MS + SLOWER_MS,
            slow_down: true,
        };
        assert_eq!(table.poll(secret(1), 100), early);
        for now in 101..200 {
            table.poll(secret(1), now);
        }
        let slowest = LoginAnswer::Pending {
            poll_ms: MAX_POLL_MS,
            slow_down: false,
        };
        assert_eq!(table.poll(secret(1), 200 + MAX_POLL_MS), slowest);
    }

    #[test]
    fn one_address_cannot_fill_the_table() {
        let mut table = LoginRequests::<u32, &str>::default();
        let own = (0..20).filter(|n| add(&mut table, 1, *n, 0)).count();
        assert_eq!(own, MAX_REQUESTS_EACH);
        let mut share = 1;
        for n in 100..5_000 {
            share = if n % 8 == 0 { share + 1 } else { share };
            add(&mut table, share, n, 1);
        }
        assert_eq!(table.entries.len(), MAX_REQUESTS);
        assert!(add(&mut table, 9_999, 6_000, 2), "a stranger still finds room");
        assert!(!add(&mut table, 9_998, 6_000, 2), "a code names one request");
    }
}
