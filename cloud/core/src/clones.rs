//! Copies of a device: when two boards log in as one device, and the verdict on each of them. Pure.
//!
//! A process of an agent has a random boot id, so two boards with one disk image have two of them, and take turns: a boot
//! id that was left comes back. A board that restarts never returns to an earlier one.

use std::collections::VecDeque;

use iottly_protocol::BootId;

use crate::model::{CopyFate, DeviceCopy, UnixMs};

/// Maximum number of copies of a device that are distinguished. Another one takes the place of the one that was silent for
/// longest.
pub const MAX_COPIES: usize = 8;
/// Number of former boot ids of a device that are remembered.
const FORMER: usize = 4;
/// Time within which returns are counted, in milliseconds.
const WINDOW_MS: UnixMs = 60_000;
/// Number of returns that prove a copy on the same hardware. A single one may be a hello that was late.
const RETURNS: usize = 2;

/// Board as its hello shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Start of the agent's process.
    pub boot: BootId,
    /// Hash of the serial number or machine id.
    pub hardware: Option<String>,
    /// Address of the connection.
    pub address: String,
}

impl Seen {
    fn is_other_hardware(&self, other: &Self) -> bool {
        matches!((&self.hardware, &other.hardware), (Some(one), Some(two)) if one != two)
    }
}

/// Boot ids that have said hello as one device.
#[derive(Debug, Clone, Default)]
pub struct Boots {
    current: Option<Seen>,
    /// Earlier ones, oldest first.
    former: VecDeque<Seen>,
    returns: VecDeque<UnixMs>,
}

impl Boots {
    /// Takes a hello. Returns the two boards, the one that was known earlier first, once it is certain that they are two:
    /// on different hardware when a board comes back for the first time, otherwise when it happens twice within a minute.
    pub fn hello(&mut self, seen: Seen, now: UnixMs) -> Option<[Seen; 2]> {
        let current = self.current.replace(seen.clone())?;
        if current.boot == seen.boot {
            return None;
        }
        let known = self.former.iter().position(|former| former.boot == seen.boot);
        if let Some(at) = known {
            self.former.remove(at);
        }
        if self.former.len() >= FORMER {
            self.former.pop_front();
        }
        self.former.push_back(current.clone());
        known?;
        self.returns.retain(|at| now.saturating_sub(*at) < WINDOW_MS);
        self.returns.push_back(now);
        if self.returns.len() < RETURNS && !seen.is_other_hardware(&current) {
            return None;
        }
        // The first board came back first, and then the second did.
        let two = if self.returns.len() % 2 == 1 {
            [seen, current]
        } else {
            [current, seen]
        };
        *self = Self::default();
        Some(two)
    }
}

/// Answer to a board of a device that has or had copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The board is the device.
    Go,
    /// No operator has decided yet: nothing is delivered and nothing is taken.
    Held,
    /// Another board was kept: this one is a copy and stops.
    Left,
}

/// Copies of a device, from the moment they were noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    copies: Vec<DeviceCopy>,
}

impl Hold {
    /// Begins with two boards.
    #[must_use]
    pub fn begin(two: [Seen; 2], now: UnixMs) -> Self {
        let mut hold = Self { copies: Vec::new() };
        for seen in two {
            hold.heard(seen, now);
        }
        hold
    }

    /// Returns the hold of stored copies.
    #[must_use]
    pub fn of(copies: Vec<DeviceCopy>) -> Self {
        Self { copies }
    }

    /// Returns the copies, by number.
    #[must_use]
    pub fn copies(&self) -> &[DeviceCopy] {
        &self.copies
    }

