//! Boards that wait for a person's approval: which of them get a place in a list, and the answer to each when it asks
//! again. Pure; the lists live in the memory of the cloud, so that strangers write nothing to the database.

use std::collections::HashMap;
use std::hash::Hash;

use iottly_protocol::enroll::{DeviceKey, ProvenEnrollment, ShortCode};

use crate::model::UnixMs;

/// Validity of a short code, in milliseconds: ten minutes. A board of an enrolment key keeps its place for as long as it
/// asks again within this time.
pub const WAIT_MS: UnixMs = 10 * 60 * 1000;
/// Interval in which a board asks again, in milliseconds. A board that asks earlier gets a longer one.
pub const POLL_MS: UnixMs = 5_000;
/// Increase of the interval of a board that asks too early, in milliseconds.
const SLOWER_MS: UnixMs = 5_000;
/// Maximum interval, in milliseconds.
const MAX_POLL_MS: UnixMs = 60_000;
/// Time by which a board may be early, in milliseconds: timers and networks are not exact.
const EARLY_MS: UnixMs = 1_000;

/// Bounds of a list, and the rule for the end of its places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListRules {
    /// Maximum number of boards in the list.
    pub boards: usize,
    /// Maximum number of boards of one share (an address, a project).
    pub boards_each: usize,
    /// True if asking again keeps the place; false if it ends [`WAIT_MS`] after the first request.
    pub renewed: bool,
}

/// Boards without a code, by their addresses.
pub const STRANGERS: ListRules = ListRules {
    boards: 2_048,
    boards_each: 32,
    renewed: false,
};

/// Boards of waiting enrolment keys, by the projects of the keys.
pub const KEYED: ListRules = ListRules {
    boards: 8_192,
    boards_each: 1_024,
    renewed: true,
};

/// Board that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingBoard<K> {
    /// Address or project that its place is counted for.
    pub share: K,
    /// Request of the board.
    pub request: ProvenEnrollment,
    /// Code by which people name the board.
    pub code: ShortCode,
    /// Address that the last request came from, for people.
    pub from: String,
    /// Time of the first request.
    pub since: UnixMs,
    asked: UnixMs,
    poll_ms: UnixMs,
    denied: bool,
}

/// Answer to a board that waits, with the words of RFC 8628.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// No operator has decided yet.
    Wait {
        /// Code of the board.
        code: ShortCode,
        /// Interval in which the board asks again, in milliseconds.
        poll_ms: UnixMs,
        /// Time until the code expires, in milliseconds.
        expires_ms: UnixMs,
        /// True if the board has asked too early.
        slow_down: bool,
    },
    /// A person has rejected the board.
    Denied,
    /// The time of the code is over; the next request gets a new one.
    Expired,
    /// No place is free.
    Full,
}

/// List of waiting boards. Their places are counted by shares, so that one address or project leaves room for others.
#[derive(Debug)]
pub struct WaitingList<K> {
    rules: ListRules,
    boards: HashMap<DeviceKey, WaitingBoard<K>>,
}

impl<K: Clone + Eq + Hash> WaitingList<K> {
    /// Creates an empty list.
    #[must_use]
    pub fn new(rules: ListRules) -> Self {
        Self {
            rules,
            boards: HashMap::new(),
        }
    }

    /// Answers a request of a board that has no approval. `fresh` becomes its code if it has none. `now` is of a
    /// clock that does not jump.
    pub fn ask(
        &mut self,
        share: K,
        request: &ProvenEnrollment,
        from: String,
        fresh: ShortCode,
        now: UnixMs,
    ) -> Told {
        let key = request.device_key();
        if let Some(board) = self.boards.get_mut(&key) {
            if board.denied && board.is_in_time(self.rules, now) {
                return Told::Denied;
            }
            if board.share == share && board.is_in_time(self.rules, now) {
                return board.again(self.rules, request, from, now);
            }
            let expired = board.share == share && !board.denied && !self.rules.renewed;
            self.boards.remove(&key);
            if expired {
                return Told::Expired;
            }
        }
        let taken = self.boards.values().any(|board| board.code == fresh);
        if taken || !self.make_room(&share, now) {
            return Told::Full;
        }
        let board = WaitingBoard {
            share,
            request: request.clone(),
            code: fresh,
            from,
            since: now,
            asked: now,
            poll_ms: POLL_MS,
            denied: false,
        };
        let told = board.wait(self.rules, false, now);
        self.boards.insert(key, board);
        told
    }

