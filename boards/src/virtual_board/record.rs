use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::locked;

/// Actions that are kept; older ones are dropped and counted.
const KEPT: usize = 4096;

/// Something that firmware did to the board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It drove a pin; true is high.
    Pin {
        /// Which one.
        label: String,
        /// To which level.
        high: bool,
    },
    /// It wrote to a serial port.
    Bytes {
        /// Which one.
        label: String,
        /// What it wrote.
        bytes: Vec<u8>,
    },
    /// It changed a PWM output.
    Pwm {
        /// Which one.
        label: String,
        /// Periods a second.
        hertz: u32,
        /// Active share of 65535.
        duty: u16,
    },
}

/// An action and when it happened, measured from the board's creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// When.
    pub at: Duration,
    /// What.
    pub action: Action,
}

/// What firmware did to a board: the last 4096 actions, and a listener for each as it happens.
#[derive(Clone)]
pub struct Record {
    inner: Arc<Mutex<Inner>>,
}

type Listener = Arc<dyn Fn(&Recorded) + Send + Sync>;

struct Inner {
    since: Instant,
    kept: VecDeque<Recorded>,
    dropped: u64,
    listener: Option<Listener>,
}

impl Default for Record {
    fn default() -> Self {
        let inner = Inner {
            since: Instant::now(),
            kept: VecDeque::new(),
            dropped: 0,
            listener: None,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
        }
    }
}

impl Record {
    /// Takes the kept actions, oldest first; answers how many before them were dropped as well.
    #[must_use]
    pub fn take(&self) -> (Vec<Recorded>, u64) {
        let mut inner = locked(&self.inner);
        let dropped = std::mem::take(&mut inner.dropped);
        (inner.kept.drain(..).collect(), dropped)
    }

    /// Calls `listener` with each action from now on, on the thread that does it; one listener at a time.
    pub fn listen(&self, listener: impl Fn(&Recorded) + Send + Sync + 'static) {
        locked(&self.inner).listener = Some(Arc::new(listener));
    }

    pub(super) fn add(&self, action: Action) {
        let mut inner = locked(&self.inner);
        let recorded = Recorded {
            at: inner.since.elapsed(),
            action,
        };
        let listener = inner.listener.clone();
        if inner.kept.len() == KEPT {
            inner.kept.pop_front();
            inner.dropped += 1;
        }
        inner.kept.push_back(recorded.clone());
        drop(inner);
        if let Some(listener) = listener {
            listener(&recorded);
        }
    }
}
