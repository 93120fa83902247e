//! Rollouts: which devices of a group are directed to install a release, and when.
//!
//! [`plan`] is a pure function of policy, members and time. Its steps may be executed twice, or their
//! execution may stop in between: the next plan begins with what the devices have reported. [`Rollouts`]
//! makes releases of branches and executes the plans of all projects: every step is stored before it is sent
//! to a device.

mod builder;
mod builds;
mod component;
mod executor;
mod files;
mod flash;
mod service;
mod steady;
mod upkeep;

pub use builder::{Build, BuildFailure, Builder, Imports};
pub use executor::StepError;
pub use flash::{FlashError, FlashRequest, Flashed};
pub use service::Rollouts;
pub use steady::SteadyClock;
