use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Least that a server has to send over [`WINDOW`], bytes a second.
const LEAST_BYTES_PER_S: u64 = 1024;
/// Over what the rate is measured. What sends less than the rate makes has as long as this in all.
const WINDOW: Duration = Duration::from_secs(30);
/// Longest time for one question to a repository, however fast it sends.
const LONGEST: Duration = Duration::from_secs(600);

/// Pace at which a repository answers one question, over all files that it takes. Pure: the time is an
/// argument.
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

    /// Counts what came; an error when it comes too slowly or takes too long.
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

/// Watches over the requests of one question, and ends them when nobody wants the answer any more.
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

    /// The next question begins.
    pub(crate) fn begin(&self) {
        *self.pace.lock().unwrap_or_else(PoisonError::into_inner) = Pace::new(Instant::now());
    }

    /// Ends what is under way, and all that follows.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    /// Counts what came.
    pub(crate) fn came(&self, bytes: usize) -> Result<(), String> {
        if self.stopped.load(Ordering::Acquire) {
            return Err("nobody waits for it any more".to_owned());
        }
        self.pace
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .came(bytes as u64, Instant::now())
    }

    /// Watches over a body.
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
