use iottly_protocol::{Message, MessageKind, Record, limits};
use iottly_update::Progress;
use serde_json::json;

/// Longest text that is taken over from a document that nobody vouches for.
const MAX_CLAIM: usize = 64;

/// The agent message that tells where an update is.
pub(super) fn progress(progress: &Progress, release_seq: Option<u64>, now_ms: u64) -> Vec<u8> {
    let why = progress.why.as_ref();
    message(
        json!({
            "directive": progress.id,
            "sha256": progress.sha256,
            "release_seq": release_seq,
            "state": progress.phase,
            "reason": why.map(|why| why.reason),
            "detail": why.map(|why| limits::clip(&why.detail, limits::MAX_TEXT_BYTES)),
        }),
        now_ms,
    )
}

/// The agent message for a directive that is not taken at all. Which directive and release it claims to be about may be a lie.
pub(super) fn refused(document: &[u8], reason: &str, detail: &str, now_ms: u64) -> Vec<u8> {
    let document: serde_json::Value = serde_json::from_slice(document).unwrap_or_default();
    let claim = |name: &str| document["signed"][name].as_str().map(|text| limits::clip(text, MAX_CLAIM).to_owned());
    let detail = limits::clip(detail, limits::MAX_TEXT_BYTES);
    let (id, sha256) = (claim("id"), claim("sha256"));
    message(json!({"directive": id, "sha256": sha256, "state": "rejected", "reason": reason, "detail": detail}), now_ms)
}

fn message(update: serde_json::Value, now_ms: u64) -> Vec<u8> {
    let payload = serde_json::value::to_raw_value(&json!({ "update": update })).expect("a value serializes without failing");
    Record::Message(Message {
        kind: MessageKind::IottlyAgent,
        at_ms: now_ms,
        at_error_ms: None,
        channel: None,
        payload: &payload,
    })
    .encode()
}

#[cfg(test)]
mod tests {
    use iottly_protocol::release::{Reason, Refusal};
    use iottly_update::{Ending, Phase, State};

    use super::*;

    #[test]
    fn the_texts_are_these() {
        let mut told = Progress { id: "d-1".into(), sha256: "ab".into(), phase: Phase::State(State::VerifyingMeta), why: None };
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        assert_eq!(
            text(progress(&told, None, 5)),
            r#"{"message":{"type":"iottlyagent","at_ms":5,"payload":{"update":{"directive":"d-1","sha256":"ab","release_seq":null,"state":"verifying_meta","reason":null,"detail":null}}}}"#
        );
        told.phase = Phase::Ending(Ending::RolledBack);
        told.why = Some(Refusal { reason: Reason::CrashLoop, detail: "tick: trap".into() });
        assert_eq!(
            text(progress(&told, Some(7), 5)),
            r#"{"message":{"type":"iottlyagent","at_ms":5,"payload":{"update":{"directive":"d-1","sha256":"ab","release_seq":7,"state":"rolled_back","reason":"crash_loop","detail":"tick: trap"}}}}"#
        );
        assert_eq!(
            text(refused(br#"{"signed":{"id":"d-2","sha256":7}}"#, "bad_signature", "none", 5)),
            r#"{"message":{"type":"iottlyagent","at_ms":5,"payload":{"update":{"directive":"d-2","sha256":null,"state":"rejected","reason":"bad_signature","detail":"none"}}}}"#
        );
        let long = format!(r#"{{"signed":{{"id":"{}"}}}}"#, "x".repeat(10_000));
        assert!(refused(long.as_bytes(), "", "", 5).len() < 400, "what is claimed is cut");
        assert!(text(refused(b"rubbish", "bad_signature", "", 5)).contains(r#""directive":null"#));
    }
}
