//! The worker: a single task that commits what devices sent and acknowledges it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use iottly_protocol::board::CAN_SHOW_BOARD;
use iottly_protocol::enroll::{CAN_ENROLL, EnrollOffer};
use iottly_protocol::health::TAKES_HEALTH;
use iottly_protocol::limits::clip;
use iottly_protocol::{
    Ack, DeviceId, Down, Hello, MessageKind, ProjectId, StreamCheck, StreamId, StreamPosition, Welcome,
};
use serde_json::value::to_raw_value;
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{Instrument, Span};

use super::actor::IngestParts;
use super::commit::Committer;
use super::notice::Notices;
use super::presences::Presences;
use super::queue::{Job, OWN_STATEMENTS, Queue, What};
use super::resend::Resends;
use crate::boards::BoardViews;
use crate::broker::Broker;
use crate::clock;
use crate::command::CommandService;
use crate::guarded_clock::GuardedClock;
use crate::holds::Holds;
use crate::links::Book;
use crate::live::LiveHub;
use crate::presence::PresenceService;
use crate::rollout::Rollouts;
use iottly_core::clones::{Seen, Verdict};
use iottly_core::ingest::decode::Decoded;
use iottly_core::ingest::{Outcome, Upload, UploadBody, Write};
use iottly_core::model::{Scope, UnixMs};
use iottly_core::presence::Event;
use iottly_store::Store;

/// Maximum number of records per transaction, unless a single publish holds more.
const GROUP_ROWS: usize = 1000;
/// Maximum number of changes of devices per transaction: a fleet that comes or goes at once must not delay a command.
const GROUP_DEVICES: usize = GROUP_ROWS / OWN_STATEMENTS;
/// Maximum bytes of publishes per transaction, unless a single publish is larger.
const GROUP_BYTES: usize = 4 << 20;
/// Number of jobs of separately committed devices (see [`Committer`]) between two groups of all other jobs.
const APART_JOBS: usize = 4;
/// Interval at which the broker is asked whether the devices that are considered online are connected.
const RECONCILE: Duration = Duration::from_secs(30);
/// Shortest and longest wait between attempts, at the start, to read which devices were online.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

pub(super) struct Worker {
    queue: Arc<Queue>,
    store: Arc<dyn Store>,
    broker: Arc<dyn Broker>,
    commands: Arc<CommandService>,
    rollouts: Arc<Rollouts>,
    holds: Arc<Holds>,
    boards: Arc<BoardViews>,
    live: Arc<LiveHub>,
    time: Arc<GuardedClock>,
    enroll_offer: Arc<OnceLock<EnrollOffer>>,
    committer: Committer,
    presence: Arc<PresenceService>,
    book: Arc<Book>,
    presences: Presences,
    notices: Notices,
    resends: Resends,
    late: LateHellos,
    /// Jobs of devices whose writes are committed separately; bounded by the queue's budgets.
    apart: VecDeque<Job>,
}

/// A group of jobs: the writes for one transaction, and the answers after it.
#[derive(Default)]
struct Group {
    writes: Vec<Write>,
    answers: Vec<Answer>,
    /// Jobs, held until the group is committed because they hold room in the budgets.
    jobs: Vec<Job>,
}

impl Group {
    /// Returns the span for the commit of the group. `device.id` is set if all events are of one device.
    fn span(&self) -> Span {
        let first = self.jobs.first().map(|job| job.scope.device);
        let device = first.filter(|device| self.jobs.iter().all(|job| job.scope.device == *device));
        tracing::error_span!(
            "ingest_group",
            commit.events = self.jobs.len(),
            device.id = device.map(tracing::field::display)
        )
    }
}

/// Returns the device of a write that changes its presence, with the time since which it is online.
fn turned(write: &Write) -> Option<(Scope, Option<UnixMs>)> {
    match write {
        Write::Device {
            scope,
            at,
            online: Some(online),
            ..
        } => Some((*scope, online.then_some(*at))),
        Write::Device { .. } | Write::Upload(_) | Write::Notice { .. } => None,
    }
}

enum Answer {
    /// Answer to a hello; the writes `at..at + n` announce its streams.
    Welcome(Scope, Hello, usize),
    /// Acknowledgement of the write `at`.
    Ack(Scope, StreamId, usize),
}

fn seen(hello: &Hello, address: Option<IpAddr>) -> Seen {
    Seen {
        boot: hello.boot,
        hardware: hello.hardware.clone(),
        address: address.map(|address| address.to_string()).unwrap_or_default(),
    }
}