    /// Returns the board with this code, if its time is not over and it was not rejected.
    #[must_use]
    pub fn find(&self, code: ShortCode, now: UnixMs) -> Option<&WaitingBoard<K>> {
        let mut boards = self
            .boards
            .values()
            .filter(|board| board.is_open(self.rules, now));
        boards.find(|board| board.code == code)
    }

    /// Returns the board with this device key, whatever has become of it.
    #[must_use]
    pub fn board(&self, key: &DeviceKey) -> Option<&WaitingBoard<K>> {
        self.boards.get(key)
    }

    /// Returns the open boards of a share, those that wait longest first.
    #[must_use]
    pub fn of(&self, share: &K, now: UnixMs) -> Vec<&WaitingBoard<K>> {
        let open = |board: &&WaitingBoard<K>| board.share == *share && board.is_open(self.rules, now);
        let mut boards: Vec<_> = self.boards.values().filter(open).collect();
        boards.sort_by_key(|board| (board.since, board.code.to_string()));
        boards
    }

    /// Rejects a board: until [`WAIT_MS`] from now its requests are answered so.
    pub fn deny(&mut self, key: &DeviceKey, now: UnixMs) {
        if let Some(board) = self.boards.get_mut(key) {
            board.denied = true;
            board.since = now;
            board.asked = now;
        }
    }

    /// Removes a board that has its place in a project.
    pub fn remove(&mut self, key: &DeviceKey) {
        self.boards.remove(key);
    }

    /// Makes room for one more board of a share. A share without a place goes before the one that has most places, which
    /// loses its oldest. Returns false if there is no room.
    fn make_room(&mut self, share: &K, now: UnixMs) -> bool {
        let rules = self.rules;
        let own = |boards: &HashMap<DeviceKey, WaitingBoard<K>>| {
            boards.values().filter(|board| board.share == *share).count()
        };
        if self.boards.len() >= rules.boards || own(&self.boards) >= rules.boards_each {
            self.boards.retain(|_, board| board.is_in_time(rules, now));
        }
        let mine = own(&self.boards);
        if mine >= rules.boards_each {
            return false;
        }
        if self.boards.len() < rules.boards {
            return true;
        }
        let mut counts: HashMap<&K, usize> = HashMap::new();
        for board in self.boards.values() {
            *counts.entry(&board.share).or_default() += 1;
        }
        let Some((largest, most)) = counts.into_iter().max_by_key(|(_, count)| *count) else {
            return false;
        };
        if most <= mine + 1 {
            return false;
        }
        let oldest = self
            .boards
            .iter()
            .filter(|(_, board)| board.share == *largest)
            .min_by_key(|(_, board)| board.since)
            .map(|(key, _)| *key);
        oldest.is_some_and(|key| self.boards.remove(&key).is_some())
    }
}

impl<K> WaitingBoard<K> {
    fn end(&self, rules: ListRules) -> UnixMs {
        let start = if rules.renewed { self.asked } else { self.since };
        start.saturating_add(WAIT_MS)
    }

    fn is_in_time(&self, rules: ListRules, now: UnixMs) -> bool {
        now < self.end(rules)
    }

    fn is_open(&self, rules: ListRules, now: UnixMs) -> bool {
        !self.denied && self.is_in_time(rules, now)
    }

    fn again(&mut self, rules: ListRules, request: &ProvenEnrollment, from: String, now: UnixMs) -> Told {
        let early = now.saturating_sub(self.asked) < self.poll_ms - EARLY_MS;
        if early {
            self.poll_ms = (self.poll_ms + SLOWER_MS).min(MAX_POLL_MS);
        }
        self.request = request.clone();
        self.from = from;
        self.asked = now;
        self.wait(rules, early, now)
    }

    fn wait(&self, rules: ListRules, slow_down: bool, now: UnixMs) -> Told {
        Told::Wait {
            code: self.code,
            poll_ms: self.poll_ms,
            expires_ms: self.end(rules) - now,
            slow_down,
        }
    }
}

/// Maximum number of wrong codes that a person, a token or an address may name within [`WAIT_MS`].
pub const GUESSES: u32 = 5;
/// Maximum number of guessers that are remembered. Beyond it the one that began to guess first is forgotten: strangers
/// must not be able to keep others from naming a code.
const MAX_GUESSERS: usize = 10_000;

