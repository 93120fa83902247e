//! The system's clocks: the wall clock for dates and a steady clock for durations.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use iottly_core::model::UnixMs;

/// Zero of [`steady`].
static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Returns the current time; for services only, decisions take it as an argument.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "reads the wall clock for all services")]
pub fn now() -> UnixMs {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| {
        UnixMs::try_from(elapsed.as_millis()).unwrap_or(UnixMs::MAX)
    })
}

/// Returns the time of a clock that is never set and only advances. Its zero is arbitrary, and it ends with
/// the process.
#[must_use]
pub fn steady() -> Duration {
    BEGIN.elapsed()
}

/// Returns [`steady`] in milliseconds.
#[must_use]
pub fn steady_ms() -> i64 {
    i64::try_from(steady().as_millis()).unwrap_or(i64::MAX)
}

/// Returns both clocks, read together.
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
    /// Time of the wall clock, for dates. NTP and operators set it in either direction.
    pub date: UnixMs,
    /// Time of the clock that only advances, for durations.
    pub steady: Duration,
}

/// Source of the current time: [`now`], or a test's clock.
pub type Clock = Arc<dyn Fn() -> UnixMs + Send + Sync>;
