//! The promises that cross crates, with real processes, and the rules of the repository.

mod api;
mod browser;
mod clocks;
#[path = "../../../store/tests/it/cluster.rs"]
mod cluster;
mod delivery;
mod demo;
mod fleet;
mod memory;
mod release;
mod rollout;
mod strangers;
mod upgrade;
mod webdriver;
mod webhooks;
