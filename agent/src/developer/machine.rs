//! The lease of a developer on this device: event and time in, effects out. Opens no file and reads no clock.
//!
//! The machine never touches slots, floors or the update's journal: a developer's code is in memory alone, and
//! its end is the installed firmware again.

use iottly_protocol::release::{
    DeveloperFacts, DeveloperOrder, LeaseId, OrderAction, Reason, Refusal, admit_order, admit_script,
};

use super::event::{Effect, Event, Outcome, Said, Site, Verified};
use super::memory::{Memory, Open};

/// Maximum number of reports per minute about documents that are no valid orders: an attacker on the line can
/// invent them.
const REFUSALS_PER_MINUTE: u32 = 30;
const MINUTE_MS: u64 = 60_000;

/// Code of a developer that runs.
#[derive(Debug, Clone)]
struct Current {
    open: Open,
    /// End of the lease, in milliseconds of the growing clock.
    until_ms: u64,
}

/// Code whose first call has not returned.
#[derive(Debug)]
struct Starting {
    attempt: u64,
    next: Current,
    received_ms: u64,
}

/// Admitted order that waits for the one that starts.
#[derive(Debug)]
struct Waiting {
    next: Current,
    component: Vec<u8>,
    received_ms: u64,
}

/// State machine of developer orders.
#[derive(Debug)]
pub(crate) struct Machine {
    memory: Memory,
    attempts: u64,
    /// Code that runs, or runs again if the one that starts fails.
    current: Option<Current>,
    starting: Option<Starting>,
    waiting: Option<Waiting>,
    minute_ms: u64,
    refused_this_minute: u32,
}

impl Machine {
    pub(crate) fn new(memory: Memory) -> Self {
        Self {
            memory,
            attempts: 0,
            current: None,
            starting: None,
            waiting: None,
            minute_ms: 0,
            refused_this_minute: 0,
        }
    }

    /// Returns the time at which a tick is due, in milliseconds of the growing clock.
    pub(crate) fn wake_at(&self) -> Option<u64> {
        self.newest().map(|newest| newest.until_ms)
    }

    /// Returns the newest code that runs or is to run.
    fn newest(&self) -> Option<&Current> {
        let waiting = self.waiting.as_ref().map(|waiting| &waiting.next);
        let starting = self.starting.as_ref().map(|starting| &starting.next);
        waiting.or(starting).or(self.current.as_ref())
    }

    /// Handles an event and returns the effects.
    pub(crate) fn handle(&mut self, event: Event, now_ms: u64) -> Vec<Effect> {
        match event {
            Event::Boot => self.boot(),
            Event::Ordered(verified, site) => self.ordered(*verified, site, now_ms),
            Event::Refused { order, lease, why } => self.refused(order, lease, why, now_ms),
            Event::Started { attempt } => self.started(attempt, now_ms),
            Event::Failed { attempt, detail } => self.failed(attempt, detail),
            Event::Released => self.end("a release takes the place of the developer's code", false),
            Event::Tick if self.wake_at().is_some_and(|at| at <= now_ms) => {
                self.end("the lease's time is over", true)
            }
            Event::Tick => Vec::new(),
        }
    }

    /// Reports the end of code that was in memory when the agent ended.
    fn boot(&mut self) -> Vec<Effect> {
        match self.memory.open.take() {
            Some(open) => vec![report(&open, ended("the agent was restarted")), self.journal()],
            None => Vec::new(),
        }
    }

    fn ordered(&mut self, verified: Verified, site: Site, now_ms: u64) -> Vec<Effect> {
        let Verified {
            order,
            script,
            date,
            received_ms,
        } = verified;
        // The cloud repeats the newest order after each welcome.
        if order.counter == self.memory.counter && order.id == self.memory.last {
            return Vec::new();
        }
        let on_trial = site.on_trial;
        let facts = self.facts(site);
        if let Err(why) = admit_order(&order, &facts, date) {
            return vec![refusal(&order, why)];
        }
        if order.action == OrderAction::End {
            self.accept(&order);
            let mut effects = vec![self.journal()];
            effects.extend(self.end("the lease was ended", true));
            return effects;
        }
        let admitted = script.and_then(|(offered, component)| {
            admit_script(&order, &offered, &facts)?;
            if on_trial {
                return Err(Refusal {
                    reason: Reason::Lock,
                    detail: "a release is on trial; save again when the trial has ended".to_owned(),
                });
            }
            Ok(component)
        });
        let component = match admitted {
            Ok(component) => component,
            Err(why) => return vec![refusal(&order, why)],
        };
        self.accept(&order);
        let remaining_s = order.expires.unix().saturating_sub(date.unix());
        let next = Current {
            until_ms: now_ms.saturating_add(remaining_s.saturating_mul(1000)),
            open: Open {
                order: order.id,
                lease: order.lease,
                sha256: order.sha256,
            },
        };
        let waiting = Waiting {
            next,
            component,
            received_ms,
        };
        if self.starting.is_none() {
            return self.run(waiting);
        }
        let older = self.waiting.replace(waiting);
        let superseded = older.map(|older| superseded(&older.next.open));
        [self.journal()].into_iter().chain(superseded).collect()
    }

