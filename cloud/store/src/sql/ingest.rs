//! Writes caused by devices: one transaction for all changes of a group of writes.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::time::Instant;

use async_trait::async_trait;
use iottly_protocol::{LogLine, MessageKind, StreamClass, StreamId};
use serde_json::value::RawValue;

use super::db::{self, Conn};
use super::gaps::{self, GapEntry, Merge};
use super::streams::{self, Known};
use super::usage::Rooms;
use super::{
    Backend, alerts, commands, device_settings, devices, leases, logs, messages, own_entries,
    rollout_devices, rollups,
};
use crate::{IngestStore, Result};
use iottly_core::ingest::stream::Effect;
use iottly_core::ingest::{Entry, Observed, ObservedRecord, Outcome, Upload, UploadBody, Write};
use iottly_core::model::{Scope, StoredMessage, UnixMs};
use iottly_core::{MessageIds, RateLimitedLog};

/// Limits the log rate: a device may report lost control records as often as it likes.
static LOST: RateLimitedLog = RateLimitedLog::new();

/// State that a transaction has read and still has to write.
struct Work<'a> {
    ids: &'a MessageIds,
    streams: HashMap<(Scope, StreamId), Known>,
    rooms: Rooms,
    merges: Vec<Merge>,
    rollups: rollups::Batch,
}

#[async_trait]
impl IngestStore for Backend {
    async fn commit(&self, writes: Vec<Write>) -> Result<Vec<Outcome>> {
        let mut writer = self.write().await?;
        let mut tx = db::begin(&mut writer).await?;
        db::lock_devices(&mut tx, writes.iter().map(Write::scope)).await?;
        let now = writes.iter().map(Write::at).max().unwrap_or(UnixMs::MIN);
        let rooms = Rooms::of(
            &mut tx,
            writes.iter().map(|write| write.scope().project).collect(),
            now,
        )
        .await?;
        let mut work = Work {
            ids: &self.ids,
            streams: HashMap::new(),
            rooms,
            merges: Vec::new(),
            rollups: rollups::Batch::default(),
        };
        let mut outcomes = Vec::with_capacity(writes.len());
        for write in writes {
            outcomes.push(match write {
                Write::Upload(upload) => work.upload(&mut tx, upload).await?,
                Write::Device {
                    scope,
                    at,
                    online,
                    proof,
                    agent_version,
                } => {
                    if let Some(proof) = proof {
                        devices::set_proof(&mut tx, scope, proof).await?;
                    }
                    work.device(&mut tx, scope, at, online, agent_version.as_deref())
                        .await?
                }
                Write::Notice { scope, at, payload } => Outcome {
                    stored: work.own_entry(scope, at, payload).into_iter().collect(),
                    ..Outcome::default()
                },
            });
        }
        // Insert all messages of the group together, so that they share long statements.
        let stored: Vec<_> = outcomes.iter().flat_map(|outcome| &outcome.stored).collect();
        let mut enqueued = messages::insert(&mut tx, &self.webhook_cache, &stored).await?;
        let alerts = (&self.alert_cache, &*self.ids);
        let versions = std::mem::take(&mut enqueued.alert_versions);
        let entries = alerts::observe(&mut tx, alerts, &mut work.rooms, &versions, &stored, now).await?;
        if !entries.is_empty() {
            let entries: Vec<_> = entries.iter().collect();
            enqueued.extend(messages::insert(&mut tx, &self.webhook_cache, &entries).await?);
        }
        work.rollups.messages(&mut tx, &stored).await?;
        work.rollups.write(&mut tx).await?;
        if let Some(last) = outcomes.last_mut() {
            last.stored.extend(entries);
        }
        gaps::merge(&mut tx, &work.merges).await?;
        for ((scope, stream), known) in &work.streams {
            if known.is_to_save(now) {
                streams::save(&mut tx, *scope, *stream, known, now).await?;
            }
        }
        tx.commit().await?;
        enqueued.announce(&self.webhook_cache);
        Ok(outcomes)
    }

    async fn stream_upto(&self, scope: Scope, stream: StreamId) -> Result<u64> {
        streams::upto(&self.readers, scope, stream).await
    }
}

