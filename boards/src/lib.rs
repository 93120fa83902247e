//! Boards that firmware runs on, behind the traits of embedded-hal 1.0.
//!
//! [`VirtualBoard`] lives in memory: its pins are named, set from outside like the world sets a real board's, and observable.

mod virtual_board;

pub use virtual_board::{NoSuchPin, VirtualBoard, VirtualPin};
