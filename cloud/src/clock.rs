//! The one place of the cloud that reads the clocks.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use iottly_core::model::UnixMs;

/// Zero of [`steady`].
static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The time now; for shells only, decisions get it as an argument.
#[must_use]
pub fn now() -> UnixMs {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| {
        UnixMs::try_from(elapsed.as_millis()).unwrap_or(UnixMs::MAX)
    })
}

/// Time on a clock that nobody sets and that only runs forward. Its zero means nothing, and it ends with the
/// process.
#[must_use]
pub fn steady() -> Duration {
    BEGIN.elapsed()
}

/// [`steady`] in milliseconds.
#[must_use]
pub fn steady_ms() -> i64 {
    i64::try_from(steady().as_millis()).unwrap_or(i64::MAX)
}

/// Both clocks, read together.
#[must_use]
pub fn moment() -> Moment {
    Moment {
        date: now(),
        steady: steady(),
    }
}

/// A moment on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock, for dates. NTP and operators step it in either direction.
    pub date: UnixMs,
    /// The clock that only runs forward, for durations.
    pub steady: Duration,
}

/// Tells the time: [`now`], or what a test says.
pub type Clock = Arc<dyn Fn() -> UnixMs + Send + Sync>;
