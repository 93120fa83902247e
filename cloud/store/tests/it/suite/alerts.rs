//! Alerts: raised once however often, from messages and over time, over another process, with their entries, deliveries and
//! mails.

use iottly_core::alerts::{Effect, Span};
use iottly_core::ingest::{Entry, Upload, UploadBody, Write};
use iottly_core::model::{
    Absence, AlertFilter, AlertId, AlertRule, AlertRuleId, AlertSubject, AlertTarget, Change, Condition,
    LONGEST_MS, MAX_ALERT_RULES, MAX_MAILS_PER_HOUR, MailKind, MailResult, MailState, NO_DEVICE, NewMail,
    Scope, UnixMs,
};
use iottly_protocol::{MessageKind, StreamId};
use iottly_store::{ScanBounds, Store, StoreError};
use serde_json::json;
use serde_json::value::to_raw_value;

use super::{Setup, principal};

pub(super) async fn rule(
    setup: &Setup,
    name: &str,
    condition: Condition,
    target: AlertTarget,
) -> AlertRuleId {
    let rule = AlertRule {
        id: AlertRuleId::random(),
        project: setup.scope.project,
        name: name.into(),
        condition,
        target,
        mails: vec!["a@example.org".into(), "b@example.org".into()],
        muted_until: None,
        created: 1,
        unexamined: 0,
    };
    let id = rule.id;
    change(setup, Change::CreateAlertRule(Box::new(rule)), 1)
        .await
        .expect("added");
    id
}

async fn change(setup: &Setup, change: Change, now: UnixMs) -> iottly_store::Result<u64> {
    let by = principal(setup.scope);
    let changed = setup.store.change(setup.scope.project, &by, change, now).await?;
    Ok(changed.affected)
}

/// Stores messages of the firmware; `first` is the number of the first.
pub(super) async fn send(setup: &Setup, first: u64, payloads: &[serde_json::Value], now: UnixMs) -> usize {
    let messages: Vec<_> = payloads.iter().map(|payload| (7, payload.clone())).collect();
    send_made_at(setup, first, &messages, now).await
}

/// Does the same with the time at which each was made.
pub(super) async fn send_made_at(
    setup: &Setup,
    first: u64,
    messages: &[(i64, serde_json::Value)],
    now: UnixMs,
) -> usize {
    let records = messages
        .iter()
        .map(|(at, payload)| Ok(record(MessageKind::UserDefined, *at, payload)));
    let upload = Upload {
        scope: setup.scope,
        stream: StreamId::from_bytes([1; 16]),
        received: now,
        body: UploadBody::Records {
            first,
            records: records.collect(),
        },
    };
    let outcomes = setup
        .store
        .commit(vec![Write::Upload(upload)])
        .await
        .expect("stored");
    outcomes[0].stored.len()
}

pub(super) fn record(kind: MessageKind, at: i64, payload: &serde_json::Value) -> Entry {
    Entry::Message {
        kind,
        at,
        channel: None,
        payload: to_raw_value(payload).expect("json"),
        firmware: None,
    }
}

pub(super) async fn states(store: &dyn Store, scope: Scope) -> Vec<(bool, AlertSubject)> {
    let alerts = store
        .alerts(scope.project, AlertFilter::default(), 100)
        .await
        .expect("reads");
    alerts
        .iter()
        .map(|alert| (alert.cleared.is_none(), alert.subject))
        .collect()
}

