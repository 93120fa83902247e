//! Inputs of GPIO lines, and their edges.

use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use embedded_hal::digital::{ErrorType, InputPin};
use gpiocdev::Request;
use gpiocdev::line::{EdgeDetection, EdgeKind, Value};
use rustix::time::{ClockId, clock_gettime};

use super::gpio::failure;
use super::sys::{self, Bell, Ready};
use super::system::{Claim, locked};
use crate::{BoardError, DigitalInput, Edge, Tell, Watch};

/// Open input.
pub(super) struct Input {
    // Dropped in this order: the thread ends, the line is free, the claim ends.
    thread: Option<Waiting>,
    request: Arc<Request>,
    line: u32,
    label: String,
    watchers: Arc<Mutex<Vec<Weak<Watcher>>>>,
    _claim: Claim,
}

struct Watcher {
    edge: Edge,
    tell: Tell,
}

/// Thread that waits for edges, until it is dropped.
struct Waiting {
    bell: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
}

impl Input {
    pub(super) fn new(request: Request, line: u32, label: &str, claim: Claim) -> Self {
        Self {
            thread: None,
            request: Arc::new(request),
            line,
            label: label.to_owned(),
            watchers: Arc::default(),
            _claim: claim,
        }
    }

    fn level(&self) -> Result<bool, BoardError> {
        let value = self.request.value(self.line);
        value
            .map(|value| value == Value::Active)
            .map_err(|error| failure(&self.label, &error))
    }

    /// Turns the detection of edges on, and starts the thread that takes them.
    fn start(&mut self) -> Result<(), BoardError> {
        let mut config = self.request.config();
        config.with_edge_detection(EdgeDetection::BothEdges);
        self.request
            .reconfigure(&config)
            .map_err(|error| failure(&self.label, &error))?;
        let io = |error: std::io::Error| BoardError::Io(format!("no thread for edges: {error}"));
        let bell = Arc::new(Bell::new().map_err(io)?);
        let (request, watchers, ends) = (
            Arc::clone(&self.request),
            Arc::clone(&self.watchers),
            Arc::clone(&bell),
        );
        let thread = std::thread::Builder::new()
            .name("gpio".to_owned())
            .spawn(move || wait_for_edges(&request, &watchers, &ends))
            .map_err(io)?;
        self.thread = Some(Waiting {
            bell,
            thread: Some(thread),
        });
        Ok(())
    }
}

fn wait_for_edges(request: &Request, watchers: &Mutex<Vec<Weak<Watcher>>>, bell: &Bell) {
    use std::os::fd::AsFd as _;
    loop {
        let files = [
            (bell.as_fd(), Ready::Readable),
            (request.as_fd(), Ready::Readable),
        ];
        let Ok([ends, edge]) = sys::wait(files, None) else {
            return;
        };
        if ends {
            return;
        }
        if !edge {
            continue;
        }
        // A chip that was unplugged is readable for ever and has no event.
        let Ok(event) = request.read_edge_event() else {
            return;
        };
        let at = instant(event.timestamp_ns);
        let edge = match event.kind {
            EdgeKind::Rising => Edge::Rising,
            EdgeKind::Falling => Edge::Falling,
        };
        let told: Vec<_> = {
            let mut watchers = locked(watchers);
            watchers.retain(|watcher| watcher.strong_count() > 0);
            watchers.iter().filter_map(Weak::upgrade).collect()
        };
        for watcher in told.iter().filter(|watcher| watcher.edge == edge) {
            (watcher.tell)(at);
        }
    }
}

/// Returns the time of an event of the kernel, which has the same clock.
fn instant(timestamp_ns: u64) -> Instant {
    let now = clock_gettime(ClockId::Monotonic);
    let now_ns = u64::try_from(now.tv_sec)
        .unwrap_or_default()
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::try_from(now.tv_nsec).unwrap_or_default());
    let age = Duration::from_nanos(now_ns.saturating_sub(timestamp_ns));
    let now = Instant::now();
    now.checked_sub(age).unwrap_or(now)
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.bell.ring();
        if let Some(thread) = self.thread.take() {
            // It waits for nothing but the bell, and callbacks do not block.
            let _ = thread.join();
        }
    }
}

impl ErrorType for Input {
    type Error = BoardError;
}

impl InputPin for Input {
    fn is_high(&mut self) -> Result<bool, BoardError> {
        self.level()
    }

    fn is_low(&mut self) -> Result<bool, BoardError> {
        self.level().map(|high| !high)
    }
}

impl DigitalInput for Input {
    fn watch(&mut self, edge: Edge, tell: Tell) -> Result<Watch, BoardError> {
        if self.thread.is_none() {
            self.start()?;
        }
        let watcher = Arc::new(Watcher { edge, tell });
        locked(&self.watchers).push(Arc::downgrade(&watcher));
        Ok(Watch::new(watcher))
    }
}
