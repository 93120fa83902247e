//! Tests of boards: the contract of every board, and the virtual board.

mod contract;
mod virtual_board;
