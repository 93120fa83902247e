//! Events at a later time; they arrive at [`Firmware::event`](crate::Firmware::event) with the source given
//! here.

use core::time::Duration;

use crate::bindings::iottly::firmware::timers;
use crate::{Fault, Source, device};

/// Asks for one event after `delay`, which counts in whole milliseconds.
///
/// # Errors
/// [`Fault::Limit`] when too many timers run, [`Fault::Invalid`] for more than 49 days.
pub fn after(delay: Duration) -> Result<Source, Fault> {
    start(delay, false)
}

/// Asks for an event after every `period`. One that falls behind skips what it missed.
///
/// # Errors
/// As [`after`]; [`Fault::Invalid`] for less than a millisecond.
pub fn every(period: Duration) -> Result<Source, Fault> {
    start(period, true)
}

/// Forgets a timer. One that has ended is no error.
pub fn cancel(timer: Source) {
    if device::present() {
        timers::cancel(timer.0);
    }
}

fn start(delay: Duration, repeat: bool) -> Result<Source, Fault> {
    device::require("a timer")?;
    let ms = u32::try_from(delay.as_millis())
        .map_err(|_| Fault::Invalid(format!("{delay:?} is too long for a timer")))?;
    timers::start(ms, repeat).map(Source)
}
