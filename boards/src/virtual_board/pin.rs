//! Pins of the virtual board.

use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use embedded_hal::digital::{ErrorType, InputPin, OutputPin, StatefulOutputPin};

use super::claim::{Claim, Owner};
use super::locked;
use super::record::{Action, Record};
use super::view::{Direction, Fitting, PinView};
use crate::{BoardError, DigitalInput, Edge, InputPort, OutputPort, Pull, Tell, Watch};

/// Pin, seen from the board's side.
#[derive(Clone, Default)]
pub(super) struct Pin {
    state: Arc<Mutex<State>>,
    owner: Owner,
}

#[derive(Default)]
struct State {
    high: bool,
    /// True once the pin was driven from outside; until then pulls decide.
    driven: bool,
    fitting: Fitting,
    direction: Direction,
    /// Pull of the firmware that reads the pin, or last read it.
    pull: Pull,
    watchers: Vec<Weak<Watcher>>,
}

struct Watcher {
    edge: Edge,
    tell: Tell,
}

impl Pin {
    pub(super) fn level(&self) -> bool {
        locked(&self.state).high
    }

    pub(super) fn fit(&self, fitting: Fitting) {
        locked(&self.state).fitting = fitting;
    }

    pub(super) fn view(&self, label: &str) -> PinView {
        let state = locked(&self.state);
        PinView {
            label: label.to_owned(),
            fitting: state.fitting,
            direction: state.direction,
            high: state.high,
        }
    }

    /// Returns true if the pin is high while nothing drives it.
    pub(super) fn rests_high(&self) -> bool {
        locked(&self.state).pull == Pull::Up
    }

    fn turn(&self, direction: Direction) {
        locked(&self.state).direction = direction;
    }

    /// Sets the level from outside.
    pub(super) fn drive(&self, high: bool) {
        locked(&self.state).driven = true;
        self.change(high);
    }

    fn change(&self, high: bool) {
        let mut state = locked(&self.state);
        if state.high == high {
            return;
        }
        state.high = high;
        let edge = if high { Edge::Rising } else { Edge::Falling };
        state.watchers.retain(|watcher| watcher.strong_count() > 0);
        let watchers: Vec<_> = state
            .watchers
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|watcher| watcher.edge == edge)
            .collect();
        drop(state);
        let now = Instant::now();
        for watcher in watchers {
            (watcher.tell)(now);
        }
    }

    pub(super) fn output(&self, label: &str, high: bool, record: &Record) -> Result<OutputPort, BoardError> {
        let claim = self.owner.claim(label)?;
        let mut output = Output {
            pin: self.clone(),
            label: label.to_owned(),
            record: record.clone(),
            _claim: claim,
        };
        self.turn(Direction::Output);
        output.set(high);
        Ok(Box::new(output))
    }

    pub(super) fn input(&self, label: &str, pull: Pull) -> Result<InputPort, BoardError> {
        let claim = self.owner.claim(label)?;
        self.turn(Direction::Input);
        locked(&self.state).pull = pull;
        if !locked(&self.state).driven && pull != Pull::None {
            self.change(pull == Pull::Up);
        }
        Ok(Box::new(Input {
            pin: self.clone(),
            _claim: claim,
        }))
    }
}

struct Output {
    pin: Pin,
    label: String,
    record: Record,
    _claim: Claim,
}

impl Output {
    fn set(&mut self, high: bool) {
        self.pin.change(high);
        self.record.add(Action::Pin {
            label: self.label.clone(),
            high,
        });
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.pin.turn(Direction::Free);
    }
}

impl ErrorType for Output {
    type Error = BoardError;
}

impl OutputPin for Output {
    fn set_low(&mut self) -> Result<(), BoardError> {
        self.set(false);
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), BoardError> {
        self.set(true);
        Ok(())
    }
}

impl StatefulOutputPin for Output {
    fn is_set_high(&mut self) -> Result<bool, BoardError> {
        Ok(self.pin.level())
    }

    fn is_set_low(&mut self) -> Result<bool, BoardError> {
        Ok(!self.pin.level())
    }
}

struct Input {
    pin: Pin,
    _claim: Claim,
}

impl Drop for Input {
    fn drop(&mut self) {
        self.pin.turn(Direction::Free);
    }
}

impl ErrorType for Input {
    type Error = BoardError;
}

impl InputPin for Input {
    fn is_high(&mut self) -> Result<bool, BoardError> {
        Ok(self.pin.level())
    }

    fn is_low(&mut self) -> Result<bool, BoardError> {
        Ok(!self.pin.level())
    }
}

impl DigitalInput for Input {
    fn watch(&mut self, edge: Edge, tell: Tell) -> Result<Watch, BoardError> {
        let watcher = Arc::new(Watcher { edge, tell });
        locked(&self.pin.state).watchers.push(Arc::downgrade(&watcher));
        Ok(Watch::new(watcher))
    }
}
