use iottly_protocol::{MessageKind, ProjectId, StreamId};
use serde_json::json;
use serde_json::value::to_raw_value;

use super::*;
use crate::alerts::{Observations, RuleSet, Senders, Span};
use crate::model::{MessageId, Scope, StoredMessage};

const PROJECT: ProjectId = ProjectId::from_bytes([1; 12]);
const GROUP: GroupId = GroupId::from_bytes([2; 16]);
const DEVICE: DeviceId = DeviceId::from_bytes([3; 16]);
const MINUTE: UnixMs = 60_000;

fn rule(n: u8, condition: Condition, target: AlertTarget) -> AlertRule {
    AlertRule {
        id: AlertRuleId::from_bytes([n; 16]),
        project: PROJECT,
        name: format!("rule {n}"),
        condition,
        target,
        mails: Vec::new(),
        muted_until: None,
        created: 0,
        unexamined: 0,
    }
}

fn off(changed: UnixMs) -> DeviceFacts {
    DeviceFacts {
        device: DEVICE,
        group: GROUP,
        online: false,
        changed: Some(changed),
        absence: None,
        sent: Some(0),
        expected: false,
    }
}

/// Carries effects out as the store does: one raised alert for each rule and subject.
fn carry_out(raised: &mut Vec<Raised>, effects: &[Effect], now: UnixMs) -> usize {
    let mut new = 0;
    for effect in effects {
        match effect {
            Effect::Raise { rule, subject, .. } => {
                let known = raised
                    .iter_mut()
                    .find(|open| (open.rule, open.subject) == (*rule, *subject));
                match known {
                    Some(open) => open.seen = now,
                    None => {
                        new += 1;
                        raised.push(Raised {
                            id: AlertId::random(),
                            rule: *rule,
                            subject: *subject,
                            seen: now,
                        });
                    }
                }
            }
            Effect::Clear { rule, subject } => {
                raised.retain(|open| (open.rule, open.subject) != (*rule, *subject));
            }
        }
    }
    new
}

#[test]
fn a_device_that_stays_offline_raises_one_alert_however_often_it_is_looked_at() {
    let rules = [rule(1, Condition::Offline(MINUTE), AlertTarget::Project)];
    let (mut raised, mut count) = (Vec::new(), 0);
    for now in (0..10 * MINUTE).step_by(2000) {
        let known = Known {
            rules: &rules,
            raised: &raised,
            uptime: &Uptime::default(),
        };
        let effects = known.handle(&Event::Devices(&[off(1000)]), now);
        assert!(effects.is_empty() || now >= 1000 + MINUTE, "{now}");
        count += carry_out(&mut raised, &effects, now);
    }
    assert_eq!((count, raised.len()), (1, 1));
    let known = Known {
        rules: &rules,
        raised: &raised,
        uptime: &Uptime::default(),
    };
    let on = DeviceFacts {
        online: true,
        ..off(2 * MINUTE)
    };
    let effects = known.handle(&Event::Devices(&[on]), 11 * MINUTE);
    carry_out(&mut raised, &effects, 11 * MINUTE);
    assert!(raised.is_empty());
}

#[test]
fn absence_deletion_and_a_move_clear_and_a_new_device_raises_nothing() {
    let rules = [rule(1, Condition::Offline(MINUTE), AlertTarget::Group(GROUP))];
    let open = [Raised {
        id: AlertId::from_bytes([9; 16]),
        rule: rules[0].id,
        subject: AlertSubject::Device(DEVICE),
        seen: 0,
    }];
    let known = Known {
        rules: &rules,
        raised: &open,
        uptime: &Uptime::default(),
    };
    let clears = vec![Effect::Clear {
        rule: rules[0].id,
        subject: AlertSubject::Device(DEVICE),
    }];
    let now = 100 * MINUTE;
    let planned = DeviceFacts {
        absence: Some(Absence {
            from: 0,
            until: now + 1,
            reason: "r".into(),
        }),
        ..off(0)
    };
    let moved = DeviceFacts {
        group: GroupId::from_bytes([7; 16]),
        ..off(0)
    };
    for devices in [vec![planned], vec![moved], Vec::new()] {
        assert_eq!(
            known.handle(&Event::Devices(&devices), now),
            clears,
            "{devices:?}"
        );
    }
    assert!(known.handle(&Event::Devices(&[off(0)]), now).is_empty());
    let fresh = DeviceFacts {
        changed: None,
        sent: None,
        ..off(0)
    };
    let none = Known {
        rules: &rules,
        raised: &[],
        uptime: &Uptime::default(),
    };
    assert!(none.handle(&Event::Devices(&[fresh]), now).is_empty());
}