pub(super) fn hot() -> Condition {
    Condition::Value {
        filter: r#"{"payload.temp":{"$gt":30}}"#.into(),
        clear: Some(r#"{"payload.temp":{"$lt":25}}"#.into()),
    }
}

pub(crate) async fn a_value_raises_once_and_clears_once(setup: Setup) {
    let (store, scope) = (setup.store.as_ref(), setup.scope);
    rule(&setup, "hot", hot(), AlertTarget::Project).await;
    assert_eq!(send(&setup, 1, &[json!({"temp": 20})], 10).await, 1);
    assert_eq!(
        send(&setup, 2, &[json!({"temp": 31})], 20).await,
        2,
        "and an entry"
    );
    assert_eq!(
        send(&setup, 3, &[json!({"temp": 32})], 30).await,
        1,
        "raised already"
    );
    assert_eq!(
        send(&setup, 3, &[json!({"temp": 32})], 31).await,
        0,
        "a repeated record"
    );
    // Another process has another cache.
    let other = setup.another().await;
    assert_eq!(
        states(other.as_ref(), scope).await,
        [(true, AlertSubject::Device(scope.device))]
    );
    assert_eq!(send(&setup, 4, &[json!({"temp": 27})], 40).await, 1);
    assert_eq!(
        send(&setup, 5, &[json!({"temp": 24})], 50).await,
        2,
        "the end is an entry"
    );
    assert_eq!(
        states(store, scope).await,
        [(false, AlertSubject::Device(scope.device))]
    );
    let history = store
        .scan(scope, ScanBounds::default(), 100)
        .await
        .expect("reads");
    let entries: Vec<_> = history
        .iter()
        .filter(|entry| entry.payload.get().starts_with(r#"{"alert""#))
        .collect();
    assert_eq!(entries.len(), 2);
    assert!(entries[1].payload.get().contains(r#""state":"raised""#));
    assert_eq!(entries[1].kind, MessageKind::IottlyAgent);
    // Two recipients each.
    let mails = store.claim_alert_mails(100, 1000, 100).await.expect("claimed");
    assert_eq!(mails.len(), 4);
    assert!(
        store
            .claim_alert_mails(100, 1000, 100)
            .await
            .expect("reads")
            .is_empty()
    );
    let retry = MailResult::Retry {
        due: 150,
        reason: "451 busy".into(),
    };
    let refused = MailResult::Refused {
        reason: "550 no such user".into(),
    };
    for (mail, result) in mails.iter().zip([MailResult::Sent, retry, refused]) {
        store
            .settle_alert_mail(mail, &result, 120)
            .await
            .expect("settled");
    }
    let again = store.claim_alert_mails(200, 1000, 100).await.expect("claimed");
    assert_eq!((again.len(), again[0].attempt), (1, 1));
    let shown = store.alert_mails(scope.project, 10).await.expect("reads");
    let with = |state| {
        shown
            .iter()
            .filter(|mail| mail.state == state)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (
            with(MailState::Queued).len(),
            with(MailState::Sent).len(),
            with(MailState::Refused).len()
        ),
        (2, 1, 1)
    );
    assert_eq!(
        with(MailState::Refused)[0].reason.as_deref(),
        Some("550 no such user")
    );
    assert_eq!(with(MailState::Refused)[0].ended, Some(120));
    assert_eq!(with(MailState::Sent)[0].reason, None);
    // A process that ends gives back what it had taken.
    assert!(
        store
            .claim_alert_mails(300, 2000, 100)
            .await
            .expect("claimed")
            .is_empty()
    );
    assert_eq!(store.release_alert_mails(300).await.expect("released"), 2);
    assert_eq!(
        store
            .claim_alert_mails(300, 2000, 100)
            .await
            .expect("claimed")
            .len(),
        2
    );
    // What has ended is forgotten, what waits for too long is refused.
    store.release_alert_mails(300).await.expect("released");
    assert_eq!(store.tidy_alerts(400, (10, 121), 100).await.expect("tidied"), 2);
    assert_eq!(store.tidy_alerts(400, (350, 121), 100).await.expect("tidied"), 2);
    let left = store.alert_mails(scope.project, 10).await.expect("reads");
    assert!(
        left.iter().all(|mail| mail.state == MailState::Refused),
        "{left:?}"
    );
    assert_eq!(left.len(), 2);
}

pub(crate) async fn test_mails_are_of_the_allowance_and_the_times_of_a_cloud_are_kept(setup: Setup) {
    let (store, scope) = (setup.store.as_ref(), setup.scope);
    let mail = |queued| {
        Change::TestMail(Box::new(NewMail {
            project: scope.project,
            alert: AlertId::random(),
            kind: MailKind::Test,
            recipient: "a@example.org".into(),
            subject: "s".into(),
            text: "t".into(),
            queued,
            attempt: 0,
        }))
    };
    for n in 0..MAX_MAILS_PER_HOUR {
        change(&setup, mail(n), n).await.expect("queued");
    }
    let full = change(&setup, mail(200), 200).await;
    assert!(matches!(full, Err(StoreError::Full { .. })), "{full:?}");
    assert_eq!(
        store
            .alert_mails_in_hour(scope.project, 200)
            .await
            .expect("reads"),
        MAX_MAILS_PER_HOUR
    );
    change(&setup, mail(3_600_000), 3_600_000)
        .await
        .expect("another hour");
    let claimed = store.claim_alert_mails(5, 1000, 3).await.expect("claimed");
    assert_eq!(
        claimed.iter().map(|mail| mail.queued).collect::<Vec<_>>(),
        [0, 1, 2],
        "in their order"
    );

    for (process, now) in [([1; 16], 10), ([1; 16], 50), ([2; 16], 100), ([2; 16], 110)] {
        store.look_at_alerts(process, now).await.expect("noted");
    }
    let looks = async || store.alert_looks().await.expect("reads");
    assert_eq!(
        looks().await,
        [Span { from: 100, to: 110 }, Span { from: 10, to: 50 }]
    );
    store
        .tidy_alerts(LONGEST_MS + 51, (0, 0), 10)
        .await
        .expect("tidied");
    assert_eq!(looks().await, [Span { from: 100, to: 110 }]);
}

pub(crate) async fn a_rule_of_a_group_watches_its_devices_only(setup: Setup) {
    let group = iottly_protocol::GroupId::from_bytes([9; 16]);
    setup
        .store
        .create_group(setup.scope.project, group, "others", None)
        .await
        .expect("created");
    rule(&setup, "hot", hot(), AlertTarget::Group(group)).await;
    assert_eq!(send(&setup, 1, &[json!({"temp": 31})], 10).await, 1);
    let mine = iottly_protocol::GroupId::from_bytes([1; 16]);
    rule(&setup, "hot here", hot(), AlertTarget::Group(mine)).await;
    assert_eq!(send(&setup, 2, &[json!({"temp": 31})], 20).await, 2);
}

pub(crate) async fn effects_of_several_processes_raise_one_alert(setup: Setup) {
    let scope = setup.scope;
    let id = rule(&setup, "away", Condition::Offline(1000), AlertTarget::Project).await;
    let raise = || {
        vec![Effect::Raise {
            rule: id,
            subject: AlertSubject::Device(scope.device),
            detail: "offline".into(),
        }]
    };
    let other = setup.another().await;
    let (a, b) = tokio::join!(
        setup.store.apply_alerts(scope.project, raise(), 10),
        other.apply_alerts(scope.project, raise(), 10)
    );
    let entries = a.expect("applied").len() + b.expect("applied").len();
    assert_eq!(entries, 1, "one of them raises");
    assert_eq!(
        setup
            .store
            .raised_alerts(scope.project)
            .await
            .expect("reads")
            .len(),
        1
    );
    let clear = vec![Effect::Clear {
        rule: id,
        subject: AlertSubject::Device(scope.device),
    }];
    for entries in [1, 0] {
        let cleared = setup.store.apply_alerts(scope.project, clear.clone(), 20).await;
        assert_eq!(cleared.expect("applied").len(), entries);
    }
}

pub(crate) async fn mutes_are_silent_and_a_removed_rule_clears(setup: Setup) {
    let (store, scope) = (setup.store.as_ref(), setup.scope);
    let id = rule(&setup, "away", Condition::Offline(1000), AlertTarget::Project).await;
    change(&setup, Change::MuteAlertRule(id, Some(100)), 1)
        .await
        .expect("mute");
    let raise = |subject| {
        vec![Effect::Raise {
            rule: id,
            subject,
            detail: "offline".into(),
        }]
    };
    let device = AlertSubject::Device(scope.device);
    let entries = store.apply_alerts(scope.project, raise(device), 50).await;
    assert!(entries.expect("applied").is_empty());
    assert!(
        store
            .claim_alert_mails(100, 1000, 100)
            .await
            .expect("reads")
            .is_empty()
    );
    let own = store
        .apply_alerts(scope.project, raise(AlertSubject::Project), 200)
        .await;
    assert_eq!(own.expect("applied")[0].scope.device, NO_DEVICE);
    let alerts = store
        .alerts(scope.project, AlertFilter::default(), 10)
        .await
        .expect("reads");
    change(&setup, Change::MuteAlert(alerts[0].id, Some(1000)), 200)
        .await
        .expect("mute");
    let clear = vec![Effect::Clear {
        rule: id,
        subject: AlertSubject::Project,
    }];
    let entries = store.apply_alerts(scope.project, clear, 300).await;
    assert!(entries.expect("applied").is_empty());
    change(&setup, Change::DeleteAlertRule(id), 400)
        .await
        .expect("removed");
    assert!(
        store
            .raised_alerts(scope.project)
            .await
            .expect("reads")
            .is_empty()
    );
    let gone = change(&setup, Change::MuteAlert(alerts[0].id, None), 400).await;
    assert!(matches!(gone, Err(StoreError::Missing { .. })), "{gone:?}");
}

pub(crate) async fn alerts_are_bounded_and_leave_with_their_project(setup: Setup) {
    let (store, scope) = (setup.store.as_ref(), setup.scope);
    let mut ids = Vec::new();
    for n in 0..MAX_ALERT_RULES {
        ids.push(
            rule(
                &setup,
                &format!("rule {n}"),
                Condition::Offline(1000),
                AlertTarget::Project,
            )
            .await,
        );
    }
    let rules = store.alert_rules(scope.project).await.expect("reads");
    let more = AlertRule {
        id: AlertRuleId::random(),
        ..rules[0].clone()
    };
    let full = change(&setup, Change::CreateAlertRule(Box::new(more)), 1).await;
    assert!(matches!(full, Err(StoreError::Full { .. })), "{full:?}");
    let effects: Vec<_> = ids
        .iter()
        .map(|id| Effect::Raise {
            rule: *id,
            subject: AlertSubject::Project,
            detail: "d".into(),
        })
        .collect();
    store
        .apply_alerts(scope.project, effects, 10)
        .await
        .expect("raised");
    let mails = store.claim_alert_mails(100, 1000, 10_000).await.expect("claimed");
    assert_eq!(mails.len() as i64, MAX_MAILS_PER_HOUR, "of twice as many");
    change(&setup, Change::DeleteProject, 20).await.expect("deleted");
    while store.erase_step(100_000, 100).await.expect("erases") {}
    let own = Scope {
        device: NO_DEVICE,
        ..scope
    };
    let left = store.scan(own, ScanBounds::default(), 10).await.expect("reads");
    assert!(left.is_empty());
    assert!(states(store, scope).await.is_empty());
}

pub(crate) async fn a_planned_absence_is_kept_and_found_at_its_end(setup: Setup) {
    let (store, scope) = (setup.store.as_ref(), setup.scope);
    let planned = Absence {
        from: 10,
        until: 100,
        reason: "moved".into(),
    };
    let set = Change::SetAbsence(scope.device, Some(Box::new(planned.clone())));
    change(&setup, set, 1).await.expect("planned");
    let device = store.device(scope).await.expect("reads").expect("a device");
    assert_eq!(device.absence, Some(planned.clone()));
    let facts = store.alert_facts(scope.project).await.expect("reads");
    assert_eq!(facts[0].absence, Some(planned));
    assert_eq!(store.absences_ended(99, 100, 10).await.expect("reads"), [scope]);
    assert!(
        store
            .absences_ended(100, 200, 10)
            .await
            .expect("reads")
            .is_empty()
    );
    change(&setup, Change::SetAbsence(scope.device, None), 2)
        .await
        .expect("ended");
    assert_eq!(
        store
            .device(scope)
            .await
            .expect("reads")
            .expect("a device")
            .absence,
        None
    );
    send(&setup, 1, &[json!(1), json!(2)], 40).await;
    assert_eq!(store.sent_times(scope, 10).await.expect("reads").len(), 2);
}
