//! Uploads to rows: one transaction for everything that a group of uploads changes.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use iottly_protocol::{GapReason, LogLine, MessageKind, StreamClass, StreamId};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::db::{self, Conn};
use super::usage::Rooms;
use super::{commands, device_config, devices, logs, messages, rollout_devices, streams};
use crate::ingest::stream::{Effect, StreamState};
use crate::ingest::{Entry, Outcome, Upload, UploadBody};
use crate::message_id::MessageIds;
use crate::model::{Scope, StoredMessage, UnixMs};
use crate::store::Result;
use crate::store::outbox::Outbox;

struct Touched {
    state: StreamState,
    new: bool,
}

pub(super) async fn apply(
    connection: &mut Conn,
    ids: &MessageIds,
    outbox: &Outbox,
    uploads: Vec<Upload>,
) -> Result<Vec<Outcome>> {
    let mut tx = db::begin(connection).await?;
    db::lock_devices(&mut tx, uploads.iter().map(|upload| upload.scope)).await?;
    let mut touched: HashMap<(Scope, StreamId), Touched> = HashMap::new();
    let mut outcomes = Vec::with_capacity(uploads.len());
    let now = uploads.iter().map(|upload| upload.received).max().unwrap_or(UnixMs::MIN);
    let mut rooms = Rooms::of(&mut tx, uploads.iter().map(|upload| upload.scope.project).collect(), now).await?;
    for upload in uploads {
        outcomes.push(apply_one(&mut tx, ids, &mut touched, &mut rooms, upload).await?);
    }
    // All rows of the group together, so that they share long statements.
    let stored: Vec<_> = outcomes.iter().flat_map(|outcome| &outcome.stored).collect();
    let enqueued = messages::insert(&mut tx, outbox, &stored).await?;
    for ((scope, stream), Touched { state, new }) in &touched {
        streams::save(&mut tx, *scope, *stream, state, *new, now).await?;
    }
    tx.commit().await?;
    enqueued.announce(outbox);
    Ok(outcomes)
}

async fn apply_one(
    tx: &mut Conn,
    ids: &MessageIds,
    touched: &mut HashMap<(Scope, StreamId), Touched>,
    rooms: &mut Rooms,
    upload: Upload,
) -> Result<Outcome> {
    let Upload { scope, stream, received, mut body } = upload;
    let known = match touched.entry((scope, stream)) {
        Slot::Occupied(slot) => slot.into_mut(),
        Slot::Vacant(slot) => {
            let state = streams::load(tx, scope, stream).await?;
            slot.insert(Touched { new: state.is_none(), state: state.unwrap_or_default() })
        }
    };
    if let UploadBody::Records { first, records } = &mut body {
        rooms.admit(scope.project, &known.state, *first, records);
    }
    let effects = known.state.apply(stream, body);
    let history = known.state.class != Some(StreamClass::Control);
    let (upto, newest) = (known.state.upto, known.state.newest());
    let mut outcome = Outcome { upto, newest, stored: Vec::new(), refused: Vec::new(), results: Vec::new(), updated: false };
    let mut lines = Vec::new();
    for effect in effects {
        match effect {
            Effect::Accept(seq, Entry::Message { kind, at, channel, payload }) => {
                let (timestamp, id) = ids.stamp(received);
                let origin = Some((stream, seq));
                outcome.stored.push(StoredMessage { id, scope, kind, timestamp, device_timestamp: at, channel, payload, origin });
            }
            Effect::Accept(_, control) => {
                if let Entry::Result(result) = &control {
                    outcome.results.push(result.id);
                }
                outcome.updated |= matches!(&control, Entry::Update(report) if report.state.is_ending());
                accept_control(tx, scope, control, received, &mut lines).await?;
            }
            Effect::Gap { from, to, reason } if history => {
                outcome.stored.push(messages::agent_message(ids, scope, received, gap_payload(stream, from, to, reason)));
            }
            Effect::Gap { from, to, reason } => {
                tracing::warn!(device = %scope.device, %stream, from, to, reason = reason.as_str(), "control records are lost");
            }
            Effect::Refuse(refuse) => outcome.refused.push(refuse),
            Effect::Reused(seq, entry) => {
                outcome.stored.push(messages::agent_message(ids, scope, received, reuse_payload(stream, seq, entry)));
            }
        }
    }
    if !lines.is_empty() {
        logs::append(tx, scope, &lines).await?;
        rollout_devices::faults(tx, scope, &lines).await?;
    }
    Ok(outcome)
}

async fn accept_control(tx: &mut Conn, scope: Scope, entry: Entry, now: UnixMs, lines: &mut Vec<LogLine>) -> Result<()> {
    match entry {
        Entry::Result(result) => commands::advance(tx, scope, &result, now).await,
        Entry::Firmware(report) => {
            rollout_devices::stopped(tx, scope, &report).await?;
            devices::set_firmware(tx, scope, &report).await
        }
        Entry::Config(report) => device_config::set_taken(tx, scope, report, now).await,
        Entry::Update(report) => rollout_devices::reported(tx, scope, &report, now).await.map(drop),
        Entry::Facts(facts) => rollout_devices::set_facts(tx, scope, &facts).await,
        Entry::Log(line) => {
            lines.push(line);
            Ok(())
        }
        Entry::Message { .. } => Ok(()),
    }
}

fn gap_payload(stream: StreamId, from: u64, to: u64, reason: GapReason) -> Box<RawValue> {
    let count = to - from + 1;
    raw(&json!({"gap": {"stream": stream, "from": from, "to": to, "count": count, "reason": reason.as_str()}}))
}

/// The report of a reused number carries what came with it, so that nothing is lost without a word.
fn reuse_payload(stream: StreamId, seq: u64, entry: Entry) -> Box<RawValue> {
    let (kind, body) = match entry {
        Entry::Message { kind: MessageKind::UserDefined, payload, .. } => ("userdefined", payload),
        Entry::Message { kind: MessageKind::IottlyAgent, payload, .. } => ("iottlyagent", payload),
        Entry::Result(result) => ("result", raw(&result)),
        Entry::Firmware(report) => ("firmware", raw(&report)),
        Entry::Config(report) => ("config", raw(&report)),
        Entry::Update(report) => ("update", raw(&report)),
        Entry::Facts(facts) => ("facts", raw(&facts)),
        Entry::Log(line) => ("log", raw(&line)),
    };
    // Assembled as text, because a payload's own text is kept as it is.
    let text = format!(r#"{{"stream_reuse":{{"stream":"{stream}","seq":{seq},"type":"{kind}","payload":{}}}}}"#, body.get());
    RawValue::from_string(text).expect("ids, numbers and a JSON payload make JSON")
}

fn raw<T: serde::Serialize>(value: &T) -> Box<RawValue> {
    to_raw_value(value).expect("values with string keys serialize without failing")
}
