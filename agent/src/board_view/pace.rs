//! Decisions of the view of a board: when a state is sent, and when a button is released. Pure.

use std::collections::BTreeMap;

use iottly_protocol::board::{
    BOARD_ALIVE_MS, BOARD_EVERY_MS, BoardInput, BoardOrder, MAX_BOARD_INPUTS, MAX_PRESS_MS, MAX_WATCH_MS,
};

/// Change that an order, or time, makes to the board.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Touch {
    /// A button is pressed (true) or released.
    Button(String, bool),
    /// A value of the world is set.
    Sensor(String, f64),
}

/// State of the view. Times are milliseconds of a clock that does not jump.
#[derive(Debug, Default)]
pub(super) struct Pace {
    watched_until: u64,
    /// Number of the latest order whose inputs were applied.
    applied: u64,
    /// Pressed buttons, with the times at which they are released; at most one of each pin that exists.
    pressed: BTreeMap<String, u64>,
    /// The last state that was sent, and when.
    sent: Option<(u64, Vec<u8>)>,
}

impl Pace {
    /// Takes an order and returns what it changes. A lease may end early by an order too.
    pub(super) fn order(&mut self, order: BoardOrder, now: u64) -> Vec<Touch> {
        let watched = self.is_watched(now);
        self.watched_until = now.saturating_add(order.watch_ms.min(MAX_WATCH_MS));
        if !watched {
            // A new viewer knows nothing of what was sent before.
            self.sent = None;
        }
        if order.inputs.is_empty() {
            return Vec::new();
        }
        self.applied = order.number;
        let mut touches = Vec::new();
        for input in order.inputs.into_iter().take(MAX_BOARD_INPUTS) {
            match input {
                BoardInput::Press { button, hold_ms } => {
                    let until = now.saturating_add(hold_ms.min(MAX_PRESS_MS));
                    self.pressed.insert(button.clone(), until);
                    touches.push(Touch::Button(button, true));
                }
                BoardInput::Release { button } => {
                    self.pressed.remove(&button);
                    touches.push(Touch::Button(button, false));
                }
                BoardInput::Sensor { name, value } => touches.push(Touch::Sensor(name, value)),
                BoardInput::Unknown => {}
            }
        }
        touches
    }

    /// Forgets a press that the board refused.
    pub(super) fn refused(&mut self, button: &str) {
        self.pressed.remove(button);
    }

    /// Returns the buttons that are to be released now.
    pub(super) fn due(&mut self, now: u64) -> Vec<Touch> {
        let due: Vec<String> = (self.pressed.iter())
            .filter(|(_, until)| **until <= now)
            .map(|(button, _)| button.clone())
            .collect();
        for button in &due {
            self.pressed.remove(button);
        }
        due.into_iter()
            .map(|button| Touch::Button(button, false))
            .collect()
    }

    /// Returns the number of the latest order whose inputs were applied.
    pub(super) const fn applied(&self) -> u64 {
        self.applied
    }

    /// Returns true while states are sent.
    pub(super) const fn is_watched(&self, now: u64) -> bool {
        now < self.watched_until
    }

    /// Returns the time of the next step; none while nothing is watched or pressed.
    pub(super) fn next(&self, now: u64) -> Option<u64> {
        let release = self.pressed.values().min().copied();
        let state = self.is_watched(now).then(|| {
            let (at, _) = self.sent.as_ref()?;
            Some(at.saturating_add(BOARD_EVERY_MS))
        });
        let state = state.map(|at| at.unwrap_or(now));
        release.into_iter().chain(state).min()
    }

    /// Returns true if this state is to be sent now: it differs from the last one, or that one is old.
    pub(super) fn send(&mut self, state: &[u8], now: u64) -> bool {
        if !self.is_watched(now) {
            return false;
        }
        let needed = match &self.sent {
            None => true,
            Some((at, _)) if now < at.saturating_add(BOARD_EVERY_MS) => return false,
            Some((at, last)) => last != state || now >= at.saturating_add(BOARD_ALIVE_MS),
        };
        if needed {
            self.sent = Some((now, state.to_vec()));
        }
        needed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(watch_ms: u64) -> BoardOrder {
        BoardOrder {
            number: 1,
            watch_ms,
            inputs: Vec::new(),
        }
    }

    fn press(hold_ms: u64) -> BoardOrder {
        let button = "b".to_owned();
        BoardOrder {
            inputs: vec![BoardInput::Press { button, hold_ms }],
            ..watch(10_000)
        }
    }

    #[test]
    fn nothing_is_sent_unwatched() {
        let mut pace = Pace::default();
        assert_eq!(pace.next(0), None);
        assert!(!pace.send(b"a", 0));
        pace.order(watch(1000), 0);
        assert!(pace.send(b"a", 10));
        assert!(pace.is_watched(999) && !pace.is_watched(1000));
        assert!(!pace.send(b"b", 1000));
        assert_eq!(pace.next(1000), None);
        pace.order(watch(1000), 2000);
        assert!(pace.send(b"a", 2000), "a new viewer gets the state at once");
        pace.order(watch(0), 2100);
        assert!(!pace.send(b"b", 2300), "the cloud can end it");
    }

    #[test]
    fn a_state_that_changes_always_is_sent_ten_times_a_second() {
        let mut pace = Pace::default();
        pace.order(watch(u64::MAX), 0);
        let sent = (0..MAX_WATCH_MS + 5000)
            .filter(|now| pace.send(&now.to_be_bytes(), *now))
            .count();
        assert_eq!(
            sent as u64,
            MAX_WATCH_MS / BOARD_EVERY_MS,
            "and not for longer than 30 s"
        );
    }

    #[test]
    fn a_state_that_stays_is_sent_as_a_sign_of_life() {
        let mut pace = Pace::default();
        pace.order(watch(10_000), 0);
        let sent: Vec<u64> = (0..10_000).filter(|now| pace.send(b"a", *now)).collect();
        assert_eq!(sent, [0, 2000, 4000, 6000, 8000]);
    }

    #[test]
    fn a_press_ends_by_itself() {
        let mut pace = Pace::default();
        let down = Touch::Button("b".to_owned(), true);
        let up = Touch::Button("b".to_owned(), false);
        assert_eq!(pace.order(press(200), 0), std::slice::from_ref(&down));
        assert_eq!(pace.due(199), []);
        assert_eq!(pace.due(200), std::slice::from_ref(&up));
        assert_eq!(pace.due(300), []);
        // Pressed again while it is held, it is held for longer; never for more than ten seconds.
        pace.order(press(5000), 1000);
        pace.order(press(u64::MAX), 4000);
        assert_eq!(pace.due(13_999), []);
        assert_eq!(pace.due(14_000), [up]);
        pace.order(press(500), 20_000);
        pace.refused("b");
        assert_eq!(pace.due(30_000), []);
        assert_eq!(pace.applied(), 1);
    }

    #[test]
    fn the_release_of_a_button_does_not_wait_for_a_viewer() {
        let mut pace = Pace::default();
        pace.order(
            BoardOrder {
                watch_ms: 0,
                ..press(200)
            },
            0,
        );
        assert_eq!(pace.next(0), Some(200));
    }
}
