use std::thread::JoinHandle;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How often a thread is looked at.
const INTERVAL: Duration = Duration::from_millis(2);

/// Waits until a thread has ended, at most `deadline`; answers whether it has.
///
/// Joining would occupy a thread of the runtime, which cannot stop while one is occupied.
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