#[test]
fn a_device_without_data_a_halted_rollout_and_an_old_certificate_raise() {
    let rules = [
        rule(1, Condition::NoData(MINUTE), AlertTarget::Device(DEVICE)),
        rule(2, Condition::RolloutHalted, AlertTarget::Project),
        rule(3, Condition::Certificate(5 * MINUTE), AlertTarget::Project),
    ];
    let known = Known {
        rules: &rules,
        raised: &[],
        uptime: &Uptime::default(),
    };
    let silent = DeviceFacts {
        online: true,
        ..off(0)
    };
    assert_eq!(
        known.handle(&Event::Devices(std::slice::from_ref(&silent)), MINUTE - 1),
        []
    );
    assert_eq!(known.handle(&Event::Devices(&[silent]), MINUTE).len(), 1);
    assert_eq!(known.handle(&Event::Halted(&[GROUP]), 0).len(), 1);
    assert_eq!(known.handle(&Event::Halted(&[]), 0), []);
    assert_eq!(known.handle(&Event::Certificate(10 * MINUTE), 5 * MINUTE), []);
    let near = known.handle(&Event::Certificate(10 * MINUTE), 5 * MINUTE + 1);
    assert!(
        matches!(
            &near[..],
            [Effect::Raise {
                subject: AlertSubject::Project,
                ..
            }]
        ),
        "{near:?}"
    );
}

#[test]
fn an_alert_about_messages_clears_after_a_quiet_time() {
    let rules = [rule(1, Condition::Trap, AlertTarget::Project)];
    let open = [Raised {
        id: AlertId::from_bytes([9; 16]),
        rule: rules[0].id,
        subject: AlertSubject::Device(DEVICE),
        seen: MINUTE,
    }];
    let known = Known {
        rules: &rules,
        raised: &open,
        uptime: &Uptime::default(),
    };
    assert_eq!(known.handle(&Event::Tick, MINUTE + QUIET_MS - 1), []);
    assert_eq!(known.handle(&Event::Tick, MINUTE + QUIET_MS).len(), 1);
}

fn message(kind: MessageKind, payload: &serde_json::Value, origin: bool) -> StoredMessage {
    StoredMessage {
        id: MessageId([0; 12]),
        scope: Scope {
            project: PROJECT,
            device: DEVICE,
        },
        kind,
        timestamp: 100_000,
        device_timestamp: 40_000,
        channel: None,
        payload: to_raw_value(payload).expect("json"),
        origin: origin.then(|| (StreamId::from_bytes([1; 16]), 1)),
        firmware: None,
    }
}

/// Numbers of the rules that a message raises, and of those that it clears.
fn told(rules: &[AlertRule], message: &StoredMessage) -> (Vec<u8>, Vec<u8>) {
    let effects = observed(rules, &[message], &mut RuleSet::budget()).effects();
    let number = |effect: &Effect| {
        let (Effect::Raise { rule, .. } | Effect::Clear { rule, .. }) = effect;
        rule.as_bytes()[0]
    };
    let (raised, cleared): (Vec<_>, Vec<_>) = effects
        .iter()
        .partition(|effect| matches!(effect, Effect::Raise { .. }));
    (
        raised.into_iter().map(number).collect(),
        cleared.into_iter().map(number).collect(),
    )
}

