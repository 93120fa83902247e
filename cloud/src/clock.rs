//! The one place of the cloud that reads the wall clock.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::model::UnixMs;

/// The time now; for shells only, decisions get it as an argument.
#[must_use]
pub fn now() -> UnixMs {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| UnixMs::try_from(elapsed.as_millis()).unwrap_or(UnixMs::MAX))
}

/// Tells the time: [`now`], or what a test says.
pub type Clock = Arc<dyn Fn() -> UnixMs + Send + Sync>;
