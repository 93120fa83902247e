//! Boards that firmware runs on, behind the traits of embedded-hal 1.0.
//!
//! A [`Board`] gives out its parts by label: pins, I2C buses, SPI devices, serial ports, PWM outputs, analog
//! inputs. What a label means in hardware is the board's affair. [`VirtualBoard`] lives in memory: the world
//! around it is set by the program, and what firmware does to it is recorded. `tests/contract.rs` is what
//! every board has to pass.

mod board;
mod error;
pub mod virtual_board;

pub use board::{
    AnalogInput, AnalogPort, Board, DigitalInput, Edge, I2cBus, InputPort, OutputPort, Parity, Pull,
    PwmOutput, PwmPort, SerialPort, SerialSettings, SpiPort, Tell, Uart, Watch,
};
pub use error::{BoardError, I2cError, SpiError, UartError};
pub use virtual_board::VirtualBoard;
