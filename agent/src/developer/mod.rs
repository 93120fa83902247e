//! Developer orders: code that runs from memory in place of the release, until its lease ends.

mod event;
mod lease;
mod machine;
#[cfg(test)]
mod machine_tests;
mod memory;
mod offered;
mod place;

pub(crate) use event::{Event, Site, Verified};
pub(crate) use lease::Lease;
pub(crate) use offered::offered;
