//! Boards that firmware runs on, behind the traits of embedded-hal 1.0.
//!
//! A [`Board`] opens its parts by label: pins, I2C buses, SPI devices, serial ports, PWM outputs, analog
//! inputs. The board decides which hardware a label means. [`VirtualBoard`] exists in memory: the program
//! sets the world around it, and the board records what firmware does. [`LinuxBoard`] drives the devices of a
//! machine, which a [`profile::Profile`] names. Every board has to pass [`contract::all`].

mod board;
pub mod contract;
mod error;
#[cfg(target_os = "linux")]
pub mod linux;
mod parts;
pub mod profile;
pub mod virtual_board;

pub use board::{
    AnalogInput, AnalogPort, Board, DigitalInput, Edge, I2cBus, InputPort, OutputPort, Parity, Pull,
    PwmOutput, PwmPort, SerialPort, SerialSettings, SpiPort, Tell, Uart, Watch,
};
pub use error::{BoardError, I2cError, SpiError, UartError};
#[cfg(target_os = "linux")]
pub use linux::LinuxBoard;
pub use parts::{Part, State};
pub use virtual_board::VirtualBoard;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failure here is a failed test")]
mod tests;