/// Wrong short codes, by those who named them.
#[derive(Debug)]
pub struct Guesses<K> {
    wrong: HashMap<K, (u32, UnixMs)>,
}

impl<K> Default for Guesses<K> {
    fn default() -> Self {
        Self {
            wrong: HashMap::new(),
        }
    }
}

impl<K: Eq + Hash> Guesses<K> {
    /// Returns the time to wait in milliseconds if `who` has named too many wrong codes.
    ///
    /// # Errors
    /// The time to wait.
    pub fn admit(&self, who: &K, now: UnixMs) -> Result<(), UnixMs> {
        match self.wrong.get(who) {
            Some((count, since)) if *count >= GUESSES && !is_over(*since, now) => Err(since + WAIT_MS - now),
            Some(_) | None => Ok(()),
        }
    }

    /// Counts a wrong code of `who`, who was admitted.
    pub fn wrong(&mut self, who: K, now: UnixMs) {
        if self.wrong.len() >= MAX_GUESSERS && !self.wrong.contains_key(&who) {
            self.wrong.retain(|_, (_, since)| !is_over(*since, now));
            if self.wrong.len() >= MAX_GUESSERS
                && let Some(first) = self.wrong.values().map(|(_, since)| *since).min()
            {
                // All that began at this moment: under a flood the next one then finds room.
                self.wrong.retain(|_, (_, since)| *since > first);
            }
        }
        let entry = self.wrong.entry(who).or_insert((0, now));
        if is_over(entry.1, now) {
            *entry = (0, now);
        }
        entry.0 += 1;
    }
}

fn is_over(since: UnixMs, now: UnixMs) -> bool {
    now.saturating_sub(since) >= WAIT_MS
}

#[cfg(test)]
mod tests {
    use iottly_protocol::enroll::{BoardFacts, DeviceSigner, EnrollRequest, SealingSecret};

    use super::*;

    const FEW: ListRules = ListRules {
        boards: 6,
        boards_each: 4,
        renewed: false,
    };

    fn request(key: u8) -> ProvenEnrollment {
        EnrollRequest::signed(
            None,
            &DeviceSigner::from_secret(&[key; 32]),
            &SealingSecret::from_secret([3; 32]),
            BoardFacts::default(),
            None,
        )
        .proven()
        .expect("signed")
    }

    fn code(n: u8) -> ShortCode {
        ShortCode::from_bytes([n; 5])
    }

    fn ask(list: &mut WaitingList<u8>, share: u8, key: u8, now: UnixMs) -> Told {
        list.ask(share, &request(key), "192.0.2.1".into(), code(key), now)
    }

    fn waits(told: Told) -> Option<(ShortCode, UnixMs, UnixMs, bool)> {
        match told {
            Told::Wait {
                code,
                poll_ms,
                expires_ms,
                slow_down,
            } => Some((code, poll_ms, expires_ms, slow_down)),
            Told::Denied | Told::Expired | Told::Full => None,
        }
    }

    #[test]
    fn a_board_keeps_its_code_for_ten_minutes_and_then_gets_another() {
        let mut list = WaitingList::new(STRANGERS);
        let told = ask(&mut list, 1, 7, 0);
        assert_eq!(waits(told), Some((code(7), POLL_MS, WAIT_MS, false)));
        let later = list.ask(1, &request(7), String::new(), code(8), POLL_MS);
        assert_eq!(waits(later), Some((code(7), POLL_MS, WAIT_MS - POLL_MS, false)));
        assert!(list.find(code(7), WAIT_MS - 1).is_some());
        assert!(
            list.find(code(7), WAIT_MS).is_none(),
            "an expired code names nothing"
        );
        assert_eq!(ask(&mut list, 1, 7, WAIT_MS), Told::Expired);
        assert_eq!(
            waits(list.ask(1, &request(7), String::new(), code(9), WAIT_MS + 1)).map(|told| told.0),
            Some(code(9))
        );
        assert!(list.find(code(7), WAIT_MS + 1).is_none());
    }

    #[test]
    fn a_board_that_asks_too_often_is_slowed_down() {
        let mut list = WaitingList::new(STRANGERS);
        ask(&mut list, 1, 7, 0);
        let early = waits(ask(&mut list, 1, 7, 1_000)).expect("waits");
        assert_eq!((early.1, early.3), (POLL_MS + SLOWER_MS, true));
        let right = waits(ask(&mut list, 1, 7, 1_000 + early.1)).expect("waits");
        assert_eq!((right.1, right.3), (early.1, false));
        for now in 12_000..12_100 {
            ask(&mut list, 1, 7, now);
        }
        assert_eq!(waits(ask(&mut list, 1, 7, 12_100)).expect("waits").1, MAX_POLL_MS);
    }

