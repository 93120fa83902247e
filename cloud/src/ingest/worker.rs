//! The one task that commits what devices sent and tells them so.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use iottly_protocol::limits::clip;
use iottly_protocol::{Ack, Down, Hello, StreamCheck, StreamId, StreamPosition, Welcome};
use serde_json::value::to_raw_value;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::actor::{IngestParts, Job, What};
use super::decode::Decoded;
use super::notice::Notices;
use super::{Outcome, Upload, UploadBody};
use crate::broker::Broker;
use crate::clock;
use crate::command::CommandService;
use crate::device_config::DeviceConfigs;
use crate::live::LiveHub;
use crate::metrics::Metrics;
use crate::model::{Scope, StoredMessage, UnixMs};
use crate::presence::{Event, Presence};
use crate::rollout::Rollouts;
use crate::store::{Result, Store, StoreError};

/// Most records in one transaction, unless a single publish holds more.
const GROUP_ROWS: usize = 1000;
/// How often the broker is asked whether the devices that count as online are connected.
const RECONCILE: Duration = Duration::from_secs(30);
/// Waits between attempts on a store that fails.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

pub(super) struct Worker {
    store: Arc<dyn Store>,
    broker: Arc<dyn Broker>,
    commands: Arc<CommandService>,
    configs: Arc<DeviceConfigs>,
    rollouts: Arc<Rollouts>,
    live: Arc<LiveHub>,
    metrics: Arc<Metrics>,
    /// One entry per device that was heard since the start or was online before; as many as there are devices.
    presence: HashMap<Scope, Presence>,
    notices: Notices,
    /// Sending of settings and open commands, one task per hello.
    resends: JoinSet<()>,
}

/// What a group of publishes asks for: uploads for one transaction, and the answers after it.
#[derive(Default)]
struct Group {
    uploads: Vec<Upload>,
    answers: Vec<Answer>,
}

enum Answer {
    /// The uploads `at..at + n` announce the streams of this hello.
    Welcome(Scope, Hello, usize),
    /// The upload `at` gets an ack.
    Ack(Scope, StreamId, usize),
}

impl Worker {
    pub(super) fn new(parts: IngestParts) -> Self {
        let IngestParts { store, broker, commands, configs, rollouts, live, metrics } = parts;
        let (presence, notices, resends) = (HashMap::new(), Notices::default(), JoinSet::new());
        Self { store, broker, commands, configs, rollouts, live, metrics, presence, notices, resends }
    }

