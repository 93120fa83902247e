//! PWM outputs of the virtual board.

use std::sync::{Arc, Mutex};

use embedded_hal::pwm::{ErrorType, SetDutyCycle};

use super::claim::{Claim, Owner};
use super::locked;
use super::record::{Action, Record};
use crate::{BoardError, PwmOutput, PwmPort};

#[derive(Clone, Default)]
pub(super) struct Output {
    state: Arc<Mutex<Option<(u32, u16)>>>,
    owner: Owner,
}

impl Output {
    pub(super) fn state(&self) -> Option<(u32, u16)> {
        *locked(&self.state)
    }

    pub(super) fn open(&self, label: &str, hertz: u32, record: &Record) -> Result<PwmPort, BoardError> {
        check(hertz)?;
        let claim = self.owner.claim(label)?;
        let open = Open {
            output: self.clone(),
            label: label.to_owned(),
            record: record.clone(),
            _claim: claim,
        };
        open.set(hertz, 0);
        Ok(Box::new(open))
    }
}

struct Open {
    output: Output,
    label: String,
    record: Record,
    _claim: Claim,
}

impl Open {
    fn set(&self, hertz: u32, duty: u16) {
        *locked(&self.output.state) = Some((hertz, duty));
        self.record.add(Action::Pwm {
            label: self.label.clone(),
            hertz,
            duty,
        });
    }

    fn now(&self) -> (u32, u16) {
        self.output.state().unwrap_or_default()
    }
}

impl ErrorType for Open {
    type Error = BoardError;
}

impl SetDutyCycle for Open {
    fn max_duty_cycle(&self) -> u16 {
        u16::MAX
    }

    fn set_duty_cycle(&mut self, duty: u16) -> Result<(), BoardError> {
        self.set(self.now().0, duty);
        Ok(())
    }
}

impl PwmOutput for Open {
    fn set_frequency(&mut self, hertz: u32) -> Result<(), BoardError> {
        check(hertz)?;
        self.set(hertz, self.now().1);
        Ok(())
    }
}

fn check(hertz: u32) -> Result<(), BoardError> {
    if (1..=1_000_000).contains(&hertz) {
        return Ok(());
    }
    Err(BoardError::Unsupported(format!(
        "a pwm output makes 1 to 1000000 hertz, not {hertz}"
    )))
}
