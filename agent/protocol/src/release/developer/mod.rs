//! Developer leases: signed orders that let named devices run a script for some hours, and what the devices
//! report about them.
//!
//! An order names no component, no release number and no floor: it can only replace the firmware's script, and
//! only until the lease ends.

mod admit;
mod order;
mod report;

pub use admit::{DeveloperFacts, OfferedScript, admit_order, admit_script};
pub use order::{
    DeveloperOrder, LeaseId, MAX_LEASE_DEVICES, MAX_LEASE_S, MAX_ORDER_BYTES, MAX_ORDER_COUNTER,
    MAX_ORDER_SCRIPT_BYTES, OrderAction, OrderError, developer_role,
};
pub use report::{DeveloperReport, DeveloperState, Place};
