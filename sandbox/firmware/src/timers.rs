//! Events at a later time; they arrive at [`Firmware::event`](crate::Firmware::event) with the source
//! returned here.

use core::time::Duration;

use crate::bindings::iottly::firmware::timers;
use crate::{Fault, Source, device};

/// Requests one event after `delay`, in whole milliseconds.
///
/// # Errors
/// [`Fault::Limit`] if too many timers run, [`Fault::Invalid`] for more than 49 days.
pub fn after(delay: Duration) -> Result<Source, Fault> {
    start(delay, false)
}

/// Requests an event after every `period`. A timer that falls behind skips missed events.
///
/// # Errors
/// As [`after`]; [`Fault::Invalid`] for less than a millisecond.
pub fn every(period: Duration) -> Result<Source, Fault> {
    start(period, true)
}

/// Cancels a timer, if it still runs.
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
