//! Entries that the cloud itself writes into a device's history, and the check that a project has room for
//! them. Pure.

use iottly_protocol::{MessageKind, StreamId};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::gaps::GapEntry;
use super::usage::Room;
use iottly_core::ingest::Entry;
use iottly_core::ingest::stream::Effect;

/// Maximum size of the report of a gap or of a reused number when the project's quota is used up, in bytes.
const REPORT_BYTES: usize = 256;

/// Returns true if a project has room for the entries that the effects need; `room` is none for a project
/// without limits.
pub(super) fn fit(room: Option<&Room>, effects: &[Effect], last: Option<&GapEntry>, history: bool) -> bool {
    let Some(mut room) = room.cloned() else {
        return true;
    };
    let mut last = last.copied();
    effects.iter().all(|effect| match effect {
        Effect::Gap { from, to, reason } if history => {
            let gap = GapEntry::new(*from, *to, *reason);
            let merges = room.is_used() && last.is_some_and(|last| last.continues_with(&gap));
            last = Some(gap);
            merges || room.own(REPORT_BYTES)
        }
        Effect::Reused(..) => room.own(REPORT_BYTES),
        Effect::Accept(..) | Effect::Gap { .. } | Effect::Refuse(_) => true,
    })
}

pub(super) fn gap(stream: StreamId, gap: &GapEntry) -> Box<RawValue> {
    let GapEntry { from, to, reason, .. } = gap;
    let count = to - from + 1;
    raw(
        &json!({"gap": {"stream": stream, "from": from, "to": to, "count": count, "reason": reason.as_str()}}),
    )
}

/// Returns the report of a reused number. It includes the record that came with the number, so that no data
/// is lost silently; if the project's quota is used up (`brief`), only its length and a hash.
pub(super) fn reuse(stream: StreamId, seq: u64, entry: Entry, brief: bool) -> Box<RawValue> {
    let (kind, body) = match entry {
        Entry::Message {
            kind: MessageKind::UserDefined,
            payload,
            ..
        } => ("userdefined", payload),
        Entry::Message {
            kind: MessageKind::IottlyAgent,
            payload,
            ..
        } => ("iottlyagent", payload),
        Entry::Result(result) => ("result", raw(&result)),
        Entry::Firmware(report) => ("firmware", raw(&report)),
        Entry::Settings(report) => ("config", raw(&report)),
        Entry::Update(report) => ("update", raw(&report)),
        Entry::Facts(facts) => ("facts", raw(&facts)),
        Entry::Log(line) => ("log", raw(&line)),
        Entry::Developer(report) => ("developer", raw(&report)),
    };
    let body = body.get();
    if brief {
        let hash = blake3::hash(body.as_bytes()).to_hex();
        let report =
            json!({"stream": stream, "seq": seq, "type": kind, "bytes": body.len(), "blake3": hash.as_str()});
        return raw(&json!({ "stream_reuse": report }));
    }
    // Assembled as text to keep the payload's text unchanged.
    let text =
        format!(r#"{{"stream_reuse":{{"stream":"{stream}","seq":{seq},"type":"{kind}","payload":{body}}}}}"#);
    RawValue::from_string(text).expect("ids, numbers and a JSON payload make JSON")
}

pub(super) fn presence(online: bool) -> Box<RawValue> {
    let text = if online {
        r#"{"connectionstatus":"connected"}"#
    } else {
        r#"{"connectionstatus":"disconnected"}"#
    };
    RawValue::from_string(text.to_owned()).expect("the literals are JSON")
}

fn raw<T: serde::Serialize>(value: &T) -> Box<RawValue> {
    to_raw_value(value).expect("values with string keys serialize without failing")
}
