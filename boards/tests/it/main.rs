//! Tests of boards: the contract of every board, and the virtual board.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod contract;
mod virtual_board;
