//! Waiting on a thread for a future, with a condition for ending the wait.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

/// Time between two checks of the condition.
const LOOK: Duration = Duration::from_millis(50);

/// End of a wait.
#[derive(Debug)]
pub(super) enum Waited<T> {
    /// The future is ready.
    Answered(T),
    /// The condition has ended the wait.
    Ended,
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for `answer` as long as `keep_waiting` returns `true`.
pub(super) fn wait<T>(answer: impl Future<Output = T>, mut keep_waiting: impl FnMut() -> bool) -> Waited<T> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut answer = pin!(answer);
    loop {
        if let Poll::Ready(answer) = answer.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Waited::Answered(answer);
        }
        if !keep_waiting() {
            return Waited::Ended;
        }
        thread::park_timeout(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_and_silence_ends() {
        let (tx, rx) = tokio::sync::oneshot::channel();
        let sender = thread::spawn(move || tx.send(7));
        assert!(matches!(wait(rx, || true), Waited::Answered(Ok(7))));
        assert!(sender.join().expect("sent").is_ok());
        let (_silent, rx) = tokio::sync::oneshot::channel::<u8>();
        let mut looks = 0;
        let waited = wait(rx, || {
            looks += 1;
            looks < 3
        });
        assert!(matches!(waited, Waited::Ended) && looks == 3);
    }
}