    fn facts(&self, site: Site) -> DeveloperFacts {
        DeveloperFacts {
            device: site.device,
            project: site.project,
            allowed: site.allowed,
            counter: self.memory.counter,
            lease: self.newest().map(|newest| newest.open.lease),
            capabilities: site.capabilities,
            engines: site.engines,
            exact: site.exact,
            clock_trusted: site.clock_trusted,
        }
    }

    fn accept(&mut self, order: &DeveloperOrder) {
        self.memory.counter = order.counter;
        self.memory.last.clone_from(&order.id);
    }

    fn run(&mut self, order: Waiting) -> Vec<Effect> {
        self.memory.open = Some(order.next.open.clone());
        self.attempts += 1;
        self.starting = Some(Starting {
            attempt: self.attempts,
            next: order.next,
            received_ms: order.received_ms,
        });
        let swap = Effect::Swap {
            attempt: self.attempts,
            component: order.component,
        };
        vec![self.journal(), swap]
    }

    fn started(&mut self, attempt: u64, now_ms: u64) -> Vec<Effect> {
        let Some(starting) = self.starting.take_if(|starting| starting.attempt == attempt) else {
            return Vec::new();
        };
        let ms = now_ms.saturating_sub(starting.received_ms);
        let mut effects = vec![report(&starting.next.open, Outcome::Running { ms })];
        self.current = Some(starting.next);
        effects.extend(self.proceed());
        effects
    }

    fn failed(&mut self, attempt: u64, detail: String) -> Vec<Effect> {
        let Some(starting) = self.starting.take_if(|starting| starting.attempt == attempt) else {
            return Vec::new();
        };
        self.memory.open = self.current.as_ref().map(|current| current.open.clone());
        let mut effects = vec![
            report(&starting.next.open, Outcome::Failed { detail }),
            self.journal(),
        ];
        effects.extend(self.proceed());
        effects
    }

    /// Runs the order that waited.
    fn proceed(&mut self) -> Vec<Effect> {
        match self.waiting.take() {
            Some(order) => self.run(order),
            None => Vec::new(),
        }
    }

    /// Ends what runs and what waits. With `give_back` the installed firmware is started.
    fn end(&mut self, detail: &str, give_back: bool) -> Vec<Effect> {
        let Some(newest) = self.newest().cloned() else {
            return Vec::new();
        };
        (self.current, self.starting, self.waiting) = (None, None, None);
        self.memory.open = None;
        let mut effects = Vec::new();
        if give_back {
            effects.push(Effect::GiveBack);
        }
        effects.push(report(&newest.open, ended(detail)));
        // Last: after a power cut before it, the next start reports the end once more.
        effects.push(self.journal());
        effects
    }

    fn refused(&mut self, order: String, lease: Option<LeaseId>, why: Refusal, now_ms: u64) -> Vec<Effect> {
        if now_ms >= self.minute_ms.saturating_add(MINUTE_MS) {
            (self.minute_ms, self.refused_this_minute) = (now_ms, 0);
        }
        if self.refused_this_minute >= REFUSALS_PER_MINUTE {
            return Vec::new();
        }
        self.refused_this_minute += 1;
        vec![Effect::Report(Said {
            order,
            lease,
            sha256: String::new(),
            state: Outcome::Refused(why),
        })]
    }

    fn journal(&self) -> Effect {
        Effect::Journal(self.memory.clone())
    }
}

fn report(open: &Open, state: Outcome) -> Effect {
    let Open { order, lease, sha256 } = open.clone();
    Effect::Report(Said {
        order,
        lease: Some(lease),
        sha256,
        state,
    })
}

fn ended(detail: &str) -> Outcome {
    Outcome::Ended {
        detail: detail.to_owned(),
    }
}

fn refusal(order: &DeveloperOrder, why: Refusal) -> Effect {
    Effect::Report(Said {
        order: order.id.clone(),
        lease: Some(order.lease),
        sha256: order.sha256.clone(),
        state: Outcome::Refused(why),
    })
}

fn superseded(open: &Open) -> Effect {
    let why = Refusal {
        reason: Reason::Superseded,
        detail: "a newer order came before this one was run".to_owned(),
    };
    report(open, Outcome::Refused(why))
}
