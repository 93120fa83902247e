//! Alerts under load: old and fresh messages together, filters that take too many steps, more alerts than a project has.

use iottly_core::alerts::Effect;
use iottly_core::ingest::{Upload, UploadBody, Write};
use iottly_core::model::{AlertSubject, AlertTarget, Condition, MAX_OPEN_ALERTS};
use iottly_protocol::{DeviceId, GroupId, MessageKind, StreamId};
use iottly_store::ScanBounds;
use serde_json::json;

use super::Setup;
use super::alerts::{hot, record, rule, send, send_made_at, states};

pub(crate) async fn old_and_fresh_messages_in_one_commit_raise_and_clear(setup: Setup) {
    let (store, scope) = (setup.store.as_ref(), setup.scope);
    rule(&setup, "late", Condition::QueueAge(60_000), AlertTarget::Project).await;
    rule(&setup, "hot", hot(), AlertTarget::Project).await;
    let now = 1_000_000;
    let messages = [
        (now - 600_000, json!({"temp": 40})),
        (now - 1, json!({"temp": 20})),
    ];
    assert_eq!(
        send_made_at(&setup, 1, &messages, now).await,
        2 + 4,
        "a raise and an end of both rules"
    );
    let device = AlertSubject::Device(scope.device);
    assert_eq!(states(store, scope).await, [(false, device), (false, device)]);
    let history = store.scan(scope, ScanBounds::default(), 4).await.expect("reads");
    let of = |state: &str| {
        let text = format!(r#""state":"{state}""#);
        history
            .iter()
            .filter(|entry| entry.payload.get().contains(&text))
            .count()
    };
    assert_eq!((of("raised"), of("cleared")), (2, 2));
    // Two recipients each.
    let mails = store.claim_alert_mails(now, now + 1, 100).await.expect("claimed");
    assert_eq!(mails.len(), 8);
    // The other way round the alerts stay, and what is fresh alone says nothing.
    let messages = [(now, json!({"temp": 20})), (now - 600_000, json!({"temp": 40}))];
    assert_eq!(send_made_at(&setup, 3, &messages, now + 1).await, 2 + 2);
    assert_eq!(
        states(store, scope)
            .await
            .iter()
            .filter(|(open, _)| *open)
            .count(),
        2
    );
    assert_eq!(
        send_made_at(&setup, 5, &[(now, json!({"temp": 20}))], now + 2).await,
        1 + 2
    );
    assert_eq!(
        send_made_at(&setup, 6, &[(now, json!({"temp": 20}))], now + 3).await,
        1
    );
}

pub(crate) async fn messages_that_a_rule_was_not_applied_to_are_counted(setup: Setup) {
    let (store, scope) = (setup.store.as_ref(), setup.scope);
    let id = rule(&setup, "hot", hot(), AlertTarget::Project).await;
    let other = GroupId::from_bytes([9; 16]);
    store
        .create_group(scope.project, other, "others", None)
        .await
        .expect("created");
    let foreign = rule(&setup, "others", hot(), AlertTarget::Group(other)).await;
    let large = json!({"temp": 40, "text": "x".repeat(90_000)});
    let sent = [large.clone(), large.clone(), large.clone(), large];
    assert_eq!(send(&setup, 1, &sent, 10).await, 5, "the first one raises");
    let counts = async || {
        let rules = store.alert_rules(scope.project).await.expect("reads");
        let of = |id| {
            rules
                .iter()
                .find(|rule| rule.id == id)
                .map(|rule| rule.unexamined)
        };
        (of(id), of(foreign))
    };
    let (mine, theirs) = counts().await;
    assert!(mine.is_some_and(|count| (1..=3).contains(&count)), "{mine:?}");
    assert_eq!(theirs, Some(0), "the device is not in the group");
    assert_eq!(send(&setup, 5, &[json!({"temp": 40})], 20).await, 1);
    assert_eq!(counts().await, (mine, theirs));
}

pub(crate) async fn devices_leave_room_for_alerts_about_the_cloud(setup: Setup) {
    let (store, scope) = (setup.store.as_ref(), setup.scope);
    let id = rule(&setup, "away", Condition::Offline(1000), AlertTarget::Project).await;
    let raise = |subject| Effect::Raise {
        rule: id,
        subject,
        detail: "d".into(),
    };
    let device = |n: i64| {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        AlertSubject::Device(DeviceId::from_bytes(id))
    };
    let effects = (1..=MAX_OPEN_ALERTS + 5).map(|n| raise(device(n)));
    store
        .apply_alerts(scope.project, effects.collect(), 10)
        .await
        .expect("applied");
    let count = async || store.raised_count(scope.project).await.expect("reads");
    assert_eq!(count().await, MAX_OPEN_ALERTS.unsigned_abs());
    assert_eq!(send(&setup, 1, &[json!({"temp": 40})], 20).await, 1);
    store
        .apply_alerts(scope.project, vec![raise(AlertSubject::Project)], 20)
        .await
        .expect("applied");
    assert_eq!(count().await, MAX_OPEN_ALERTS.unsigned_abs() + 1);
    let clear = |subject| Effect::Clear { rule: id, subject };
    let effects = vec![
        clear(device(1)),
        clear(device(2)),
        raise(device(1)),
        raise(device(2)),
    ];
    store
        .apply_alerts(scope.project, effects, 30)
        .await
        .expect("applied");
    assert_eq!(
        count().await,
        MAX_OPEN_ALERTS.unsigned_abs(),
        "what clears makes room in the same transaction"
    );
}

pub(crate) async fn the_last_message_is_known_however_much_the_agent_has_sent_since(setup: Setup) {
    let (store, scope) = (setup.store.as_ref(), setup.scope);
    assert_eq!(store.last_sent(scope).await.expect("reads"), None);
    send(&setup, 1, &[json!(1)], 40).await;
    let entries = (0..100).map(|n| Ok(record(MessageKind::IottlyAgent, 50, &json!({"n": n}))));
    let upload = Upload {
        scope,
        stream: StreamId::from_bytes([1; 16]),
        received: 50,
        body: UploadBody::Records {
            first: 2,
            records: entries.collect(),
        },
    };
    store.commit(vec![Write::Upload(upload)]).await.expect("stored");
    assert!(store.sent_times(scope, 64).await.expect("reads").is_empty());
    let other = setup.another().await;
    assert_eq!(other.last_sent(scope).await.expect("reads"), Some(40));
}