/// Hellos that came too soon after the previous one: the newest of each device, with the time at which it is
/// answered.
#[derive(Default)]
struct LateHellos {
    jobs: HashMap<DeviceId, (Instant, Job)>,
    order: BTreeSet<(Instant, DeviceId)>,
}

impl LateHellos {
    fn put(&mut self, at: Instant, job: Job) {
        let device = job.scope.device;
        let at = self.jobs.get(&device).map_or(at, |(at, _)| *at);
        self.order.insert((at, device));
        self.jobs.insert(device, (at, job));
    }

    fn take_due(&mut self, now: Instant) -> Option<Job> {
        let due = *self.order.first().filter(|(at, _)| *at <= now)?;
        self.order.remove(&due);
        self.jobs.remove(&due.1).map(|(_, job)| job)
    }

    fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }
}

impl Worker {
    pub(super) fn new(queue: Arc<Queue>, parts: IngestParts) -> Self {
        let IngestParts {
            store,
            broker,
            commands,
            device_settings,
            rollouts,
            leases,
            holds,
            boards,
            live,
            metrics,
            time,
            enroll_offer,
            presence,
            book,
        } = parts;
        let resends = Resends::new(
            Arc::clone(&commands),
            device_settings,
            Arc::clone(&rollouts),
            leases,
        );
        let committer = Committer::new(store.clone(), metrics, Arc::clone(&queue));
        let (presences, notices, late, apart) = (
            Presences::default(),
            Notices::default(),
            LateHellos::default(),
            VecDeque::new(),
        );
        Self {
            queue,
            store,
            broker,
            commands,
            rollouts,
            holds,
            boards,
            live,
            time,
            enroll_offer,
            committer,
            presence,
            book,
            presences,
            notices,
            resends,
            late,
            apart,
        }
    }

    /// Runs until stopped and the queue is empty.
    pub(super) async fn run(mut self, mut stop: oneshot::Receiver<()>, grace: Duration) {
        self.take_up_presence().await;
        let mut reconcile = tokio::time::interval_at(Instant::now() + grace, RECONCILE);
        reconcile.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopped = false;
        loop {
            let next = [self.late.next(), self.presences.next_due()]
                .into_iter()
                .flatten()
                .min();
            tokio::select! {
                open = self.queue.ready() => if !open { break },
                _ = &mut stop, if !stopped => {
                    stopped = true;
                    self.queue.close();
                }
                () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
                _ = reconcile.tick() => self.reconcile().await,
            }
            while self.round().await {}
            self.queue.idle();
        }
    }

