use embedded_hal::{digital, i2c, pwm, spi};

/// Why a board does not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BoardError {
    /// There is no such thing on this board.
    #[error("the board has no {what} {label:?}")]
    Missing {
        /// What was looked for, for example `pin`.
        what: &'static str,
        /// Its label.
        label: String,
    },
    /// The thing is there and cannot do this.
    #[error("{0}")]
    Unsupported(String),
    /// Somebody has opened it already.
    #[error("{label:?} is in use")]
    InUse {
        /// Its label.
        label: String,
    },
    /// The system below failed.
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

/// Why an I2C transaction failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("i2c: {reason}")]
pub struct I2cError {
    /// Its kind in embedded-hal's terms.
    pub kind: i2c::ErrorKind,
    /// What happened, for people.
    pub reason: String,
}

impl i2c::Error for I2cError {
    fn kind(&self) -> i2c::ErrorKind {
        self.kind
    }
}

/// Why an SPI transaction failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("spi: {reason}")]
pub struct SpiError {
    /// Its kind in embedded-hal's terms.
    pub kind: spi::ErrorKind,
    /// What happened, for people.
    pub reason: String,
}

impl spi::Error for SpiError {
    fn kind(&self) -> spi::ErrorKind {
        self.kind
    }
}

/// Why a serial port failed; the kinds of embedded-hal's serial errors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UartError {
    /// Data came faster than it was taken.
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
    /// Anything else.
    #[error("uart: {0}")]
    Other(String),
}
