//! Limits beyond messages for devices of a project, and the cost of deletions for others.

use std::time::Duration;

use iottly_cloud::housekeeping;
use iottly_core::ingest::{Entry, Upload, UploadBody};
use iottly_core::model::{Change, Limits, Scope, StoredMessage, UnixMs};
use iottly_protocol::{DeviceId, GapReason, MessageKind, ProjectId, StreamClass, StreamId};
use iottly_store::{ScanBounds, Store};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Setup, principal, upload};

const HOUR: UnixMs = 60 * 60 * 1000;

async fn limit(setup: &Setup, messages: u64, bytes: u64) {
    let limits = Limits {
        messages_per_day: Some(messages),
        bytes: Some(bytes),
        ..Limits::default()
    };
    let by = principal(setup.scope);
    setup
        .store
        .change(setup.scope.project, &by, Change::SetLimits(limits), 5)
        .await
        .expect("sets");
}

async fn history(store: &dyn Store, scope: Scope) -> Vec<StoredMessage> {
    store
        .scan(scope, ScanBounds::default(), 100_000)
        .await
        .expect("reads")
}

fn payload(message: &StoredMessage) -> Value {
    serde_json::from_str(message.payload.get()).expect("JSON")
}

fn body(scope: Scope, stream: u8, received: UnixMs, body: UploadBody) -> Upload {
    Upload {
        scope,
        stream: StreamId::from_bytes([stream; 16]),
        received,
        body,
    }
}

pub(crate) async fn a_used_up_quota_holds_for_everything_that_a_device_causes(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    let (store, scope) = (store.as_ref(), *scope);
    limit(&setup, 5, 2_000).await;
    store
        .ingest(vec![upload(scope, 1, 1, 8, HOUR)])
        .await
        .expect("commits");
    // Numbers that come again with another body carry a length and a hash.
    for n in 0..300u32 {
        let text = format!("\"{}{n}\"", "x".repeat(100_000));
        let payload = RawValue::from_string(text).expect("JSON");
        let entry = Entry::Message {
            kind: MessageKind::UserDefined,
            at: 7,
            channel: None,
            payload,
            firmware: None,
        };
        let again = body(
            scope,
            1,
            HOUR,
            UploadBody::Records {
                first: 1,
                records: vec![Ok(entry)],
            },
        );
        let outcome = &store.ingest(vec![again]).await.expect("commits")[0];
        assert_eq!(outcome.upto, 8);
        assert_eq!(
            outcome.left,
            outcome.stored.is_empty(),
            "what is not told is not taken"
        );
    }
    let reused = history(store, scope)
        .await
        .iter()
        .map(payload)
        .find(|payload| payload.get("stream_reuse").is_some());
    let reused = reused.expect("some are reported")["stream_reuse"].clone();
    assert!(
        reused["bytes"].as_u64() > Some(100_000) && reused["blake3"].is_string(),
        "{reused}"
    );
    // Gaps, and what new streams lack.
    for n in 0..300u64 {
        let gap = UploadBody::Gap {
            from: 100 + n * 2,
            to: 100 + n * 2,
            reason: GapReason::Ttl,
        };
        store
            .ingest(vec![body(scope, 1, HOUR, gap)])
            .await
            .expect("commits");
        let announce = UploadBody::Announce {
            class: StreamClass::History,
            oldest: 5,
            next: 5,
        };
        store
            .ingest(vec![body(scope, 2 + (n % 250) as u8, HOUR, announce)])
            .await
            .expect("commits");
    }
    for n in 0..300 {
        store
            .set_presence(scope, n % 2 == 0, None, HOUR)
            .await
            .expect("writes");
        let note = RawValue::from_string(format!("{{\"note\":{n}}}")).expect("JSON");
        store.add_agent_message(scope, note, HOUR).await.expect("writes");
    }
    assert!(
        !store.device(scope).await.expect("reads").expect("exists").online,
        "presence itself is right"
    );
    let usage = store.usage(scope.project, HOUR).await.expect("reads");
    assert!(
        usage.messages_today <= 5 + 100 && usage.bytes <= 2_000 + (64 << 10),
        "{usage:?}"
    );
    assert_eq!(usage.messages, history(store, scope).await.len() as u64);
}

