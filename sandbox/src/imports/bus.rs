//! Common parts of the blocking interfaces: a device on its own thread, a timeout, and limits on what is
//! passed.

use crate::guest::Guest;
use crate::worker::{Late, Worker};
use crate::{Fault, Limits};

/// Reason why a device gave no answer.
pub(super) enum Silent {
    TimedOut,
    Fault(Fault),
}

/// Starts the thread of an opened device.
pub(super) fn start<D: Send + 'static>(guest: &mut Guest, device: D) -> Result<Worker<D>, Fault> {
    Worker::start(device).map_err(|error| {
        let reason = format!("no thread for the device: {error}");
        guest.device_failure = Some(reason.clone());
        Fault::Io(reason)
    })
}

/// Runs `job` on a device, within the time of one transaction and what is left of the call's.
pub(super) fn run<D: Send + 'static, T: Send + 'static>(
    guest: &mut Guest,
    worker: &Worker<D>,
    job: impl FnOnce(&mut D) -> T + Send + 'static,
) -> Result<T, Silent> {
    let most = guest.limits.bus_wait;
    let answer = guest
        .waiting(most, |_, most| worker.run(most, job))
        .map_err(Silent::Fault)?;
    answer.map_err(|late| match late {
        Late::TimedOut => Silent::TimedOut,
        Late::Busy => Silent::Fault(Fault::Busy),
        Late::Gone => Silent::Fault(Fault::Io("the driver of the device ended".to_owned())),
    })
}

/// Adds to the bytes of a transaction, before anything of that size is allocated.
pub(super) fn add(bytes: &mut usize, more: usize, limits: &Limits) -> Result<(), Fault> {
    *bytes = bytes.saturating_add(more);
    if *bytes > limits.bus_bytes {
        return Err(Fault::Limit(format!(
            "a transaction of {bytes} bytes or more, the limit is {}",
            limits.bus_bytes
        )));
    }
    Ok(())
}

/// Checks the number of operations, before any of them is read.
pub(super) fn operations(count: usize, limits: &Limits) -> Result<(), Fault> {
    if count > limits.bus_operations {
        return Err(Fault::Limit(format!(
            "{count} operations in one transaction, the limit is {}",
            limits.bus_operations
        )));
    }
    Ok(())
}
