//! The order of a firmware's calls: handlers first, then its health, then events and the loop. Pure; the
//! clock is an argument.
//!
//! Every driver (a device's agent, `iottly run`, `iottly check`) calls [`Schedule::next`] and reports with
//! [`Schedule::done`], so that a firmware is called the same way on a desk and in the field.

use std::time::{Duration, Instant};

/// Minimum time between two passes of the loop.
const MIN_TICK: Duration = Duration::from_millis(10);
/// Time to the next pass after one that failed.
const FAILED_TICK: Duration = Duration::from_secs(1);
/// Time between two health checks, outside of a trial.
pub const HEALTH_EVERY: Duration = Duration::from_secs(30);

/// Next action of a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Run the handler of the command that has waited longest.
    Handle,
    /// Deliver the event or timer that is due.
    Event,
    /// Run a pass of the loop.
    Tick,
    /// Check the firmware's health.
    Health,
    /// Wait: nothing is due before this time, unless a command or an event arrives.
    Wait(Instant),
}

/// Work that waits for the firmware at the moment of a decision.
#[derive(Debug, Clone, Copy, Default)]
pub struct View {
    /// True if a command waits.
    pub command: bool,
    /// Time of the next timer or event, see [`Instance::next_event_at`](crate::Instance::next_event_at).
    pub event_at: Option<Instant>,
}

/// Result of a call that [`Schedule::next`] requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// A pass of the loop returned the milliseconds after which it wants the next one.
    Tick(u32),
    /// A pass of the loop failed.
    FailedTick,
    /// The firmware's health was checked.
    Health,
    /// Any other call returned.
    Other,
}

/// Schedule of one instance.
#[derive(Debug, Clone)]
pub struct Schedule {
    tick_at: Instant,
    health_at: Instant,
    health_every: Duration,
    not_before: Instant,
}

impl Schedule {
    /// Returns the schedule of an instance whose `init` has returned. The first pass of the loop is due at
    /// once.
    #[must_use]
    pub fn new(now: Instant, health_every: Duration) -> Self {
        Self {
            tick_at: now,
            health_at: now + health_every,
            health_every,
            not_before: now,
        }
    }

    /// Returns the next action at `now`.
    #[must_use]
    pub fn next(&self, now: Instant, view: View) -> Call {
        if now < self.not_before {
            let first = if view.command {
                self.not_before
            } else {
                self.first(view).max(self.not_before)
            };
            return Call::Wait(first);
        }
        let event_first = view.event_at.is_some_and(|at| at <= self.tick_at);
        if view.command {
            Call::Handle
        } else if self.health_at <= now {
            Call::Health
        } else if event_first && view.event_at.is_some_and(|at| at <= now) {
            Call::Event
        } else if self.tick_at <= now {
            Call::Tick
        } else {
            Call::Wait(self.first(view))
        }
    }

    /// Reports a call that began at `began` and ended at `now`. `pause` is the pause for the firmware's share
    /// of the processor, see [`Instance::pause`](crate::Instance::pause).
    pub fn done(&mut self, done: Done, began: Instant, now: Instant, pause: Duration) {
        match done {
            Done::Tick(next_ms) => self.tick_at = began + Duration::from_millis(next_ms.into()).max(MIN_TICK),
            Done::FailedTick => self.tick_at = began + FAILED_TICK,
            Done::Health => self.health_at = now + self.health_every,
            Done::Other => {}
        }
        self.not_before = now + pause;
    }

    /// Returns the time at which the next call is due on its own.
    fn first(&self, view: View) -> Instant {
        let due = self.tick_at.min(self.health_at);
        view.event_at.map_or(due, |at| at.min(due))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn idle() -> View {
        View::default()
    }

    #[test]
    fn the_loop_runs_at_once_and_then_when_it_asked() {
        let began = Instant::now();
        let mut schedule = Schedule::new(began, HEALTH_EVERY);
        assert_eq!(schedule.next(began, idle()), Call::Tick);
        schedule.done(Done::Tick(200), began, began + MS * 3, Duration::ZERO);
        assert_eq!(
            schedule.next(began + MS * 3, idle()),
            Call::Wait(began + MS * 200)
        );
        assert_eq!(schedule.next(began + MS * 200, idle()), Call::Tick);
        schedule.done(Done::Tick(0), began + MS * 200, began + MS * 201, Duration::ZERO);
        assert_eq!(
            schedule.next(began + MS * 201, idle()),
            Call::Wait(began + MS * 210),
            "never more often than every 10 ms"
        );
        schedule.done(
            Done::FailedTick,
            began + MS * 210,
            began + MS * 211,
            Duration::ZERO,
        );
        assert_eq!(
            schedule.next(began + MS * 211, idle()),
            Call::Wait(began + MS * 1210)
        );
    }

    #[test]
    fn handlers_come_first_then_health_then_what_is_due_longest() {
        let began = Instant::now();
        let schedule = Schedule::new(began, MS * 50);
        let late = began + MS * 60;
        let event = |at| View {
            command: false,
            event_at: Some(at),
        };
        assert_eq!(
            schedule.next(
                late,
                View {
                    command: true,
                    event_at: Some(began)
                }
            ),
            Call::Handle
        );
        assert_eq!(schedule.next(late, event(began)), Call::Health);
        assert_eq!(
            schedule.next(began + MS * 40, event(began)),
            Call::Event,
            "as old as the loop's pass"
        );
        assert_eq!(
            schedule.next(began + MS * 40, event(began + MS)),
            Call::Tick,
            "younger than the loop's pass"
        );
    }

    #[test]
    fn health_is_asked_again_after_its_answer() {
        let began = Instant::now();
        let mut schedule = Schedule::new(began, MS * 50);
        schedule.done(Done::Tick(1_000_000), began, began, Duration::ZERO);
        assert_eq!(schedule.next(began, idle()), Call::Wait(began + MS * 50));
        assert_eq!(schedule.next(began + MS * 50, idle()), Call::Health);
        schedule.done(Done::Health, began + MS * 50, began + MS * 70, Duration::ZERO);
        assert_eq!(
            schedule.next(began + MS * 70, idle()),
            Call::Wait(began + MS * 120)
        );
    }

    #[test]
    fn everything_waits_for_the_share_of_the_processor() {
        let began = Instant::now();
        let mut schedule = Schedule::new(began, HEALTH_EVERY);
        schedule.done(Done::Tick(10), began, began, MS * 500);
        let busy = View {
            command: true,
            event_at: Some(began),
        };
        assert_eq!(schedule.next(began + MS, busy), Call::Wait(began + MS * 500));
        assert_eq!(schedule.next(began + MS, idle()), Call::Wait(began + MS * 500));
        assert_eq!(schedule.next(began + MS * 500, busy), Call::Handle);
    }

    #[test]
    fn an_event_in_the_future_is_waited_for() {
        let began = Instant::now();
        let mut schedule = Schedule::new(began, HEALTH_EVERY);
        schedule.done(Done::Tick(1000), began, began, Duration::ZERO);
        let view = View {
            command: false,
            event_at: Some(began + MS * 20),
        };
        assert_eq!(schedule.next(began, view), Call::Wait(began + MS * 20));
        assert_eq!(schedule.next(began + MS * 20, view), Call::Event);
    }
}
