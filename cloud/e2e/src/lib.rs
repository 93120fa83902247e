//! The kit of the end-to-end tests: real processes of the cloud and of agents, and clients of both.
//!
//! Holds no tests and nothing that runs in production.

mod api;
mod date;
mod demo;
mod dev;
mod history;
mod home;
pub mod oracle;
mod process;
mod program;
pub mod secrets;
mod turn;

use std::time::{Duration, Instant};

pub use api::Api;
pub use date::Date;
pub use demo::demo;
pub use dev::{Dev, firmware_folder, save};
pub use history::every_seq_exactly_once;
pub use home::{CloudHome, DeviceHome, build};
pub use process::{Process, free_port, iottly};
pub use program::{agent_program, program};
pub use turn::{alone, beside_others};

/// Longest time that anything may take on a loaded machine before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Polls until `check` returns a value.
///
/// # Panics
/// After [`PATIENCE`], naming `what`.
pub fn wait_for<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "waited {} s for {what}",
            PATIENCE.as_secs()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
