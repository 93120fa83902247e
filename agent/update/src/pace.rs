//! Minimum speed of a repository's answers, and their cancellation. Opens no connection.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Minimum rate of a server, measured over [`WINDOW`], in bytes per second.
const LEAST_BYTES_PER_S: u64 = 1024;
/// Interval over which the rate is measured. A file smaller than the rate makes may take this long in all.
const WINDOW: Duration = Duration::from_secs(30);
/// Longest time for one request to a repository, at any rate.
const LONGEST: Duration = Duration::from_secs(600);

/// Pace at which a repository answers one request, over all files that the request needs. Pure: the time is
/// an argument.
#[derive(Debug, Clone, Copy)]
struct Pace {
    began: Instant,
    window: Instant,
    bytes: u64,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self {
            began: now,
            window: now,
            bytes: 0,
        }
    }

    /// Counts received bytes. Fails if they come too slowly or take too long.
    fn came(&mut self, bytes: u64, now: Instant) -> Result<(), String> {
        self.bytes = self.bytes.saturating_add(bytes);
        if now.saturating_duration_since(self.began) > LONGEST {
            return Err(format!("it takes over {} s", LONGEST.as_secs()));
        }
        if now.saturating_duration_since(self.window) >= WINDOW {
            if self.bytes < LEAST_BYTES_PER_S * WINDOW.as_secs() {
                return Err(format!(
                    "it sends less than {LEAST_BYTES_PER_S} bytes/s over {} s",
                    WINDOW.as_secs()
                ));
            }
            (self.window, self.bytes) = (now, 0);
        }
        Ok(())
    }
}

/// Guard of the requests to a repository: ends them if they are too slow or cancelled.
#[derive(Debug, Clone)]
pub(crate) struct Watchman {
    pace: Arc<Mutex<Pace>>,
    stopped: Arc<AtomicBool>,
}

#[expect(
    clippy::disallowed_methods,
    reason = "measures downloads within blocking reads, which only this type sees"
)]
impl Watchman {
    pub(crate) fn new() -> Self {
        Self {
            pace: Arc::new(Mutex::new(Pace::new(Instant::now()))),
            stopped: Arc::default(),
        }
    }

    /// Begins the next request.
    pub(crate) fn begin(&self) {
        *self.pace.lock().unwrap_or_else(PoisonError::into_inner) = Pace::new(Instant::now());
    }

    /// Cancels the running request and all later ones.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    /// Counts received bytes.
    pub(crate) fn came(&self, bytes: usize) -> Result<(), String> {
        if self.stopped.load(Ordering::Acquire) {
            return Err("the request was cancelled".to_owned());
        }
        self.pace
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .came(bytes as u64, Instant::now())
    }

    /// Wraps a body so that its bytes are counted.
    pub(crate) fn over(&self, body: impl Read + 'static) -> Box<dyn Read> {
        Box::new(Watched {
            body,
            watchman: self.clone(),
        })
    }
}

struct Watched<R> {
    body: R,
    watchman: Watchman,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.body.read(buffer)?;
        self.watchman.came(count).map_err(io::Error::other)?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any moment serves as the start")]
    fn what_drips_ends_after_half_a_minute_and_what_flows_goes_on() {
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let mut drip = Pace::new(start);
        assert!((1..30).all(|s| drip.came(1, at(s)).is_ok()));
        assert!(drip.came(1, at(30)).is_err());
        let mut flow = Pace::new(start);
        assert!((1..=600).all(|s| flow.came(2000, at(s)).is_ok()));
        assert!(
            flow.came(2000, at(601)).is_err(),
            "nothing takes longer than that"
        );
        let mut stalls = Pace::new(start);
        assert!((1..=40).all(|s| stalls.came(5000, at(s)).is_ok()));
        assert!(
            stalls.came(1, at(61)).is_ok(),
            "it has sent enough in this half minute"
        );
        assert!(stalls.came(1, at(91)).is_err());
    }

    #[test]
    fn what_nobody_waits_for_ends_at_the_next_byte() {
        let watchman = Watchman::new();
        let mut body = watchman.over(io::repeat(7));
        let mut buffer = [0; 100];
        assert_eq!(body.read(&mut buffer).expect("bytes"), 100);
        watchman.stop();
        assert!(body.read(&mut buffer).is_err());
    }
}
