//! Rollouts: which devices of a group are told to run a release, when, and when no more are.
//!
//! [`plan`] is a pure function of policy, members and time. Whoever executes its steps may do so twice or die in between: the
//! next plan begins from what the devices themselves have reported.

mod plan;
mod policy;

pub use plan::{Evidence, Member, Plan, Run, Standing, Status, Step, Wish, plan, rank};
pub use policy::{Policy, PolicyError, Wave};
