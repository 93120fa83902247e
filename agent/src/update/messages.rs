//! Texts of the update's reports and history entries. Pure.

use iottly_protocol::release::{Ending, Reason, Refusal, UpdateState};
use iottly_protocol::{Message, MessageKind, Record, UpdateReport, limits};
use iottly_update::Progress;
use serde_json::json;

/// Maximum size of a text copied from an unverified document, in bytes.
const MAX_CLAIM: usize = 64;

/// Report of an update's state.
pub(super) fn progress(progress: &Progress, now_ms: u64) -> UpdateReport {
    let why = progress.why.as_ref();
    UpdateReport {
        directive: progress.id.clone(),
        sha256: progress.sha256.clone(),
        state: progress.state,
        reason: why.map(|why| why.reason),
        detail: why.map(detail),
        at_ms: now_ms,
    }
}

/// Report of a directive that is not followed, or not yet. Its directive and release ids are unverified
/// claims.
pub(super) fn not_followed(document: &[u8], state: UpdateState, why: &Refusal, now_ms: u64) -> UpdateReport {
    let document: serde_json::Value = serde_json::from_slice(document).unwrap_or_default();
    let claim = |name: &str| {
        limits::clip(document["signed"][name].as_str().unwrap_or_default(), MAX_CLAIM).to_owned()
    };
    UpdateReport {
        directive: claim("id"),
        sha256: claim("sha256"),
        state,
        reason: Some(why.reason),
        detail: Some(detail(why)),
        at_ms: now_ms,
    }
}

/// Report of damage to files that updates need; belongs to no directive.
pub(super) fn damage(text: &str, now_ms: u64) -> UpdateReport {
    UpdateReport {
        directive: String::new(),
        sha256: String::new(),
        state: UpdateState::Ended(Ending::Failed),
        reason: Some(Reason::Invalid),
        detail: Some(limits::clip(text, limits::MAX_TEXT_BYTES).to_owned()),
        at_ms: now_ms,
    }
}

fn detail(why: &Refusal) -> String {
    limits::clip(&why.detail, limits::MAX_TEXT_BYTES).to_owned()
}

/// Agent message for the device's history.
pub(super) fn entry(report: &UpdateReport, release_seq: Option<u64>) -> Vec<u8> {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let update = json!({
        "directive": given(&report.directive),
        "sha256": given(&report.sha256),
        "release_seq": release_seq,
        "state": report.state,
        "reason": report.reason,
        "detail": report.detail,
    });
    let payload = serde_json::value::to_raw_value(&json!({ "update": update }))
        .expect("a value serializes without failing");
    Record::Message(Message {
        kind: MessageKind::IottlyAgent,
        at_ms: report.at_ms,
        at_error_ms: None,
        channel: None,
        payload: &payload,
        firmware: None,
    })
    .encode()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_are_these() {
        let why = Some(Refusal {
            reason: Reason::CrashLoop,
            detail: "tick: trap".into(),
        });
        let ended = Progress {
            id: "d-1".into(),
            sha256: "ab".into(),
            state: UpdateState::Ended(Ending::RolledBack),
            why,
        };
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        assert_eq!(
            text(entry(&progress(&ended, 5), Some(7))),
            r#"{"message":{"type":"iottlyagent","at_ms":5,"payload":{"update":{"directive":"d-1","sha256":"ab","release_seq":7,"state":"rolled_back","reason":"crash_loop","detail":"tick: trap"}}}}"#
        );
        let why = Refusal {
            reason: Reason::BadSignature,
            detail: "none".into(),
        };
        let refused = |document: &[u8]| not_followed(document, UpdateState::Ended(Ending::Rejected), &why, 5);
        assert_eq!(
            text(entry(&refused(br#"{"signed":{"id":"d-2","sha256":7}}"#), None)),
            r#"{"message":{"type":"iottlyagent","at_ms":5,"payload":{"update":{"directive":"d-2","sha256":null,"release_seq":null,"state":"rejected","reason":"bad_signature","detail":"none"}}}}"#
        );
        let long = format!(r#"{{"signed":{{"id":"{}"}}}}"#, "x".repeat(10_000));
        assert!(
            refused(long.as_bytes()).directive.len() == MAX_CLAIM,
            "what is claimed is cut"
        );
        assert_eq!(refused(b"rubbish").directive, "");
    }
}