    async fn take_up_presence(&mut self) {
        let (mut wait, longest) = RETRY;
        loop {
            match self.store.online_devices().await {
                Ok(online) => {
                    online.into_iter().for_each(|scope| {
                        self.book.changed(scope, Some(UnixMs::MIN));
                        self.presences.assume_online(scope, Instant::now());
                    });
                    return;
                }
                Err(error) => {
                    let retry_ms = wait.as_millis() as u64;
                    tracing::error!(%error, retry_ms, "failed to read the online devices; retrying");
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(longest);
        }
    }

    /// Commits waiting jobs, as many as fit in one transaction. Returns false when none waited.
    async fn round(&mut self) -> bool {
        let (mut group, mut bytes) = (Group::default(), 0);
        let (now, at) = (Instant::now(), self.time.received());
        for (scope, online) in self.presences.due(now, GROUP_DEVICES) {
            group.writes.push(Write::Device {
                scope,
                at,
                online: Some(online),
                proof: self.book.proof(scope, self.presence.moment()),
                agent_version: None,
            });
        }
        let mut rows = OWN_STATEMENTS * group.writes.len();
        while rows < GROUP_ROWS && bytes < GROUP_BYTES {
            let Some(job) = self.late.take_due(now).or_else(|| self.queue.pop()) else {
                break;
            };
            if self.committer.is_apart(job.scope.device) {
                self.apart.push_back(job);
                continue;
            }
            (rows, bytes) = (rows + job.rows(), bytes + job.bytes());
            self.take(job, &mut group).await;
        }
        let mut worked = !group.jobs.is_empty() || !group.writes.is_empty();
        self.commit(group).await;
        for _ in 0..APART_JOBS {
            let Some(job) = self.apart.pop_front() else { break };
            let mut alone = Group::default();
            self.take(job, &mut alone).await;
            self.commit(alone).await;
            worked = true;
        }
        worked
    }

    async fn take(&mut self, mut job: Job, group: &mut Group) {
        let (scope, at, now) = (job.scope, job.at, Instant::now());
        match std::mem::replace(&mut job.what, What::Disconnected) {
            What::Publish(Ok(Decoded::Hello(hello))) => {
                if let Err(due) = self.presences.hello(scope, now) {
                    job.what = What::Publish(Ok(Decoded::Hello(hello)));
                    self.late.put(due, job);
                    return;
                }
                if !self.is_copy(scope, &hello, now).await {
                    self.hello(scope, at, hello, group).await;
                }
            }
            // Not acknowledged, so they stay in the queue of the board.
            What::Publish(_) if self.holds.is_held(scope.device) => {}
            What::Held(hello, address) => {
                if self.presences.hello(scope, now).is_ok() {
                    self.holds.heard(scope, seen(&hello, address)).await;
                }
            }
            What::Publish(Ok(Decoded::Upload(stream, body))) => {
                group.answers.push(Answer::Ack(scope, stream, group.writes.len()));
                group.writes.push(Write::Upload(Upload {
                    scope,
                    stream,
                    received: at,
                    body,
                }));
            }
            What::Publish(Err(reason)) => self.protocol_error(scope, &reason, at, group),
            // While a connection is up, this is the will of a connection that was taken over, or a goodbye
            // followed by the disconnect.
            What::Status(status) if !status.online && self.broker.is_connected(scope.device).await => {}
            What::Status(status) => self.presence(scope, Event::Status(status), at, group),
            // A newer connection may have been made while this event waited.
            What::Disconnected if self.broker.is_connected(scope.device).await => {}
            What::Disconnected => self.presence(scope, Event::Disconnected, at, group),
        }
        group.jobs.push(job);
    }

    /// Returns true if the board with this hello is one of several that share the keys of the device, and sends it the verdict.
    async fn is_copy(&mut self, scope: Scope, hello: &Hello, now: Instant) -> bool {
        let seen = seen(hello, self.broker.address(scope.device));
        match self.holds.verdict(scope.device, hello.boot) {
            Verdict::Held | Verdict::Left => self.holds.heard(scope, seen).await,
            Verdict::Go => {
                let Some(two) = self.presences.boot(scope, seen, now, clock::steady_ms()) else {
                    return false;
                };
                self.holds.begin(scope, two).await;
            }
        }
        true
    }

    async fn hello(&mut self, scope: Scope, at: UnixMs, hello: Hello, group: &mut Group) {
        // A hello that had to wait may belong to a closed connection.
        let online = if self.broker.is_connected(scope.device).await {
            self.presences
                .handle(scope, Event::Hello(hello.conn), Instant::now())
        } else {
            None
        };
        let can_show = hello.capabilities.iter().any(|name| name == CAN_SHOW_BOARD);
        self.boards.hello(scope.device, can_show);
        let agent_version = Some(clip(&hello.versions.agent, 64).to_owned());
        group.writes.push(Write::Device {
            scope,
            at,
            online,
            proof: online.and(self.book.proof(scope, self.presence.moment())),
            agent_version,
        });
        let first = group.writes.len();
        group.writes.extend(hello.streams.iter().map(|info| {
            let body = UploadBody::Announce {
                class: info.class,
                oldest: info.oldest,
                next: info.next,
            };
            Write::Upload(Upload {
                scope,
                stream: info.stream,
                received: at,
                body,
            })
        }));
        group.answers.push(Answer::Welcome(scope, hello, first));
    }

    fn presence(&mut self, scope: Scope, event: Event, at: UnixMs, group: &mut Group) {
        let online = self.presences.handle(scope, event, Instant::now());
        if online.is_some() {
            group.writes.push(Write::Device {
                scope,
                at,
                online,
                proof: self.book.proof(scope, self.presence.moment()),
                agent_version: None,
            });
        }
    }

    fn protocol_error(&mut self, scope: Scope, reason: &str, at: UnixMs, group: &mut Group) {
        let Some(count) = self.notices.report(scope.device, Instant::now()) else {
            return;
        };
        let payload = serde_json::json!({"protocol": {"error": reason, "count": count}});
        let payload = to_raw_value(&payload).expect("a JSON value serializes without failing");
        group.writes.push(Write::Notice { scope, at, payload });
    }

    async fn reconcile(&mut self) {
        self.presences.tidy(Instant::now());
        let (at, mut group) = (self.time.received(), Group::default());
        for scope in self.presences.online() {
            if !self.broker.is_connected(scope.device).await {
                self.presence(scope, Event::Disconnected, at, &mut group);
            }
            if group.writes.len() >= GROUP_DEVICES {
                self.commit(std::mem::take(&mut group)).await;
            }
        }
        self.commit(group).await;
    }

    async fn commit(&mut self, group: Group) {
        if group.writes.is_empty() && group.answers.is_empty() {
            return;
        }
        let span = group.span();
        self.commit_and_answer(group).instrument(span).await;
    }

    async fn commit_and_answer(&mut self, group: Group) {
        let Group {
            writes,
            answers,
            jobs,
        } = group;
        let scopes: Vec<Scope> = writes.iter().map(Write::scope).collect();
        let projects: Vec<ProjectId> = scopes.iter().map(|scope| scope.project).collect();
        let turned: Vec<_> = writes.iter().filter_map(turned).collect();
        let outcomes = self.committer.commit(writes).await;
        drop(jobs);
        for message in outcomes.iter().flatten().flat_map(|outcome| &outcome.stored) {
            if message.kind == MessageKind::UserDefined {
                self.book.sent(message.scope, message.timestamp);
            }
        }
        for (scope, online) in turned {
            self.book.changed(scope, online);
            self.presence.changed(scope);
        }
        for message in outcomes.iter().flatten().flat_map(|outcome| &outcome.stored) {
            self.live.publish(message);
        }
        for observed in outcomes.iter().flatten().flat_map(|outcome| &outcome.observed) {
            self.live.publish_observed(observed);
        }
        super::parts::tell(&self.live, &scopes, &outcomes);
        outcomes
            .iter()
            .flatten()
            .flat_map(|outcome| &outcome.results)
            .for_each(|id| self.commands.reported(*id));
        self.notify_rollouts(&projects, &outcomes);
        let mut acks: Vec<((Scope, StreamId), u64)> = Vec::new();
        for answer in answers {
            match answer {
                Answer::Welcome(scope, hello, first) => self.welcome(scope, &hello, &outcomes[first..]).await,
                Answer::Ack(scope, stream, at) => {
                    let Some(outcome) = &outcomes[at] else { continue };
                    for refuse in &outcome.refused {
                        self.send(scope, &Down::Refuse(refuse.clone())).await;
                    }
                    match acks.iter_mut().find(|(key, _)| *key == (scope, stream)) {
                        Some((_, upto)) => *upto = outcome.upto.max(*upto),
                        None => acks.push(((scope, stream), outcome.upto)),
                    }
                }
            }
        }
        for ((scope, stream), upto) in acks {
            self.send(scope, &Down::Ack(Ack { stream, upto })).await;
        }
    }

    /// Notifies the rollouts of reports about updates; `projects` are those of the writes.
    fn notify_rollouts(&self, projects: &[ProjectId], outcomes: &[Option<Outcome>]) {
        let reports = projects
            .iter()
            .zip(outcomes)
            .filter_map(|(project, outcome)| Some((*project, outcome.as_ref()?)))
            .filter(|(_, outcome)| outcome.updated);
        // Whether an update of the project has ended.
        let mut reported: BTreeMap<ProjectId, bool> = BTreeMap::new();
        for (project, outcome) in reports {
            *reported.entry(project).or_default() |= outcome.update_ended;
        }
        for (project, ended) in reported {
            self.rollouts.reported(project, ended);
        }
    }

    async fn welcome(&mut self, scope: Scope, hello: &Hello, outcomes: &[Option<Outcome>]) {
        let known = || {
            let outcomes = outcomes
                .iter()
                .map(|outcome| outcome.as_ref().filter(|outcome| !outcome.left));
            hello
                .streams
                .iter()
                .zip(outcomes)
                .filter_map(|(info, outcome)| Some((info.stream, outcome?)))
        };
        let streams = known()
            .map(|(stream, outcome)| StreamPosition {
                stream,
                upto: outcome.upto,
            })
            .collect();
        let checks = known().filter_map(|(stream, outcome)| {
            outcome
                .newest
                .map(|(seq, hash)| StreamCheck { stream, seq, hash })
        });
        let time_ms = u64::try_from(self.time.wall()).unwrap_or(0);
        let welcome = Welcome {
            conn: hello.conn,
            time_ms,
            streams,
            checks: checks.collect(),
            enroll: self.enroll_offer.get().copied().filter(|_| {
                // A device that has a key does not ask.
                hello.capabilities.iter().any(|name| name == CAN_ENROLL)
            }),
            capabilities: vec![TAKES_HEALTH.to_owned()],
        };
        self.send(scope, &Down::Welcome(welcome)).await;
        self.resends.start(scope, hello.directive_counter);
    }

    async fn send(&self, scope: Scope, down: &Down) {
        if let Err(error) = self.broker.publish(scope.device, down.encode().into()).await {
            tracing::debug!(device.id = %scope.device, message.kind = down.kind(), %error, "failed to send an answer; the device asks again");
        }
    }
}
