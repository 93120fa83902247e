//! A device on a thread of its own, so that a bus that hangs costs a firmware its timeout and nothing else.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

type Job<D> = Box<dyn FnOnce(&mut D) + Send>;

/// Owner of a device. Once all clones are dropped, the thread ends as soon as the device's running job does.
pub(crate) struct Worker<D> {
    jobs: SyncSender<Job<D>>,
    busy: Arc<AtomicBool>,
}

impl<D> Clone for Worker<D> {
    fn clone(&self) -> Self {
        Self {
            jobs: self.jobs.clone(),
            busy: Arc::clone(&self.busy),
        }
    }
}

/// Reason why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Late {
    /// Another job has not ended yet.
    Busy,
    /// The job did not end in time; it continues.
    TimedOut,
    /// The thread died in an earlier job.
    Gone,
}

impl<D: Send + 'static> Worker<D> {
    pub(crate) fn start(mut device: D) -> io::Result<Self> {
        let (jobs, waiting) = sync_channel::<Job<D>>(1);
        let busy = Arc::new(AtomicBool::new(false));
        thread::Builder::new()
            .name("bus".to_owned())
            .stack_size(256 << 10)
            .spawn(move || {
                while let Ok(job) = waiting.recv() {
                    job(&mut device);
                }
            })?;
        Ok(Self { jobs, busy })
    }

    /// Runs `job` on the device and waits for its answer, at most for `timeout`.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        timeout: Duration,
        job: impl FnOnce(&mut D) -> T + Send + 'static,
    ) -> Result<T, Late> {
        if self.busy.swap(true, Ordering::AcqRel) {
            return Err(Late::Busy);
        }
        let (answer, answered) = sync_channel(1);
        let done = Arc::clone(&self.busy);
        let job: Job<D> = Box::new(move |device| {
            let result = job(device);
            done.store(false, Ordering::Release);
            // The caller is gone after a timeout.
            let _ = answer.send(result);
        });
        self.jobs.send(job).map_err(|_| Late::Gone)?;
        match answered.recv_timeout(timeout) {
            Ok(answer) => Ok(answer),
            Err(RecvTimeoutError::Timeout) => Err(Late::TimedOut),
            Err(RecvTimeoutError::Disconnected) => Err(Late::Gone),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn answers_come_back() {
        let worker = Worker::start(1).unwrap();
        for expected in 2..100 {
            let next = |number: &mut i32| {
                *number += 1;
                *number
            };
            assert_eq!(worker.run(LONG, next), Ok(expected));
        }
    }

    #[test]
    fn a_device_that_hangs_costs_a_timeout_and_is_busy_then() {
        let worker = Worker::start(()).unwrap();
        let gate = Arc::new(Mutex::new(()));
        let closed = gate.lock().unwrap();
        let stuck = Arc::clone(&gate);
        let hang = move |(): &mut ()| drop(stuck.lock());
        assert_eq!(worker.run(Duration::from_millis(1), hang), Err(Late::TimedOut));
        assert_eq!(worker.run(LONG, |()| ()), Err(Late::Busy));
        drop(closed);
        let deadline = Instant::now() + LONG;
        while worker.run(LONG, |()| ()) != Ok(()) {
            assert!(Instant::now() < deadline, "it never came back");
        }
    }

    #[test]
    fn a_device_that_panics_is_gone_and_nothing_hangs() {
        let worker = Worker::start(()).unwrap();
        assert_eq!(
            worker.run(LONG, |()| panic!("driver bug")),
            Err::<(), _>(Late::Gone)
        );
        assert_eq!(worker.run(LONG, |()| ()), Err(Late::Busy));
    }
}
