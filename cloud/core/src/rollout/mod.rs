//! Rollouts: which devices of a group get a release, when, and when no more do.
//!
//! [`plan`] is a pure function of policy, members and time. Its steps may be executed twice or be interrupted:
//! the next plan begins from what the devices themselves have reported.

mod decide;
mod mark;
mod plan;
mod preflight;
mod resume;
mod steer;
mod summary;

pub use decide::{Decision, decide, seconds};
pub use mark::mark;
pub use plan::{DeviceProgress, Evidence, Member, Plan, Step, plan, rank};
pub use preflight::{Preflight, preflight};
pub use resume::next_if_resumed;
pub use steer::{BY_OWNER, Steered, abandon, steer};
pub use summary::{Alike, Place, Places, exceptional_states, place, states_at, unreported};