pub(crate) async fn gaps_over_a_quota_lengthen_one_entry(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    let (store, scope) = (store.as_ref(), *scope);
    limit(&setup, 3, 1 << 20).await;
    store
        .ingest(vec![upload(scope, 1, 1, 3, HOUR)])
        .await
        .expect("commits");
    for seq in 4..=2_000 {
        let outcome = &store
            .ingest(vec![upload(scope, 1, seq, 1, HOUR)])
            .await
            .expect("commits")[0];
        assert_eq!(
            (outcome.upto, outcome.refused.len(), outcome.left),
            (seq, 1, false)
        );
    }
    // Several in one transaction.
    let group = (2_001..=2_100)
        .map(|seq| upload(scope, 1, seq, 1, HOUR))
        .collect();
    store.ingest(group).await.expect("commits");
    let entries = history(store, scope).await;
    let gaps: Vec<_> = entries
        .iter()
        .map(payload)
        .filter_map(|payload| payload.get("gap").cloned())
        .collect();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(
        (
            gaps[0]["from"].as_u64(),
            gaps[0]["to"].as_u64(),
            gaps[0]["count"].as_u64()
        ),
        (Some(4), Some(2_100), Some(2_097))
    );
    let usage = store.usage(scope.project, HOUR).await.expect("reads");
    let bytes: usize = entries.iter().map(|entry| entry.payload.get().len()).sum();
    assert_eq!(
        (usage.messages, usage.bytes),
        (4, bytes as u64),
        "what became longer is counted"
    );
    // The next day has room again; a gap is an entry of its own then, and does not extend a deleted one.
    assert!(
        store
            .ingest(vec![upload(scope, 1, 2_101, 3, 25 * HOUR)])
            .await
            .expect("commits")[0]
            .refused
            .is_empty()
    );
    store
        .ingest(vec![upload(scope, 1, 2_104, 1, 25 * HOUR)])
        .await
        .expect("commits");
    store.drop_older(scope, 26 * HOUR, 1000).await.expect("deletes");
    store
        .ingest(vec![upload(scope, 1, 2_105, 1, 25 * HOUR)])
        .await
        .expect("commits");
    let left: Vec<_> = history(store, scope).await.iter().map(payload).collect();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["gap"]["from"].as_u64(), Some(2_105));
}

pub(crate) async fn deletions_that_settle_hold_up_no_other(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    let store = store.as_ref();
    // More devices than one round handles, deleted a moment ago and without data.
    for n in 0..1_100u32 {
        let mut id = [9; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        let device = Scope {
            device: DeviceId::from_bytes(id),
            ..*scope
        };
        super::device(store, device).await.expect("created");
        store
            .change(
                scope.project,
                &principal(*scope),
                Change::DeleteDevice(device.device),
                1_000,
            )
            .await
            .expect("deletes");
    }
    store
        .ingest(vec![upload(*scope, 1, 1, 25, 1_000)])
        .await
        .expect("commits");
    store
        .change(
            scope.project,
            &principal(*scope),
            Change::DeleteDevice(scope.device),
            2_000,
        )
        .await
        .expect("deletes");
    let steps = async |now: UnixMs| {
        let mut steps = 0;
        while store.erase_step(now, 10).await.expect("erases") {
            steps += 1;
        }
        steps
    };
    assert!(steps(3_000).await <= 1_100 / 16 + 4);
    assert!(
        history(store, *scope).await.is_empty(),
        "the last one's turn has come"
    );
    assert_eq!(steps(3_001).await, 0, "those that settle are not looked at");
    // A single device, as in the request that deletes it.
    store
        .ingest(vec![upload(*scope, 1, 26, 5, 3_000)])
        .await
        .expect("commits");
    assert!(store.erase_device_step(*scope, 100).await.expect("erases"));
    assert!(!store.erase_device_step(*scope, 100).await.expect("erases"));
    let stranger = Scope {
        project: ProjectId::from_bytes([2; 12]),
        ..*scope
    };
    assert!(!store.erase_device_step(stranger, 100).await.expect("erases"));
    assert!(steps(70_000).await <= 1_101 / 16 + 1);
    assert_eq!(steps(70_000).await, 0, "all marks are gone");
}

pub(crate) async fn an_erasure_outlives_a_step_of_the_clock(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    let years = 10 * 365 * 24 * HOUR;
    store
        .change(
            scope.project,
            &principal(*scope),
            Change::DeleteDevice(scope.device),
            years,
        )
        .await
        .expect("deletes");
    assert!(!store.erase_step(years, 10).await.expect("looks"));
    // The clock goes back, and a record comes late.
    store
        .ingest(vec![upload(*scope, 1, 1, 3, HOUR)])
        .await
        .expect("commits");
    while store.erase_step(2 * HOUR, 10).await.expect("erases") {}
    assert!(history(store.as_ref(), *scope).await.is_empty());
}

pub(crate) async fn every_project_has_its_turn_when_old_messages_go(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    let store = store.as_ref();
    super::project(store, 2).await;
    let other = Scope {
        project: ProjectId::from_bytes([2; 12]),
        device: DeviceId::from_bytes([2; 16]),
    };
    super::device(store, other).await.expect("created");
    for scope in [*scope, other] {
        store
            .change(scope.project, &principal(scope), Change::SetRetention(Some(1)), 5)
            .await
            .expect("sets");
    }
    for chunk in 0..30 {
        store
            .ingest(vec![upload(*scope, 1, chunk * 1000 + 1, 1000, HOUR)])
            .await
            .expect("commits");
    }
    store
        .ingest(vec![upload(other, 1, 1, 10, HOUR)])
        .await
        .expect("commits");
    // However little time there is.
    let finished = housekeeping::retain_for(store, 100 * 24 * HOUR, Duration::ZERO)
        .await
        .expect("deletes");
    assert!(
        history(store, other).await.is_empty(),
        "the small project does not wait for the large one"
    );
    assert!(!finished && !history(store, *scope).await.is_empty());
    assert!(
        housekeeping::retain(store, 100 * 24 * HOUR)
            .await
            .expect("deletes")
    );
    assert!(history(store, *scope).await.is_empty());
}