    /// Runs until it is stopped and the queue is empty.
    pub(super) async fn run(mut self, mut jobs: mpsc::Receiver<Job>, mut stop: oneshot::Receiver<()>, grace: Duration) {
        for scope in persist("presence", || self.store.online_devices()).await {
            self.presence.insert(scope, Presence::assumed_online());
        }
        let mut reconcile = tokio::time::interval_at(Instant::now() + grace, RECONCILE);
        reconcile.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                received = jobs.recv() => match received {
                    Some(job) => batch.push(job),
                    None => break,
                },
                _ = &mut stop, if !jobs.is_closed() => jobs.close(),
                _ = reconcile.tick() => self.reconcile().await,
            }
            self.drain(&mut jobs, &mut batch).await;
        }
    }

    /// Commits the first job at once with everything that came while the last commit ran.
    async fn drain(&mut self, jobs: &mut mpsc::Receiver<Job>, batch: &mut Vec<Job>) {
        while !batch.is_empty() {
            let mut rows: usize = batch.iter().map(Job::rows).sum();
            while rows < GROUP_ROWS {
                let Ok(job) = jobs.try_recv() else { break };
                rows += job.rows();
                batch.push(job);
            }
            let mut group = Group::default();
            // The permits in `batch` are held until the group is committed.
            for job in batch.iter_mut() {
                self.take(job, &mut group).await;
            }
            self.commit(group).await;
            batch.clear();
            if let Ok(job) = jobs.try_recv() {
                batch.push(job);
            }
        }
    }

    async fn take(&mut self, job: &mut Job, group: &mut Group) {
        let (scope, at) = (job.scope, job.at);
        match std::mem::replace(&mut job.what, What::Disconnected) {
            What::Publish(Ok(Decoded::Hello(hello))) => {
                let version = clip(&hello.versions.agent, 64).to_owned();
                self.presence(scope, Event::Hello(hello.conn), Some(&version), at).await;
                let first = group.uploads.len();
                group.uploads.extend(hello.streams.iter().map(|info| {
                    let body = UploadBody::Announce { class: info.class, oldest: info.oldest, next: info.next };
                    Upload { scope, stream: info.stream, received: at, body }
                }));
                group.answers.push(Answer::Welcome(scope, hello, first));
            }
            What::Publish(Ok(Decoded::Upload(stream, body))) => {
                group.answers.push(Answer::Ack(scope, stream, group.uploads.len()));
                group.uploads.push(Upload { scope, stream, received: at, body });
            }
            What::Publish(Err(reason)) => self.protocol_error(scope, &reason, at).await,
            // With a connection up, this is the will of one that was taken over, or a goodbye that the disconnect follows.
            What::Status(status) if !status.online && self.broker.is_connected(scope.device).await => {}
            What::Status(status) => self.presence(scope, Event::Status(status), None, at).await,
            // A newer connection may have come while this event waited.
            What::Disconnected if self.broker.is_connected(scope.device).await => {}
            What::Disconnected => self.presence(scope, Event::Disconnected, None, at).await,
        }
    }

    async fn commit(&mut self, group: Group) {
        let Group { uploads, answers } = group;
        if answers.is_empty() {
            return;
        }
        let outcomes = self.ingest(uploads).await;
        for message in outcomes.iter().flatten().flat_map(|outcome| &outcome.stored) {
            self.live.publish(message);
        }
        outcomes.iter().flatten().flat_map(|outcome| &outcome.results).for_each(|id| self.commands.reported(*id));
        if outcomes.iter().flatten().any(|outcome| outcome.updated) {
            self.rollouts.wake();
        }
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

    /// Commits uploads, whatever it takes. None stands for an upload whose stream the database cannot read: it alone waits
    /// for repair, unacknowledged, so that it does not stop everybody else.
    async fn ingest(&self, uploads: Vec<Upload>) -> Vec<Option<Outcome>> {
        let began = Instant::now();
        match self.store.ingest(uploads.clone()).await {
            Ok(outcomes) => {
                let stored = outcomes.iter().map(|outcome| outcome.stored.len()).sum();
                let refused = outcomes.iter().map(|outcome| outcome.refused.len()).sum();
                self.metrics.committed(uploads.len(), stored, refused, began.elapsed());
                return outcomes.into_iter().map(Some).collect();
            }
            Err(error) => tracing::error!(%error, uploads = uploads.len(), "ingest failed, trying again one by one"),
        }
        let mut outcomes = Vec::with_capacity(uploads.len());
        for upload in uploads {
            let (scope, stream) = (upload.scope, upload.stream);
            let outcome = persist("ingest", || async {
                match self.store.ingest(vec![upload.clone()]).await {
                    Err(StoreError::Corrupt { table, field, reason }) => {
                        tracing::error!(device = %scope.device, %stream, table, field, reason, "stream is unreadable, its uploads wait");
                        Ok(None)
                    }
                    other => other.map(|mut outcomes| outcomes.pop()),
                }
            });
            outcomes.push(outcome.await);
        }
        outcomes
    }

    async fn welcome(&mut self, scope: Scope, hello: &Hello, outcomes: &[Option<Outcome>]) {
        let known = || hello.streams.iter().zip(outcomes).filter_map(|(info, outcome)| Some((info.stream, outcome.as_ref()?)));
        let streams = known().map(|(stream, outcome)| StreamPosition { stream, upto: outcome.upto }).collect();
        let checks = known().filter_map(|(stream, outcome)| outcome.newest.map(|(seq, hash)| StreamCheck { stream, seq, hash }));
        let time_ms = u64::try_from(clock::now()).unwrap_or(0);
        let welcome = Welcome { conn: hello.conn, time_ms, streams, checks: checks.collect() };
        self.send(scope, &Down::Welcome(welcome)).await;
        while self.resends.try_join_next().is_some() {}
        let (commands, configs, rollouts) = (Arc::clone(&self.commands), Arc::clone(&self.configs), Arc::clone(&self.rollouts));
        let counter = hello.directive_counter;
        self.resends.spawn(async move {
            if let Err(error) = configs.send(scope).await {
                tracing::error!(device = %scope.device, %error, "settings wait for the next hello");
            }
            if let Err(error) = rollouts.greeted(scope, counter).await {
                tracing::error!(device = %scope.device, %error, "an open directive waits for the next hello");
            }
            if let Err(error) = commands.resend(scope, clock::now()).await {
                tracing::error!(device = %scope.device, %error, "open commands wait for the next hello");
            }
        });
    }

    async fn presence(&mut self, scope: Scope, event: Event, agent_version: Option<&str>, now: UnixMs) {
        let known = self.presence.entry(scope).or_default();
        let changed = known.handle(event);
        let online = known.is_online();
        if changed.is_none() && agent_version.is_none() {
            return;
        }
        let stored = persist("presence", || self.store.set_presence(scope, online, agent_version, now)).await;
        self.publish(stored);
    }

    async fn reconcile(&mut self) {
        let online: Vec<Scope> = self.presence.iter().filter(|(_, known)| known.is_online()).map(|(scope, _)| *scope).collect();
        for scope in online {
            if !self.broker.is_connected(scope.device).await {
                self.presence(scope, Event::Disconnected, None, clock::now()).await;
            }
        }
    }

    async fn protocol_error(&mut self, scope: Scope, reason: &str, now: UnixMs) {
        let Some(count) = self.notices.report(scope.device, now) else { return };
        let payload = serde_json::json!({"protocol": {"error": reason, "count": count}});
        let payload = to_raw_value(&payload).expect("a JSON value serializes without failing");
        let stored = persist("protocol error", || self.store.add_agent_message(scope, payload.clone(), now)).await;
        self.publish(Some(stored));
    }

    fn publish(&self, stored: Option<StoredMessage>) {
        if let Some(message) = stored {
            self.live.publish(&message);
        }
    }

    async fn send(&self, scope: Scope, down: &Down) {
        if let Err(error) = self.broker.publish(scope.device, down.encode().into()).await {
            tracing::debug!(device = %scope.device, kind = down.kind(), %error, "answer is lost, the device asks again");
        }
    }
}

impl Job {
    fn rows(&self) -> usize {
        match &self.what {
            What::Publish(Ok(Decoded::Upload(_, UploadBody::Records { records, .. }))) => records.len(),
            _ => 1,
        }
    }
}

/// Repeats a write until the store takes it.
async fn persist<T, F: Future<Output = Result<T>>>(what: &str, write: impl Fn() -> F) -> T {
    let (mut wait, longest) = RETRY;
    loop {
        match write().await {
            Ok(done) => return done,
            Err(error) => tracing::error!(%error, what, retry_ms = wait.as_millis() as u64, "store failed"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(longest);
    }
}
