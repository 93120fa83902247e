//! Time and short pauses.

use core::time::Duration;

use embedded_hal::delay::DelayNs;

use crate::bindings::iottly::firmware::clock;
use crate::{Fault, device};

/// Returns the time since the firmware started. Never goes backwards.
///
/// # Errors
/// [`Fault::Unsupported`] without a device.
pub fn now() -> Result<Duration, Fault> {
    device::require("the clock")?;
    Ok(Duration::from_nanos(clock::monotonic_ns()))
}

/// Returns the wall-clock time in unix milliseconds. May jump when the device learns the time.
///
/// # Errors
/// [`Fault::Unsupported`] without a device.
pub fn unix_ms() -> Result<u64, Fault> {
    device::require("the clock")?;
    Ok(clock::now_ms())
}

/// Waits, for at most the time that a call may wait; [`timers`](crate::timers) wait longer.
///
/// # Errors
/// [`Fault::Limit`] if the running call has waited for too long already.
pub fn delay(time: Duration) -> Result<(), Fault> {
    device::require("waiting")?;
    let mut left = time.as_nanos();
    while left > 0 {
        let step = u32::try_from(left).unwrap_or(u32::MAX);
        clock::delay_ns(step)?;
        left -= u128::from(step);
    }
    Ok(())
}

/// Delays for drivers by the device's clock.
///
/// The trait has no errors, and a driver that continues too early would read wrong values: a wait that the
/// device refuses ends the firmware.
#[derive(Debug, Clone, Copy, Default)]
pub struct Delay;

impl DelayNs for Delay {
    fn delay_ns(&mut self, ns: u32) {
        if let Err(fault) = delay(Duration::from_nanos(ns.into())) {
            panic!("cannot wait {ns} ns: {fault:?}");
        }
    }
}
