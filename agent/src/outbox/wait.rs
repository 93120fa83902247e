//! Waiting for an answer on a thread of its own, with an end.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

/// How often a waiting thread looks whether it may go on waiting.
const LOOK: Duration = Duration::from_millis(50);

/// How a wait ended.
#[derive(Debug)]
pub(super) enum Waited<T> {
    /// The answer came.
    Answered(T),
    /// It did not come in time.
    Ended,
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for `answer` as long as `go_on` says so.
pub(super) fn wait<T>(answer: impl Future<Output = T>, mut go_on: impl FnMut() -> bool) -> Waited<T> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut answer = pin!(answer);
    loop {
        if let Poll::Ready(answer) = answer.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Waited::Answered(answer);
        }
        if !go_on() {
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
