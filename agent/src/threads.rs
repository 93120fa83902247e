//! Threads: their names, and waiting for their end in async code.

use std::thread::JoinHandle;
use std::time::Duration;

use iottly_protocol::DeviceId;
use tokio::time::{Instant, sleep};

/// Time between two checks of a thread.
const INTERVAL: Duration = Duration::from_millis(2);

/// Waits until a thread has ended, at most `deadline`. Returns `true` if it has.
///
/// Joining would occupy a thread of the runtime, which could not stop meanwhile.
pub(crate) async fn ended(thread: &JoinHandle<()>, deadline: Duration) -> bool {
    let end = Instant::now() + deadline;
    while !thread.is_finished() {
        if Instant::now() >= end {
            return false;
        }
        sleep(INTERVAL).await;
    }
    true
}

/// Returns a thread name. The system cuts names to 15 bytes: the end of the id distinguishes devices.
pub(crate) fn thread_name(part: &str, device: DeviceId) -> String {
    let id = device.to_string();
    format!("{part}-{}", &id[id.len() - 6..])
}