fn observed(rules: &[AlertRule], messages: &[&StoredMessage], steps: &mut u64) -> Observations {
    let (set, mut observations) = (RuleSet::new(rules), Observations::default());
    for message in messages {
        set.observe(message, &Senders::new(), steps, &mut observations);
    }
    observations
}

#[test]
fn a_raise_and_a_clear_of_one_transaction_are_both_carried_out() {
    let condition = Condition::QueueAge(MINUTE / 2);
    let rules = [rule(1, condition, AlertTarget::Project)];
    let old = message(MessageKind::UserDefined, &json!(1), true);
    let fresh = StoredMessage {
        device_timestamp: old.timestamp,
        ..old.clone()
    };
    let effects = |messages: &[&StoredMessage]| {
        let effects = observed(&rules, messages, &mut RuleSet::budget()).effects();
        effects
            .iter()
            .map(|effect| matches!(effect, Effect::Raise { .. }))
            .collect::<Vec<_>>()
    };
    assert_eq!(effects(&[&old, &old, &fresh, &fresh]), [true, false]);
    assert_eq!(effects(&[&fresh, &old]), [true]);
    assert_eq!(effects(&[&old, &fresh, &old]), [true]);
    assert_eq!(effects(&[&fresh]), [false]);
    let mut quiet = observed(&rules, &[&fresh], &mut RuleSet::budget());
    quiet.retain(|_, _, seen| seen.matters(false));
    assert!(quiet.is_empty(), "nothing to clear");
}

#[test]
fn clears_make_room_and_devices_keep_no_other_alert_away() {
    let raise = |subject| Effect::Raise {
        rule: AlertRuleId::from_bytes([1; 16]),
        subject,
        detail: String::new(),
    };
    let clear = Effect::Clear {
        rule: AlertRuleId::from_bytes([1; 16]),
        subject: AlertSubject::Device(DEVICE),
    };
    let most = usize::try_from(MAX_OPEN_ALERTS).expect("small");
    let mut effects: Vec<_> = (0..most + 5)
        .map(|_| raise(AlertSubject::Device(DEVICE)))
        .collect();
    effects.extend([raise(AlertSubject::Project), clear.clone()]);
    let (ordered, refused) = in_order(effects.clone(), 11);
    assert_eq!(ordered[0], clear);
    assert_eq!(ordered[1], raise(AlertSubject::Project));
    assert_eq!((ordered.len(), refused), (most - 9, 16));
    let (ordered, refused) = in_order(effects, most + 1);
    assert_eq!(ordered, [clear, raise(AlertSubject::Project)]);
    assert_eq!(refused, most + 5);
}