    #[test]
    fn a_rejected_board_is_told_so_until_its_time_is_over() {
        let mut list = WaitingList::new(STRANGERS);
        ask(&mut list, 1, 7, 0);
        list.deny(&request(7).device_key(), 1_000);
        assert!(list.find(code(7), 1_000).is_none() && list.of(&1, 1_000).is_empty());
        assert_eq!(ask(&mut list, 1, 7, 1_000 + WAIT_MS - 1), Told::Denied);
        assert!(waits(ask(&mut list, 1, 7, 1_000 + WAIT_MS)).is_some());
    }

    #[test]
    fn a_board_of_an_enrolment_key_keeps_its_place_while_it_asks() {
        let mut list = WaitingList::new(KEYED);
        let mut now = 0;
        for _ in 0..10 {
            assert_eq!(waits(ask(&mut list, 1, 7, now)).expect("waits").2, WAIT_MS);
            now += WAIT_MS - 1;
        }
        assert!(list.find(code(7), now).is_some());
        assert!(list.find(code(7), now + WAIT_MS).is_none());
        ask(&mut list, 2, 8, now);
        let shown = |share: u8| {
            list.of(&share, now)
                .iter()
                .map(|board| board.code)
                .collect::<Vec<_>>()
        };
        assert_eq!((shown(1), shown(2)), (vec![code(7)], vec![code(8)]));
    }

    #[test]
    fn one_address_fills_neither_the_list_nor_the_places_of_others() {
        let mut list = WaitingList::new(FEW);
        for key in 0..9 {
            let told = ask(&mut list, 1, key, i64::from(key));
            assert_eq!(told == Told::Full, key >= 4, "{key}");
        }
        // Two more fill the list; then the one with most places makes room for newcomers.
        for (share, key) in [(2, 20), (3, 30), (4, 40), (5, 50)] {
            assert!(waits(ask(&mut list, share, key, 10)).is_some(), "{share}");
            assert!(list.boards.len() <= FEW.boards);
        }
        assert!(list.find(code(0), 10).is_none(), "the oldest board of address 1");
        assert!(list.find(code(3), 10).is_some());
        for share in 6..8 {
            ask(&mut list, share, share * 10, 10);
        }
        assert_eq!(ask(&mut list, 9, 90, 10), Told::Full, "all have one place");
        assert!(waits(ask(&mut list, 9, 90, 10 + WAIT_MS)).is_some(), "places end");
    }

    #[test]
    fn five_wrong_codes_in_ten_minutes_are_all() {
        let mut guesses = Guesses::default();
        for _ in 0..GUESSES {
            assert_eq!(guesses.admit(&1, 0), Ok(()));
            guesses.wrong(1, 0);
        }
        assert_eq!(guesses.admit(&1, 1), Err(WAIT_MS - 1));
        assert_eq!(guesses.admit(&2, 1), Ok(()), "others are not concerned");
        assert_eq!(guesses.admit(&1, WAIT_MS), Ok(()));
        guesses.wrong(1, WAIT_MS);
        assert_eq!(guesses.admit(&1, WAIT_MS + 1), Ok(()), "a new window");
        for guesser in 10..10 + i32::try_from(MAX_GUESSERS).expect("small") {
            if guesses.admit(&guesser, WAIT_MS).is_ok() {
                guesses.wrong(guesser, WAIT_MS);
            }
        }
        assert!(guesses.wrong.len() <= MAX_GUESSERS);
        assert_eq!(
            guesses.admit(&0, WAIT_MS),
            Ok(()),
            "a flood of guessers keeps no other out"
        );
        for _ in 0..GUESSES {
            guesses.wrong(1, WAIT_MS + 5);
        }
        for guesser in -i32::try_from(MAX_GUESSERS).expect("small") + 100..0 {
            guesses.wrong(guesser, WAIT_MS + 4);
        }
        assert!(guesses.wrong.len() <= MAX_GUESSERS);
        assert!(
            guesses.admit(&1, WAIT_MS + 6).is_err(),
            "the latest guessers are remembered"
        );
        assert_eq!(guesses.admit(&0, 2 * WAIT_MS), Ok(()));
    }
}
