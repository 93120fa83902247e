//! Record of what firmware did to a virtual board.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::locked;

/// Maximum number of actions that are kept; older ones are dropped and counted.
const KEPT: usize = 4096;

/// Action of the firmware on the board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Firmware drove a pin; true is high.
    Pin {
        /// Label of the pin.
        label: String,
        /// New level.
        high: bool,
    },
    /// Firmware wrote to a serial port.
    Bytes {
        /// Label of the port.
        label: String,
        /// Written bytes.
        bytes: Vec<u8>,
    },
    /// Firmware changed a PWM output.
    Pwm {
        /// Label of the output.
        label: String,
        /// Periods per second.
        hertz: u32,
        /// Active share of 65535.
        duty: u16,
    },
}

/// Action with its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Time since the board's creation.
    pub at: Duration,
    /// Recorded action.
    pub action: Action,
}

/// Record of what firmware did to a board: the last 4096 actions, and a listener for each as it happens.
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
    /// Takes the kept actions, oldest first; returns how many before them were dropped as well.
    #[must_use]
    pub fn take(&self) -> (Vec<Recorded>, u64) {
        let mut inner = locked(&self.inner);
        let dropped = std::mem::take(&mut inner.dropped);
        (inner.kept.drain(..).collect(), dropped)
    }

    /// Calls `listener` with each later action, on the thread that does it. A new listener replaces the
    /// former one.
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
