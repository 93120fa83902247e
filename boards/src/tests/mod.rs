//! Tests of boards: profiles, the virtual board, and the board with Linux on real files.

#[cfg(target_os = "linux")]
mod linux_board;
mod profiles;
mod view;
mod virtual_board;