impl Work<'_> {
    async fn upload(&mut self, tx: &mut Conn, upload: Upload) -> Result<Outcome> {
        let Upload {
            scope,
            stream,
            received,
            mut body,
        } = upload;
        let known = match self.streams.entry((scope, stream)) {
            Slot::Occupied(slot) => slot.into_mut(),
            Slot::Vacant(slot) => slot.insert(streams::load(tx, scope, stream).await?),
        };
        let before = self
            .rooms
            .has_limits(scope.project)
            .then(|| (known.state.clone(), self.rooms.of_project(scope.project)));
        if let UploadBody::Records { first, records } = &mut body {
            self.rooms.admit(scope.project, &known.state, *first, records);
        }
        let effects = known.state.apply(stream, body);
        let history = known.state.class != Some(StreamClass::Control);
        if let Some((state, room)) = before
            && !own_entries::fit(room.as_ref(), &effects, known.gap.as_ref(), history)
        {
            self.rooms.put_back(scope.project, room);
            known.state = state;
            return Ok(Outcome {
                left: true,
                upto: known.state.upto,
                newest: known.state.newest(),
                ..Outcome::default()
            });
        }
        let mut outcome = Outcome {
            upto: known.state.upto,
            newest: known.state.newest(),
            ..Outcome::default()
        };
        let (mut lines, mut sent) = (Vec::new(), None);
        for effect in effects {
            match effect {
                Effect::Accept(
                    seq,
                    Entry::Message {
                        kind,
                        at,
                        channel,
                        payload,
                        firmware,
                    },
                ) => {
                    let (timestamp, id) = self.ids.stamp(received);
                    let origin = Some((stream, seq));
                    let message = StoredMessage {
                        id,
                        scope,
                        kind,
                        timestamp,
                        device_timestamp: at,
                        channel,
                        payload,
                        origin,
                        firmware,
                    };
                    if kind == MessageKind::UserDefined {
                        sent = Some(timestamp);
                    }
                    outcome.stored.push(message);
                }
                Effect::Accept(_, control) => {
                    match &control {
                        Entry::Result(result) => outcome.results.push(result.id),
                        Entry::Update(report) => {
                            outcome.updated = true;
                            outcome.update_ended |= report.state.is_ending();
                        }
                        Entry::Log(line) => outcome.observed.push(Observed {
                            scope,
                            received,
                            what: ObservedRecord::Log(line.clone()),
                        }),
                        Entry::Developer(report) => outcome.observed.push(Observed {
                            scope,
                            received,
                            what: ObservedRecord::Developer(report.clone()),
                        }),
                        _ => {}
                    }
                    accept_control(tx, scope, control, received, &mut lines).await?;
                }
                Effect::Gap { from, to, reason } if history => {
                    outcome.stored.extend(
                        self.gap(tx, (scope, stream), received, GapEntry::new(from, to, reason))
                            .await?,
                    );
                }
                Effect::Gap { from, to, reason } => {
                    if let Some(more) = LOST.ask(Instant::now()) {
                        let reason = reason.as_str();
                        tracing::warn!(device.id = %scope.device, stream.id = %stream, gap.from = from, gap.to = to, gap.reason = reason, suppressed_lines = more, "device lost control records; continuing after the gap");
                    }
                }
                Effect::Refuse(refuse) => outcome.refused.push(refuse),
                Effect::Reused(seq, entry) => {
                    let payload = own_entries::reuse(stream, seq, entry, self.rooms.is_used(scope.project));
                    outcome.stored.extend(self.own_entry(scope, received, payload));
                }
            }
        }
        if let Some(known) = self.streams.get_mut(&(scope, stream)) {
            known.sent = sent.max(known.sent);
        }
        if !lines.is_empty() {
            logs::append(tx, scope, &lines, received).await?;
            rollout_devices::faults(tx, scope, &lines).await?;
        }
        Ok(outcome)
    }

    /// Returns the entry for a gap. Returns none when the gap extends the previous entry, which it does in a
    /// project that has used up its quota.
    async fn gap(
        &mut self,
        tx: &mut Conn,
        (scope, stream): (Scope, StreamId),
        now: UnixMs,
        gap: GapEntry,
    ) -> Result<Option<StoredMessage>> {
        let used = self.rooms.is_used(scope.project);
        self.rollups.missing(scope, now, gap.to - gap.from + 1);
        let known = self
            .streams
            .get_mut(&(scope, stream))
            .expect("the caller has loaded the stream");
        if used
            && let Some(last) = known.gap.as_mut().filter(|last| last.continues_with(&gap))
            && (last.is_new || gaps::is_there(tx, scope, last).await?)
        {
            last.to = gap.to;
            self.merges.push(Merge {
                scope,
                payload: own_entries::gap(stream, last),
                entry: *last,
            });
            return Ok(None);
        }
        let payload = own_entries::gap(stream, &gap);
        self.rooms.charge(scope.project, payload.get().len());
        let message = messages::agent_message(self.ids, scope, now, payload);
        known.gap = Some(GapEntry {
            timestamp: message.timestamp,
            id: message.id,
            is_new: true,
            ..gap
        });
        Ok(Some(message))
    }

    /// Returns an entry written by the cloud; none when the project has no room even for that.
    fn own_entry(&mut self, scope: Scope, now: UnixMs, payload: Box<RawValue>) -> Option<StoredMessage> {
        self.rooms
            .own(scope.project, payload.get().len())
            .then(|| messages::agent_message(self.ids, scope, now, payload))
    }

    async fn device(
        &mut self,
        tx: &mut Conn,
        scope: Scope,
        now: UnixMs,
        online: Option<bool>,
        agent_version: Option<&str>,
    ) -> Result<Outcome> {
        if let Some(version) = agent_version {
            devices::set_agent_version(tx, scope, version).await?;
        }
        let mut outcome = Outcome::default();
        if let Some(online) = online
            && devices::set_online(tx, scope, online, now).await?
        {
            outcome
                .stored
                .extend(self.own_entry(scope, now, own_entries::presence(online)));
        }
        Ok(outcome)
    }
}

async fn accept_control(
    tx: &mut Conn,
    scope: Scope,
    entry: Entry,
    now: UnixMs,
    lines: &mut Vec<LogLine>,
) -> Result<()> {
    match entry {
        Entry::Result(result) => commands::advance(tx, scope, &result, now).await,
        Entry::Firmware(report) => {
            rollout_devices::stopped(tx, scope, &report).await?;
            devices::set_firmware(tx, scope, &report).await
        }
        Entry::Settings(report) => device_settings::set_acknowledged(tx, scope, report, now).await,
        Entry::Update(report) => rollout_devices::reported(tx, scope, &report, now).await.map(drop),
        Entry::Facts(facts) => rollout_devices::set_facts(tx, scope, &facts).await,
        Entry::Log(line) => {
            lines.push(line);
            Ok(())
        }
        Entry::Developer(report) => leases::reported(tx, scope, &report).await,
        Entry::Message { .. } => Ok(()),
    }
}
