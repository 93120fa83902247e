//! Limits of projects, and their usage.

use iottly_cloud::housekeeping;
use iottly_core::model::{Change, Limits, UnixMs, Usage};
use iottly_protocol::StreamId;
use iottly_store::{ScanBounds, StoreError};

use super::{Setup, principal, upload};

const HOUR: UnixMs = 60 * 60 * 1000;

pub(crate) async fn usage_is_counted_and_uncounted(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    let usage = async |now: UnixMs| store.usage(scope.project, now).await.expect("reads");
    let empty = Usage {
        devices: 1,
        definitions: 2,
        ..Usage::default()
    };
    assert_eq!(usage(0).await, empty);
    // Numbers 1 to 9 have one byte each, 10 to 12 have two.
    store
        .ingest(vec![upload(*scope, 1, 1, 9, 23 * HOUR)])
        .await
        .expect("commits");
    store
        .ingest(vec![
            upload(*scope, 1, 10, 3, 25 * HOUR),
            upload(*scope, 1, 1, 12, 25 * HOUR),
        ])
        .await
        .expect("commits");
    assert_eq!(
        usage(23 * HOUR).await,
        Usage {
            messages_today: 9,
            messages: 12,
            bytes: 15,
            ..empty
        }
    );
    assert_eq!(
        usage(26 * HOUR).await.messages_today,
        3,
        "a day begins at midnight"
    );
    assert_eq!(store.drop_older(*scope, 24 * HOUR, 4).await.expect("deletes"), 4);
    assert_eq!(
        usage(23 * HOUR).await,
        Usage {
            messages_today: 9,
            messages: 8,
            bytes: 11,
            ..empty
        }
    );
    store
        .change(
            scope.project,
            &principal(*scope),
            Change::DeleteDevice(scope.device),
            5,
        )
        .await
        .expect("deletes");
    while store.erase_step(6, 100).await.expect("erases") {}
    let left = usage(23 * HOUR).await;
    assert_eq!((left.devices, left.messages, left.bytes), (0, 0, 0));
    assert!(store.hours(scope.project).await.expect("reads").is_empty());
}

pub(crate) async fn messages_over_a_limit_are_refused_by_name(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    let by = principal(*scope);
    let set = async |limits: Limits| {
        store
            .change(scope.project, &by, Change::SetLimits(limits), 5)
            .await
            .expect("sets")
            .affected
    };
    let daily = Limits {
        messages_per_day: Some(5),
        ..Limits::default()
    };
    assert_eq!((set(daily).await, set(daily).await), (1, 0));
    assert_eq!(store.limits(scope.project).await.expect("reads"), Some(daily));
    let outcome = &store
        .ingest(vec![upload(*scope, 1, 1, 8, HOUR)])
        .await
        .expect("commits")[0];
    assert_eq!(outcome.upto, 8, "what is refused is accounted for");
    let refused: Vec<_> = outcome
        .refused
        .iter()
        .map(|refuse| (refuse.seq, refuse.reason.as_str()))
        .collect();
    let reason = "project has reached its limit of 5 messages a day";
    assert_eq!(refused, [(6, reason), (7, reason), (8, reason)]);
    let gap = outcome.stored.last().expect("a gap").payload.get().to_owned();
    assert!(
        gap.contains(r#""from":6,"to":8,"count":3"#),
        "one gap for all of them: {gap}"
    );
    let again = &store
        .ingest(vec![upload(*scope, 1, 1, 5, HOUR)])
        .await
        .expect("commits")[0];
    assert!(
        again.refused.is_empty(),
        "what was stored is not refused when it comes again"
    );
    let tomorrow = &store
        .ingest(vec![upload(*scope, 1, 9, 2, 25 * HOUR)])
        .await
        .expect("commits")[0];
    assert!(tomorrow.refused.is_empty() && tomorrow.stored.len() == 2);

    let used = store.usage(scope.project, HOUR).await.expect("reads").bytes;
    set(Limits {
        bytes: Some(used + 4),
        ..Limits::default()
    })
    .await;
    let outcome = &store
        .ingest(vec![upload(*scope, 1, 11, 3, 26 * HOUR)])
        .await
        .expect("commits")[0];
    assert_eq!(
        (outcome.stored.len(), outcome.refused.len()),
        (3, 1),
        "two messages and the gap"
    );
    assert!(
        outcome.refused[0].reason.contains("bytes of messages"),
        "{}",
        outcome.refused[0].reason
    );
    let missing = store
        .change(super::stranger(), &by, Change::SetLimits(daily), 5)
        .await;
    assert!(matches!(missing, Err(StoreError::Missing { .. })));
    assert_eq!(store.limits(super::stranger()).await.expect("reads"), None);
}

pub(crate) async fn the_oldest_messages_go_when_bytes_are_over(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    for hour in 0..10u64 {
        let first = 100 + hour * 10;
        store
            .ingest(vec![upload(
                *scope,
                hour as u8 + 1,
                first,
                10,
                hour as UnixMs * HOUR,
            )])
            .await
            .expect("commits");
    }
    let before = store.usage(scope.project, 0).await.expect("reads");
    let kept = Limits {
        retention_bytes: Some(90),
        ..Limits::default()
    };
    store
        .change(scope.project, &principal(*scope), Change::SetLimits(kept), 5)
        .await
        .expect("sets");
    housekeeping::retain(store.as_ref(), 20 * HOUR)
        .await
        .expect("deletes");
    let after = store.usage(scope.project, 0).await.expect("reads");
    assert!(
        before.bytes == 300 && after.bytes <= 90 && after.bytes > 50,
        "{before:?} {after:?}"
    );
    let left = store
        .scan(*scope, ScanBounds::default(), 1_000)
        .await
        .expect("reads");
    assert_eq!(left.len() as u64, after.messages);
    assert!(
        left.iter().all(|message| message.timestamp >= 6 * HOUR),
        "the newest are left"
    );
    housekeeping::retain(store.as_ref(), 20 * HOUR)
        .await
        .expect("looks");
    assert_eq!(
        store.usage(scope.project, 0).await.expect("reads"),
        after,
        "enough is enough"
    );
    assert_eq!(
        store
            .stream_upto(*scope, StreamId::from_bytes([1; 16]))
            .await
            .expect("reads"),
        0
    );
}

pub(crate) async fn a_replaced_board_gets_a_code_of_its_own(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    let by = principal(*scope);
    let replace = async |code: &str| {
        let change = Change::ReplaceDevice {
            device: scope.device,
            code: code.to_owned().into(),
            expires: 99,
        };
        store.change(scope.project, &by, change, 7).await
    };
    replace(&"a".repeat(32)).await.expect("replaces");
    replace(&"b".repeat(32)).await.expect("replaces");
    let pair_codes = store.pair_codes(scope.project).await.expect("reads");
    assert_eq!(
        (
            pair_codes.len(),
            pair_codes[0].code.as_str(),
            pair_codes[0].device
        ),
        (1, "b".repeat(32).as_str(), scope.device)
    );
    assert_eq!(
        store.audit(scope.project, None, 1).await.expect("reads")[0].action,
        "device.replace"
    );
}
