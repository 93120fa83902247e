//! Rollouts: which devices of a group are told to run a release, when, and when no more are.
//!
//! [`plan`] is a pure function of policy, members and time. Whoever executes its steps may do so twice or die
//! in between: the next plan begins from what the devices themselves have reported. [`Rollouts`] makes
//! releases out of branches, and executes the plans of all projects: every step is in the store before a
//! device hears of it.

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