#[test]
fn messages_are_looked_at_by_the_rules_about_them() {
    let value = |filter: &str, clear: Option<&str>| Condition::Value {
        filter: filter.into(),
        clear: clear.map(Into::into),
    };
    let rules = [
        rule(1, Condition::Gap, AlertTarget::Project),
        rule(2, Condition::Trap, AlertTarget::Project),
        rule(3, Condition::QueueAge(MINUTE / 2), AlertTarget::Project),
        rule(
            4,
            value(
                r#"{"payload.temp":{"$gt":30}}"#,
                Some(r#"{"payload.temp":{"$lt":25}}"#),
            ),
            AlertTarget::Project,
        ),
        rule(
            5,
            value(r#"{"payload.temp":{"$gt":30}}"#, None),
            AlertTarget::Project,
        ),
        rule(
            6,
            Condition::Gap,
            AlertTarget::Device(DeviceId::from_bytes([8; 16])),
        ),
        rule(7, Condition::QueueAge(10 * MINUTE), AlertTarget::Project),
    ];
    let user = |payload| message(MessageKind::UserDefined, &payload, true);
    assert_eq!(told(&rules, &user(json!({"temp": 31}))), (vec![3, 4, 5], vec![7]));
    assert_eq!(told(&rules, &user(json!({"temp": 27}))), (vec![3], vec![7]));
    assert_eq!(told(&rules, &user(json!({"temp": 20}))), (vec![3], vec![4, 7]));
    let gap = json!({"gap": {"from": 1, "to": 2}});
    assert_eq!(
        told(&rules, &message(MessageKind::IottlyAgent, &gap, false)).0,
        [1]
    );
    assert_eq!(
        told(&rules, &user(gap)),
        (vec![3], vec![7]),
        "firmware cannot report a gap"
    );
    let trap = json!({"process": {"name": "MainProcess", "function": "loop", "status": {"error": "trap"}, "description": "boom"}});
    assert_eq!(
        told(&rules, &message(MessageKind::IottlyAgent, &trap, true)).0,
        [2]
    );
    let started = json!({"process": {"name": "MainProcess", "status": {"started": "now"}}});
    assert_eq!(
        told(&rules, &message(MessageKind::IottlyAgent, &started, true)).0,
        [0; 0]
    );
}

#[test]
fn filters_that_take_too_long_are_stopped() {
    let condition = Condition::Value {
        filter: r#"{"payload.a":1}"#.into(),
        clear: None,
    };
    let rules = [rule(1, condition, AlertTarget::Project)];
    let long = message(MessageKind::UserDefined, &json!({"a": "x".repeat(100)}), true);
    // No step for the document; too few for the filter; enough.
    for (mut steps, unexamined, left) in [(5, 2, 5), (110, 2, 0), (300, 0, 84)] {
        let seen = observed(&rules, &[&long, &long], &mut steps);
        let counted = seen.unexamined().values().sum::<u64>();
        assert_eq!(counted, unexamined, "{steps}");
        assert!(seen.effects().is_empty());
        assert!(left == 5 || steps <= left, "{steps}");
    }
}

#[test]
fn time_without_a_cloud_raises_nothing_and_what_was_due_is_raised_at_once() {
    let rules = [
        rule(1, Condition::Offline(5 * MINUTE), AlertTarget::Project),
        rule(2, Condition::NoData(5 * MINUTE), AlertTarget::Project),
    ];
    // Down for an hour.
    let uptime = Uptime::new(vec![
        Span {
            from: 0,
            to: 10 * MINUTE,
        },
        Span {
            from: 70 * MINUTE,
            to: 70 * MINUTE,
        },
    ]);
    let known = Known {
        rules: &rules,
        raised: &[],
        uptime: &uptime,
    };
    let raises = |changed, now| {
        let facts = DeviceFacts {
            sent: Some(changed),
            ..off(changed)
        };
        known.handle(&Event::Devices(&[facts]), now).len()
    };
    assert_eq!(
        raises(8 * MINUTE, 70 * MINUTE),
        0,
        "offline for two minutes that count"
    );
    assert_eq!(raises(8 * MINUTE, 73 * MINUTE - 1), 0);
    assert_eq!(raises(8 * MINUTE, 73 * MINUTE), 2);
    assert_eq!(
        raises(4 * MINUTE, 70 * MINUTE),
        2,
        "due before the cloud went down"
    );
}

#[test]
fn a_device_that_is_expected_back_raises_and_clears_nothing() {
    let rules = [rule(1, Condition::NoData(MINUTE), AlertTarget::Project)];
    let expected = DeviceFacts {
        online: true,
        expected: true,
        ..off(0)
    };
    let open = [Raised {
        id: AlertId::from_bytes([9; 16]),
        rule: rules[0].id,
        subject: AlertSubject::Device(DEVICE),
        seen: 0,
    }];
    for raised in [&open[..], &[]] {
        let known = Known {
            rules: &rules,
            raised,
            uptime: &Uptime::default(),
        };
        let effects = known.handle(&Event::Devices(std::slice::from_ref(&expected)), 9 * MINUTE);
        assert!(effects.is_empty(), "{effects:?}");
    }
}
