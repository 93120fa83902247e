use std::time::Duration;

/// Something that happens to a board from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A pin is driven; true is high.
    Pin {
        /// Which one.
        label: String,
        /// To which level.
        high: bool,
    },
    /// Bytes arrive at a serial port.
    Bytes {
        /// Which one.
        label: String,
        /// What arrives.
        bytes: Vec<u8>,
    },
    /// The voltage at an analog input changes.
    Microvolts {
        /// Which one.
        label: String,
        /// To how much.
        microvolts: i32,
    },
}

/// Inputs at given times. It has no clock of its own: whoever plays it says how late it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script {
    /// In order of time, last first.
    steps: Vec<(Duration, Input)>,
}

impl Script {
    /// A script of these inputs, each with its time from the beginning.
    #[must_use]
    pub fn new(steps: impl IntoIterator<Item = (Duration, Input)>) -> Self {
        let mut steps: Vec<_> = steps.into_iter().collect();
        steps.reverse();
        steps.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        Self { steps }
    }

    /// Takes the next input whose time has come.
    pub fn due(&mut self, elapsed: Duration) -> Option<Input> {
        self.steps
            .pop_if(|(at, _)| *at <= elapsed)
            .map(|(_, input)| input)
    }

    /// When the next input comes; none when the script is over.
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
