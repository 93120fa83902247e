//! A firmware's subscriptions: timers, and events of the board on their way to it. Calls no firmware.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Fault;

/// Maximum number of events that wait for the firmware; further ones are dropped and counted.
const WAITING: usize = 256;

/// Callback for a waiting event. Called from any thread; must not block.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// Event: its source and its time.
pub(crate) type Event = (u32, Instant);

/// Queue of events from the board's threads to the firmware's.
#[derive(Clone)]
pub(crate) struct Events {
    inner: Arc<Mutex<Waiting>>,
    waker: Option<Waker>,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<Event>,
    dropped: u64,
}

impl Events {
    pub(crate) fn new(waker: Option<Waker>) -> Self {
        Self {
            inner: Arc::default(),
            waker,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event; may be called from any thread.
    pub(crate) fn put(&self, source: u32, at: Instant) {
        let mut waiting = self.lock();
        if waiting.events.len() >= WAITING {
            waiting.dropped += 1;
            return;
        }
        waiting.events.push_back((source, at));
        drop(waiting);
        if let Some(waker) = &self.waker {
            waker();
        }
    }

    pub(crate) fn first_at(&self) -> Option<Instant> {
        self.lock().events.front().map(|(_, at)| *at)
    }

    pub(crate) fn take(&self) -> Option<Event> {
        self.lock().events.pop_front()
    }

    /// Takes the number of events that were dropped since the last call.
    pub(crate) fn dropped(&self) -> u64 {
        std::mem::take(&mut self.lock().dropped)
    }
}

/// Timers of one firmware.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    by_time: BTreeMap<(Instant, u32), Option<Duration>>,
}

impl Timers {
    /// Adds a timer that is due after `delay` and then, with `repeat`, again after each.
    pub(crate) fn start(
        &mut self,
        source: u32,
        now: Instant,
        delay: Duration,
        repeat: bool,
        limit: usize,
    ) -> Result<(), Fault> {
        if repeat && delay.is_zero() {
            return Err(Fault::Invalid("a timer that repeats needs a delay".to_owned()));
        }
        if self.by_time.len() >= limit {
            return Err(Fault::Limit(format!("more than {limit} timers")));
        }
        self.by_time
            .insert((now + delay, source), repeat.then_some(delay));
        Ok(())
    }

    pub(crate) fn cancel(&mut self, source: u32) {
        self.by_time.retain(|(_, timer), _| *timer != source);
    }

    /// Brings all timers nearer.
    pub(crate) fn advance(&mut self, time: Duration) {
        let sooner = |((at, source), repeat)| {
            let at: Instant = at;
            ((at.checked_sub(time).unwrap_or(at), source), repeat)
        };
        self.by_time = std::mem::take(&mut self.by_time)
            .into_iter()
            .map(sooner)
            .collect();
    }

    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.by_time.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes a timer that is due. A repeating one is set again; missed events are skipped.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Event> {
        let entry = self.by_time.first_entry().filter(|entry| entry.key().0 <= now)?;
        let ((at, source), repeat) = entry.remove_entry();
        if let Some(every) = repeat {
            let next = if at + every > now { at + every } else { now + every };
            self.by_time.insert((next, source), repeat);
        }
        Some((source, at))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn timers_come_in_their_order_and_repeat_without_piling_up() {
        let mut timers = Timers::default();
        let start = Instant::now();
        timers.start(1, start, MS * 20, false, 9).unwrap();
        timers.start(2, start, MS * 10, true, 9).unwrap();
        assert_eq!(timers.due(start), None);
        assert_eq!(timers.next_at(), Some(start + MS * 10));
        let late = start + MS * 55;
        assert_eq!(
            [timers.due(late), timers.due(late), timers.due(late)],
            [Some((2, start + MS * 10)), Some((1, start + MS * 20)), None]
        );
        assert_eq!(
            timers.next_at(),
            Some(late + MS * 10),
            "what was missed is skipped"
        );
        timers.cancel(2);
        timers.cancel(77);
        assert_eq!(timers.next_at(), None);
    }

    #[test]
    fn timers_are_limited_and_must_make_sense() {
        let mut timers = Timers::default();
        let now = Instant::now();
        assert_eq!(
            timers
                .start(1, now, Duration::ZERO, true, 1)
                .unwrap_err()
                .to_string(),
            "invalid: a timer that repeats needs a delay"
        );
        timers.start(1, now, Duration::ZERO, false, 1).unwrap();
        assert_eq!(
            timers.start(2, now, MS, false, 1).unwrap_err().to_string(),
            "limit: more than 1 timers"
        );
        assert_eq!(timers.due(now), Some((1, now)));
        timers.start(2, now, MS, false, 1).unwrap();
    }

    #[test]
    fn events_wake_and_are_bounded() {
        let woken = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&woken);
        let events = Events::new(Some(Arc::new(move || _ = counted.fetch_add(1, Ordering::SeqCst))));
        let now = Instant::now();
        for source in 0..300 {
            events.put(source, now);
        }
        assert_eq!(
            (woken.load(Ordering::SeqCst), events.dropped(), events.dropped()),
            (256, 44, 0)
        );
        assert_eq!((events.first_at(), events.take()), (Some(now), Some((0, now))));
    }
}
