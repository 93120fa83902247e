//! Bound in time on a step that the kernel may not return from.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use crate::BoardError;

/// Maximum number of threads that wait for devices which do not return.
const MAX_STUCK: usize = 8;

/// Runs steps on threads of their own.
#[derive(Clone, Default)]
pub(super) struct Bounded {
    stuck: Arc<AtomicUsize>,
}

impl Bounded {
    /// Runs a step and waits for it, for at most this time. A step that takes longer continues alone; its result is
    /// dropped, so that what it has opened is closed.
    pub(super) fn run<T: Send + 'static>(
        &self,
        label: &str,
        most: Duration,
        step: impl FnOnce() -> Result<T, BoardError> + Send + 'static,
    ) -> Result<T, BoardError> {
        let timed_out = |reason: String| BoardError::TimedOut {
            label: label.to_owned(),
            reason,
        };
        if self.stuck.load(Ordering::Acquire) >= MAX_STUCK {
            return Err(timed_out(format!(
                "{MAX_STUCK} other steps wait for devices that hang"
            )));
        }
        let (done, result) = mpsc::sync_channel(1);
        self.stuck.fetch_add(1, Ordering::AcqRel);
        let running = Running(Arc::clone(&self.stuck));
        std::thread::Builder::new()
            .name("board".to_owned())
            .spawn(move || {
                let answer = step();
                drop(running);
                // The caller may have stopped waiting.
                let _ = done.send(answer);
            })
            .map_err(|error| BoardError::Io(format!("no thread for {label:?}: {error}")))?;
        match result.recv_timeout(most) {
            Ok(answer) => answer,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                Err(timed_out(format!("nothing after {} ms", most.as_millis())))
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(BoardError::Io(format!(
                "the step for {label:?} ended without a result"
            ))),
        }
    }
}

struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_hangs_is_left_behind_and_counted() {
        let bounded = Bounded::default();
        let (release, held) = mpsc::channel::<()>();
        let held = Arc::new(std::sync::Mutex::new(held));
        for _ in 0..MAX_STUCK {
            let held = Arc::clone(&held);
            let hang = move || {
                held.lock()
                    .unwrap()
                    .recv()
                    .map_err(|_| BoardError::Io("ended".into()))
            };
            let error = bounded.run("spi0.0", Duration::from_millis(1), hang).unwrap_err();
            assert_eq!(
                error.to_string(),
                "\"spi0.0\" does not answer: nothing after 1 ms"
            );
        }
        let error = bounded
            .run("spi0.0", Duration::from_secs(9), || Ok(()))
            .unwrap_err();
        assert!(error.to_string().contains("8 other steps wait"), "{error}");
        drop(release);
        while bounded.stuck.load(Ordering::Acquire) > 0 {
            std::thread::yield_now();
        }
        assert_eq!(bounded.run("spi0.0", Duration::from_secs(9), || Ok(5)), Ok(5));
    }
}
