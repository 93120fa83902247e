//! Scripted inputs of a virtual board. Reads no clock: the time is an argument.

use std::time::Duration;

/// Input to a board from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A pin is driven; true is high.
    Pin {
        /// Label of the pin.
        label: String,
        /// New level.
        high: bool,
    },
    /// Bytes arrive at a serial port.
    Bytes {
        /// Label of the port.
        label: String,
        /// Arriving bytes.
        bytes: Vec<u8>,
    },
    /// The voltage at an analog input changes.
    Microvolts {
        /// Label of the input.
        label: String,
        /// New voltage.
        microvolts: i32,
    },
}

/// Inputs at given times. Has no clock of its own: the caller names the elapsed time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script {
    /// Inputs in the order of time, the last first.
    steps: Vec<(Duration, Input)>,
}

impl Script {
    /// Returns a script of these inputs, each with its time from the beginning.
    #[must_use]
    pub fn new(steps: impl IntoIterator<Item = (Duration, Input)>) -> Self {
        let mut steps: Vec<_> = steps.into_iter().collect();
        steps.reverse();
        steps.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        Self { steps }
    }

    /// Takes the next input that is due.
    pub fn due(&mut self, elapsed: Duration) -> Option<Input> {
        self.steps
            .pop_if(|(at, _)| *at <= elapsed)
            .map(|(_, input)| input)
    }

    /// Returns the time of the next input; none after the last.
    #[must_use]
    pub fn next_at(&self) -> Option<Duration> {
        self.steps.last().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(label: &str) -> Input {
        Input::Pin {
            label: label.to_owned(),
            high: true,
        }
    }

    #[test]
    fn inputs_come_in_order_of_time_and_then_as_written() {
        let at = Duration::from_millis;
        let mut script = Script::new([(at(5), press("c")), (at(1), press("a")), (at(1), press("b"))]);
        assert_eq!(script.due(at(0)), None);
        assert_eq!(script.next_at(), Some(at(1)));
        assert_eq!(
            [script.due(at(1)), script.due(at(1)), script.due(at(1))],
            [Some(press("a")), Some(press("b")), None]
        );
        assert_eq!(script.due(at(9)), Some(press("c")));
        assert_eq!(script.next_at(), None);
    }
}