    /// Returns true while no operator has decided.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.copies.iter().all(|copy| copy.fate == CopyFate::Open)
    }

    /// Returns the verdict on a board.
    #[must_use]
    pub fn verdict(&self, boot: BootId) -> Verdict {
        if self.is_open() {
            return Verdict::Held;
        }
        let copy = self.copies.iter().find(|copy| copy.boot == boot);
        match copy.map(|copy| copy.fate) {
            Some(CopyFate::Left) => Verdict::Left,
            Some(CopyFate::Open | CopyFate::Kept) | None => Verdict::Go,
        }
    }

    /// Notes that a board was heard. Returns true if the copies have to be stored.
    pub fn heard(&mut self, seen: Seen, now: UnixMs) -> bool {
        if let Some(copy) = self.copies.iter_mut().find(|copy| copy.boot == seen.boot) {
            copy.seen = now;
            if copy.address == seen.address {
                return false;
            }
            copy.address = seen.address;
            return true;
        }
        if !self.is_open() {
            return false;
        }
        let number = match self.place(&seen) {
            Some(at) => self.copies.remove(at).number,
            None => u32::try_from(self.copies.len())
                .unwrap_or(u32::MAX)
                .saturating_add(1),
        };
        self.copies.push(DeviceCopy {
            number,
            boot: seen.boot,
            hardware: seen.hardware,
            address: seen.address,
            seen: now,
            fate: CopyFate::Open,
        });
        self.copies.sort_by_key(|copy| copy.number);
        true
    }

    /// Returns the place that a board takes over: its own of before a restart, which its hardware shows if no other copy
    /// has the same; or the one that was silent for longest, if there are too many.
    fn place(&self, seen: &Seen) -> Option<usize> {
        let same = |copy: &DeviceCopy| seen.hardware.is_some() && copy.hardware == seen.hardware;
        if self.copies.iter().filter(|copy| same(copy)).count() == 1 && self.copies.len() > 1 {
            return self.copies.iter().position(same);
        }
        let all = self.copies.iter().enumerate();
        let silent = all.min_by_key(|(_, copy)| copy.seen).map(|(at, _)| at);
        silent.filter(|_| self.copies.len() >= MAX_COPIES)
    }

    /// Keeps one board; all others are copies. Returns false if there is none of this number, or an operator has decided.
    pub fn keep(&mut self, number: u32) -> bool {
        if !self.is_open() || self.copies.iter().all(|copy| copy.number != number) {
            return false;
        }
        for copy in &mut self.copies {
            copy.fate = if copy.number == number {
                CopyFate::Kept
            } else {
                CopyFate::Left
            };
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(boot: u8, hardware: Option<&str>) -> Seen {
        Seen {
            boot: BootId::from_bytes([boot; 16]),
            hardware: hardware.map(str::to_owned),
            address: format!("192.0.2.{boot}"),
        }
    }

    fn boots(hellos: &[(u8, Option<&str>, UnixMs)]) -> Option<(usize, [u8; 2])> {
        let mut boots = Boots::default();
        hellos.iter().enumerate().find_map(|(at, (boot, hardware, now))| {
            let two = boots.hello(seen(*boot, *hardware), *now)?;
            Some((at, two.map(|seen| seen.boot.as_bytes()[0])))
        })
    }

    #[test]
    fn a_board_that_restarts_and_reconnects_is_one_board() {
        let hellos: Vec<_> = (0..200).map(|n| (n / 3, Some("a"), i64::from(n))).collect();
        assert_eq!(boots(&hellos), None);
        // A hello of the former process that was late.
        assert_eq!(
            boots(&[(1, None, 0), (2, None, 1), (1, None, 2), (2, None, 90_000)]),
            None
        );
        // A disk that was moved to another board.
        assert_eq!(
            boots(&[(1, Some("a"), 0), (2, Some("b"), 1), (3, Some("b"), 2)]),
            None
        );
    }

    #[test]
    fn two_boards_that_take_turns_are_noticed() {
        let turns = [(1, None, 0), (2, None, 1), (1, None, 2), (2, None, 3)];
        assert_eq!(boots(&turns), Some((3, [1, 2])));
        let same = turns.map(|(boot, _, now)| (boot, Some("a"), now));
        assert_eq!(boots(&same), Some((3, [1, 2])));
        let other = [(1, Some("a"), 0), (2, Some("b"), 1), (1, Some("a"), 2)];
        assert_eq!(
            boots(&other),
            Some((2, [1, 2])),
            "other hardware is certain at once"
        );
        let slow = turns.map(|(boot, _, now)| (boot, None, now * WINDOW_MS));
        assert_eq!(boots(&slow), None);
    }

    #[test]
    fn memory_for_boots_is_bounded() {
        let mut boots = Boots::default();
        for n in 0..100 {
            boots.hello(seen(n, None), 0);
            assert!(boots.former.len() <= FORMER && boots.returns.len() <= RETURNS);
        }
    }

    fn numbers(hold: &Hold) -> Vec<(u32, u8)> {
        hold.copies()
            .iter()
            .map(|copy| (copy.number, copy.boot.as_bytes()[0]))
            .collect()
    }

    #[test]
    fn all_are_held_until_one_is_kept() {
        let mut hold = Hold::begin([seen(1, None), seen(2, None)], 0);
        assert_eq!(numbers(&hold), [(1, 1), (2, 2)]);
        let verdict = |hold: &Hold, boot| hold.verdict(BootId::from_bytes([boot; 16]));
        for boot in 1..4 {
            assert_eq!(verdict(&hold, boot), Verdict::Held);
        }
        assert!(!hold.heard(seen(1, None), 5) && hold.heard(seen(3, None), 6));
        assert!(!hold.keep(4));
        assert!(hold.keep(2) && !hold.keep(1), "there is one decision");
        assert_eq!(
            [1, 2, 3, 9].map(|boot| verdict(&hold, boot)),
            [Verdict::Left, Verdict::Go, Verdict::Left, Verdict::Go]
        );
        assert!(
            !hold.heard(seen(9, None), 7),
            "a later start of the kept board is no copy"
        );
    }

    #[test]
    fn a_copy_that_restarts_keeps_its_number_and_there_are_few() {
        let mut hold = Hold::begin([seen(1, Some("a")), seen(2, Some("b"))], 0);
        assert!(hold.heard(seen(3, Some("b")), 1));
        assert_eq!(numbers(&hold), [(1, 1), (2, 3)]);
        for n in 10..40 {
            hold.heard(seen(n, None), i64::from(n));
            assert!(hold.copies().len() <= MAX_COPIES);
        }
        let mut distinct: Vec<_> = numbers(&hold).into_iter().map(|(number, _)| number).collect();
        distinct.dedup();
        assert_eq!(distinct.len(), MAX_COPIES);
    }
}
