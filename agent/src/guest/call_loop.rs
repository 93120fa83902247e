//! The calls of one instance, one after another, in the order that the sandbox's schedule decides.

use std::collections::VecDeque;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use iottly_protocol::StreamClass;
use iottly_sandbox::{
    Call, CallError, Done, Fault, HEALTH_EVERY, Health, HealthVerdict, Instance, Kind, Proof, Schedule, View,
};

use super::failure::{Failure, failure};
use super::mailbox::{GuestRequest, TrialEvent};
use super::messages;
use super::supervisor::{End, Supervisor};
use crate::watchdog::IDLE;
use crate::work::{GuestEvent, GuestState, Job, Outcome};

/// Instance that is being called, and the results of its calls so far.
struct Service<'a> {
    instance: &'a mut Instance,
    health: Health,
    proof: Proof,
    jobs: VecDeque<Job>,
}

impl Supervisor {
    /// Calls the firmware until it ends, is replaced or the agent stops.
    pub(super) fn run_calls(&mut self, instance: &mut Instance) -> End {
        let mut service = Service {
            instance,
            health: Health::default(),
            proof: Proof::default(),
            jobs: VecDeque::new(),
        };
        let mut schedule = Schedule::new(Instant::now(), self.health_every());
        loop {
            self.source.part.turn();
            let view = View {
                command: !service.jobs.is_empty(),
                event_at: service.instance.next_event_at(),
            };
            let call = schedule.next(Instant::now(), view);
            let wait = match call {
                Call::Wait(until) => until.saturating_duration_since(Instant::now()),
                _ => Duration::ZERO,
            };
            match self.requests.recv_timeout(wait.min(IDLE)) {
                Ok(GuestRequest::Job(job)) => {
                    service.jobs.push_back(job);
                    continue;
                }
                Ok(GuestRequest::Wake) => {
                    self.mailbox.woken();
                    continue;
                }
                Ok(GuestRequest::Load(request)) => {
                    self.stop(service, "another firmware takes its place");
                    return End::Replaced(request);
                }
                Ok(GuestRequest::Swap(request)) => {
                    // Loaded before the old code ends, so that code which cannot be loaded interrupts nothing.
                    if let Some(swap) = self.prepare(request) {
                        self.stop(service, "other code takes its place");
                        return End::Swapped(Box::new(swap));
                    }
                    continue;
                }
                Ok(GuestRequest::GiveBack(taken)) => {
                    // The requester may have timed out; ignore a closed channel.
                    let _ = taken.try_send(());
                    if self.borrowed.current().is_none() {
                        continue;
                    }
                    self.stop(service, "the installed firmware takes its place again");
                    return End::GivenBack;
                }
                Ok(GuestRequest::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    self.stop(service, "the agent stops");
                    return End::Stopped;
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            let began = Instant::now();
            let called = self.call(call, &mut service);
            self.ports.meter.used(service.instance.take_usage());
            match called {
                Ok(Some(done)) => schedule.done(done, began, Instant::now(), service.instance.pause()),
                Ok(None) => {}
                Err(failure) => {
                    for job in service.jobs {
                        self.finished(job.id, Outcome::Failed("the firmware is not running".to_owned()));
                    }
                    return End::Failed(failure);
                }
            }
        }
    }

    /// Makes one call; `None` if there was nothing to do.
    fn call(&mut self, call: Call, service: &mut Service<'_>) -> Result<Option<Done>, Failure> {
        match call {
            Call::Wait(_) => Ok(None),
            Call::Handle => match service.jobs.pop_front() {
                Some(job) => self.handle(service, job).map(|()| Some(Done::Other)),
                None => Ok(None),
            },
            Call::Health => self.health(service).map(|()| Some(Done::Health)),
            Call::Event => self.event(service).map(|()| Some(Done::Other)),
            Call::Tick => self.tick(service).map(Some),
        }
    }

    fn stop(&mut self, service: Service<'_>, reason: &str) {
        if let Err(error) = service.instance.shutdown(reason) {
            self.complain("shutdown", &error);
        }
        for job in service.jobs {
            self.finished(job.id, Outcome::Failed(format!("not called: {reason}")));
        }
    }

    /// Returns the time between two health checks; during a trial its observer decides.
    fn health_every(&self) -> Duration {
        self.observer
            .as_ref()
            .map_or(HEALTH_EVERY, |observer| observer.every)
    }

    fn event(&mut self, service: &mut Service<'_>) -> Result<(), Failure> {
        match service.instance.deliver() {
            Ok(true) => service.proof.returned(Kind::Event),
            Ok(false) => {}
            Err(error @ CallError::Fault(_)) => self.failed(service, Kind::Event, "event", &error),
            Err(trap) => return Err(failure("event", &trap, service.instance)),
        }
        Ok(())
    }

    fn tick(&mut self, service: &mut Service<'_>) -> Result<Done, Failure> {
        match service.instance.tick(self.now_ms()) {
            Ok(next_ms) => {
                service.proof.ticked(next_ms);
                Ok(Done::Tick(next_ms))
            }
            Err(error @ CallError::Fault(_)) => {
                self.failed(service, Kind::Tick, "tick", &error);
                Ok(Done::FailedTick)
            }
            Err(trap) => Err(failure("tick", &trap, service.instance)),
        }
    }

    /// Records a fault that the firmware survives.
    fn failed(&mut self, service: &mut Service<'_>, kind: Kind, function: &str, error: &CallError) {
        self.complain(function, error);
        match service.instance.device_failure() {
            Some(reason) => tracing::warn!(
                firmware.function = function,
                error = reason,
                "failed to complete a call for lack of resources; the firmware continues"
            ),
            None => service.proof.failed(kind, &error.to_string()),
        }
    }

    fn handle(&mut self, service: &mut Service<'_>, job: Job) -> Result<(), Failure> {
        let (outcome, ended) = match service.instance.handle(&job.cmd_type, job.values.get()) {
            Ok(()) => {
                service.proof.returned(Kind::Handle);
                (Outcome::Done, Ok(()))
            }
            Err(CallError::Fault(Fault::Unsupported(_))) => {
                self.offer(
                    StreamClass::History,
                    messages::no_handler(&job.cmd_type, &job.values, self.stamp()),
                );
                (
                    Outcome::Failed(format!("no handler for {:?}", job.cmd_type)),
                    Ok(()),
                )
            }
            Err(error @ CallError::Fault(Fault::Failed(_))) => {
                self.failed(service, Kind::Handle, &job.cmd_type, &error);
                (Outcome::Failed(error.to_string()), Ok(()))
            }
            // A refusal of invalid parameters is no evidence against the firmware.
            Err(error @ CallError::Fault(_)) => {
                self.complain(&job.cmd_type, &error);
                (Outcome::Failed(error.to_string()), Ok(()))
            }
            Err(trap) => (
                Outcome::Failed(trap.to_string()),
                Err(failure("handle", &trap, service.instance)),
            ),
        };
        if ended.is_err() {
            // Before the result: no further command may be started on an instance that has ended.
            self.notify(GuestEvent::State(GuestState::Pending));
        }
        self.finished(job.id, outcome);
        ended
    }

    fn health(&mut self, service: &mut Service<'_>) -> Result<(), Failure> {
        let problem = match service.instance.health() {
            Ok(()) => None,
            Err(CallError::Fault(fault)) => Some(fault.to_string()),
            Err(trap) => return Err(failure("health", &trap, service.instance)),
        };
        if problem.is_none() {
            self.judge(&service.proof);
        }
        match service.health.answered(problem.is_none()) {
            HealthVerdict::Unchanged => Ok(()),
            HealthVerdict::Changed => {
                let text = problem.as_deref().map_or("healthy again", |_| "unhealthy");
                let description = problem.as_deref().unwrap_or_default();
                self.offer(
                    StreamClass::History,
                    messages::firmware_warning("health", text, description, self.stamp()),
                );
                Ok(())
            }
            HealthVerdict::Restart => {
                let description = problem.unwrap_or_default();
                Err(Failure::of_firmware("health", "unhealthy", description))
            }
        }
    }

    /// Notifies the observer of a trial that the firmware is healthy, if its calls have proven that.
    fn judge(&mut self, proof: &Proof) {
        if self.observer.is_none() {
            return;
        }
        match proof.verdict() {
            Ok(()) => self.notify_observer(TrialEvent::Healthy),
            Err(reason) => self.doubt("not working", &reason),
        }
        if let Some(reason) = self.silence.check(self.sent(), self.clock.now()) {
            self.doubt("sends no messages", &reason);
        }
    }
}
