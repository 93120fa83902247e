//! The calls of one instance, one after another: handlers first, then events and the loop, and now and then its health.

use std::collections::VecDeque;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use iottly_sandbox::{CallError, Fault, Instance};

use super::health::{Health, Verdict};
use super::jobs::{Input, News};
use super::messages;
use super::supervisor::{End, Failure, Supervisor, failure};
use crate::inbox::{GuestEvent, GuestState, Job, Outcome};
use iottly_protocol::StreamClass;

/// Least time between two passes of the loop.
const MIN_TICK: Duration = Duration::from_millis(10);
/// Time to the next pass after one that failed.
const FAILED_TICK: Duration = Duration::from_secs(1);

/// When an instance is called next.
struct Due {
    tick: Instant,
    health: Instant,
    /// The firmware's share of the processor; what waits for the firmware waits for this as well.
    not_before: Instant,
}

impl Supervisor {
    /// Makes the firmware's calls, one after another.
    pub(super) fn calls(&mut self, instance: &mut Instance) -> End {
        let mut jobs = VecDeque::new();
        let mut health = Health::default();
        let now = Instant::now();
        let mut due = Due { tick: now, health: now + self.health_every(), not_before: now };
        loop {
            let event_at = instance.next_event_at();
            let first = event_at.map_or(due.tick, |at| at.min(due.tick)).min(due.health);
            let at = if jobs.is_empty() { first.max(due.not_before) } else { due.not_before };
            let ended = match self.inputs.recv_timeout(at.saturating_duration_since(Instant::now())) {
                Ok(Input::Job(job)) => {
                    jobs.push_back(job);
                    continue;
                }
                Ok(Input::Wake) => {
                    self.jobs.woken();
                    continue;
                }
                Ok(Input::Load(order)) => {
                    self.stop(instance, jobs, "another firmware takes its place");
                    return End::Replaced(order);
                }
                Ok(Input::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    self.stop(instance, jobs, "the agent stops");
                    return End::Stopped;
                }
                Err(RecvTimeoutError::Timeout) => match jobs.pop_front() {
                    Some(job) => self.handle(instance, job),
                    None if due.health <= Instant::now() => self.health(instance, &mut health, &mut due.health),
                    None if event_at.is_some_and(|at| at <= due.tick) => self.event(instance),
                    None => self.tick(instance, &mut due.tick),
                },
            };
            if let Err(failure) = ended {
                for job in jobs {
                    self.finished(job.id, Outcome::Failed("the firmware is not running".to_owned()));
                }
                return End::Failed(failure);
            }
            due.not_before = Instant::now() + instance.pause();
        }
    }

    fn stop(&mut self, instance: &mut Instance, jobs: VecDeque<Job>, reason: &str) {
        if let Err(error) = instance.shutdown(reason) {
            self.complain("shutdown", &error);
        }
        for job in jobs {
            self.finished(job.id, Outcome::Failed(format!("not called: {reason}")));
        }
    }

    /// Time between two questions about its health: in a trial, who watches says.
    fn health_every(&self) -> Duration {
        self.watch.as_ref().map_or(Health::EVERY, |watch| watch.every)
    }

    fn event(&mut self, instance: &mut Instance) -> Result<(), Failure> {
        match instance.deliver() {
            Ok(_) => Ok(()),
            Err(error @ CallError::Fault(_)) => {
                self.complain("event", &error);
                Ok(())
            }
            Err(trap) => Err(failure("event", &trap)),
        }
    }

    fn tick(&mut self, instance: &mut Instance, tick_at: &mut Instant) -> Result<(), Failure> {
        let began = Instant::now();
        let pause = match instance.tick(self.now_ms()) {
            Ok(next_ms) => Duration::from_millis(next_ms.into()).max(MIN_TICK),
            Err(error @ CallError::Fault(_)) => {
                self.complain("tick", &error);
                FAILED_TICK
            }
            Err(trap) => return Err(failure("tick", &trap)),
        };
        *tick_at = began + pause;
        Ok(())
    }

    fn handle(&mut self, instance: &mut Instance, job: Job) -> Result<(), Failure> {
        let (outcome, ended) = match instance.handle(&job.cmd_type, job.values.get()) {
            Ok(()) => (Outcome::Done, Ok(())),
            Err(CallError::Fault(Fault::Unsupported(_))) => {
                self.offer(StreamClass::History, messages::no_handler(&job.cmd_type, &job.values, self.now_ms()));
                (Outcome::Failed(format!("no handler for {:?}", job.cmd_type)), Ok(()))
            }
            Err(error @ CallError::Fault(_)) => {
                self.complain(&job.cmd_type, &error);
                (Outcome::Failed(error.to_string()), Ok(()))
            }
            Err(trap) => (Outcome::Failed(trap.to_string()), Err(failure("handle", &trap))),
        };
        if ended.is_err() {
            // Before the result: what comes after it must not be started on an instance that is over.
            self.tell(GuestEvent::State(GuestState::Pending));
        }
        self.finished(job.id, outcome);
        ended
    }

    fn health(&mut self, instance: &mut Instance, health: &mut Health, at: &mut Instant) -> Result<(), Failure> {
        let problem = match instance.health() {
            Ok(()) => None,
            Err(CallError::Fault(fault)) => Some(fault.to_string()),
            Err(trap) => return Err(failure("health", &trap)),
        };
        *at = Instant::now() + self.health_every();
        if problem.is_none() {
            self.tell_watch(News::Healthy);
        }
        match health.answered(problem.is_none()) {
            Verdict::Unchanged => Ok(()),
            Verdict::Changed => {
                let text = problem.as_deref().map_or("healthy again", |_| "unhealthy");
                let description = problem.as_deref().unwrap_or_default();
                self.offer(StreamClass::History, messages::firmware_warning("health", text, description, self.now_ms()));
                Ok(())
            }
            Verdict::Restart => {
                let description = problem.unwrap_or_default();
                Err(Failure::of_firmware("health", "unhealthy", description))
            }
        }
    }
}
