//! Errors of boards and buses.

use embedded_hal::{digital, i2c, pwm, spi};

/// Reason why a board refuses a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BoardError {
    /// The board has no part of this label.
    #[error("the board has no {what} {label:?}")]
    Missing {
        /// Kind of the part, for example `pin`.
        what: &'static str,
        /// Requested label.
        label: String,
    },
    /// The part exists and cannot do this.
    #[error("{0}")]
    Unsupported(String),
    /// The part is open already.
    #[error("{label:?} is in use")]
    InUse {
        /// Requested label.
        label: String,
    },
    /// Another program, or the kernel, has the part.
    #[error("{label:?} is in use by {by}")]
    Busy {
        /// Requested label.
        label: String,
        /// Name of the consumer, as the kernel knows it.
        by: String,
    },
    /// The label is known, and this machine does not have its device.
    #[error("{label:?}: {node} does not exist; {remedy}")]
    Absent {
        /// Requested label.
        label: String,
        /// Path of the device.
        node: String,
        /// Step that makes it appear.
        remedy: String,
    },
    /// The agent's user may not use the device.
    #[error("{label:?}: no permission for {node}; {remedy}")]
    Denied {
        /// Requested label.
        label: String,
        /// Path of the device.
        node: String,
        /// Step that gives the permission.
        remedy: String,
    },
    /// The profile is for another machine: its GPIO chip is not here.
    #[error(
        "profile {profile} does not fit this machine: {label:?} is on GPIO chip {chip:?}, here are {found}"
    )]
    WrongProfile {
        /// Requested label.
        label: String,
        /// Name of the profile.
        profile: String,
        /// Label of the chip.
        chip: String,
        /// Labels of the chips that exist.
        found: String,
    },
    /// The device did not answer in time.
    #[error("{label:?} does not answer: {reason}")]
    TimedOut {
        /// Requested label.
        label: String,
        /// Step and time.
        reason: String,
    },
    /// The system below the board failed.
    #[error("{0}")]
    Io(String),
}

impl digital::Error for BoardError {
    fn kind(&self) -> digital::ErrorKind {
        digital::ErrorKind::Other
    }
}

impl pwm::Error for BoardError {
    fn kind(&self) -> pwm::ErrorKind {
        pwm::ErrorKind::Other
    }
}

/// Failure of an I2C transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("i2c: {reason}")]
pub struct I2cError {
    /// Kind in embedded-hal's terms.
    pub kind: i2c::ErrorKind,
    /// Details for people.
    pub reason: String,
}

impl i2c::Error for I2cError {
    fn kind(&self) -> i2c::ErrorKind {
        self.kind
    }
}

/// Failure of an SPI transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("spi: {reason}")]
pub struct SpiError {
    /// Kind in embedded-hal's terms.
    pub kind: spi::ErrorKind,
    /// Details for people.
    pub reason: String,
}

impl spi::Error for SpiError {
    fn kind(&self) -> spi::ErrorKind {
        self.kind
    }
}

/// Failure of a serial port; the kinds are those of embedded-hal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UartError {
    /// Data arrived faster than it was read.
    #[error("uart: data came faster than it was read")]
    Overrun,
    /// Received data does not have the frame's format.
    #[error("uart: damaged frame")]
    FrameFormat,
    /// A parity bit was wrong.
    #[error("uart: wrong parity")]
    Parity,
    /// The line is noisy.
    #[error("uart: noise")]
    Noise,
    /// Every other failure.
    #[error("uart: {0}")]
    Other(String),
}
