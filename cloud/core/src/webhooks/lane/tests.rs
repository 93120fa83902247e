use iottly_protocol::{DeviceId, MessageKind, ProjectId};
use serde_json::value::RawValue;

use super::*;
use crate::model::{MessageId, Scope, StoredMessage, WebhookId, WebhookKey, WebhookKind, WebhookQueue};
use crate::seal::{SealKey, SealNonce, Sealed};
use crate::webhooks::guard::Guard;
use crate::webhooks::sign::Secret;
use crate::webhooks::{sealed_headers, sealed_secret};

fn lane(ordered: bool) -> Lane {
    let (seal, id) = (SealKey::new(&[1; 32]).expect("a key"), WebhookId::random());
    let hook = Webhook {
        key: WebhookKey {
            project: ProjectId::from_bytes([1; 12]),
            hook: id,
        },
        description: String::new(),
        url: "https://example.com/".into(),
        kind: WebhookKind::All,
        channel: None,
        filter: None,
        payload_only: false,
        ordered,
        enabled: true,
        reason: String::new(),
        headers: sealed_headers(&seal, id, &Vec::new(), SealNonce::new([1; 12])).expect("sealed"),
        secret: sealed_secret(&seal, id, &Secret::new([7; 32]), SealNonce::new([2; 12])).expect("sealed"),
        former: None,
        created: 0,
        changed: 0,
    };
    assert_ne!(hook.headers, Sealed(Vec::new()));
    let target = Target::open(&hook, &seal, &Guard::new(Vec::new(), false)).expect("opens");
    Lane::new(
        target,
        &WebhookState {
            hook,
            queue: WebhookQueue::default(),
        },
    )
}

fn claims(count: u8, bytes: usize) -> Vec<Claim> {
    let claim = |n: u8| {
        let (message, device) = (MessageId([n; 12]), DeviceId::from_bytes([1; 16]));
        let body = StoredMessage {
            id: message,
            scope: Scope {
                project: ProjectId::from_bytes([1; 12]),
                device,
            },
            kind: MessageKind::UserDefined,
            timestamp: 0,
            device_timestamp: 0,
            channel: None,
            payload: RawValue::from_string(format!("\"{}\"", "x".repeat(bytes))).expect("JSON"),
            origin: None,
            firmware: None,
        };
        Claim {
            message,
            device,
            timestamp: 0,
            attempts: 0,
            undecided: false,
            unread: false,
            body: Some(body),
        }
    };
    (0..count).map(claim).collect()
}

/// Starts the requests that may start; returns their number.
fn begin(lane: &mut Lane, now: UnixMs) -> usize {
    let began = std::iter::repeat_with(|| {
        let next = lane.next(now);
        lane.running += usize::from(next.is_some());
        next
    });
    began.take_while(Option::is_some).count()
}

#[test]
fn a_receiver_gets_more_once_it_has_answered() {
    let mut lane = lane(false);
    assert_eq!(lane.wanted(0), CLAIM_FIRST);
    lane.asks();
    assert_eq!(lane.wanted(0), 0, "one question at a time");
    lane.claimed(claims(100, 10), true, LEASE_MS);
    assert_eq!(begin(&mut lane, 0), PER_UNPROVEN_HOOK);
    let (effects, back) = lane.ended(Outcome::Answered(200), 0, None, 0);
    assert!(effects.is_empty() && back.is_empty());
    assert_eq!(begin(&mut lane, 0), PER_HOOK - 1);
    lane.ended(Outcome::Answered(500), 0, None, 0);
    assert_eq!(begin(&mut lane, 0), 0, "until it fails");
}

#[test]
fn claims_grow_with_a_receiver_that_keeps_up_and_shrink_with_large_messages() {
    let mut lane = lane(false);
    let mut wanted = Vec::new();
    for _ in 0..8 {
        wanted.push(lane.wanted(0));
        lane.asks();
        lane.claimed(claims(1, 100), true, LEASE_MS);
        begin(&mut lane, 0);
        lane.ended(Outcome::Answered(200), 0, None, 0);
    }
    assert_eq!(wanted, [5, 5, 10, 20, 40, 80, 160, 256]);
    lane.asks();
    lane.claimed(claims(1, 1 << 19), true, LEASE_MS);
    begin(&mut lane, 0);
    assert_eq!(lane.wanted(0), 1);
}

#[test]
fn order_means_one_at_a_time_and_nothing_behind_a_failure() {
    let mut lane = lane(true);
    lane.asks();
    lane.claimed(claims(5, 10), true, LEASE_MS);
    assert_eq!((begin(&mut lane, 0), lane.wanted(0)), (1, 0));
    lane.ended(Outcome::Answered(200), 0, None, 0);
    assert_eq!(begin(&mut lane, 0), 1);
    let (_, back) = lane.ended(Outcome::Unanswered, 0, None, 0);
    let back: Vec<_> = back.iter().map(|claim| claim.message.0[0]).collect();
    assert_eq!((back, lane.buffered()), (vec![2, 3, 4], 0));
}

#[test]
fn what_is_claimed_is_not_begun_when_its_lease_ends() {
    let mut lane = lane(false);
    lane.asks();
    lane.claimed(claims(5, 10), false, LEASE_MS);
    let late = LEASE_MS - LEASE_REST_MS + 1;
    assert_eq!((begin(&mut lane, late), lane.buffered()), (0, 0));
    assert!(lane.wanted(late) > 0, "it is claimed again");
}

#[test]
fn a_clock_that_is_set_back_stops_nothing_for_years() {
    const AHEAD: UnixMs = 10 * 365 * 24 * 3_600_000;
    let mut lane = lane(false);
    lane.asks();
    lane.claimed(claims(5, 10), true, AHEAD + LEASE_MS);
    assert_eq!(begin(&mut lane, AHEAD), PER_UNPROVEN_HOOK);
    lane.ended(Outcome::Answered(429), AHEAD, Some(AHEAD + 3_600_000), AHEAD);
    assert_eq!(lane.wanted(AHEAD + 1), 0, "the receiver asked for a pause");
    assert!(lane.wanted(0) > 0, "which is none any more");
    lane.asks();
    lane.claimed(claims(5, 10), true, LEASE_MS);
    assert!(begin(&mut lane, 0) > 0);
    lane.ended(Outcome::Answered(500), 0, None, 0);
    assert!(
        !lane.gives_up(0) && !lane.gives_up(schedule::GIVE_UP_MS - 1),
        "nothing has failed for five days"
    );
}

#[test]
fn messages_held_since_before_the_clock_was_set_back_are_claimed_again() {
    let mut lane = lane(false);
    lane.asks();
    lane.claimed(claims(5, 10), false, 10 * LEASE_MS);
    assert_eq!((begin(&mut lane, 0), lane.buffered()), (0, 0));
    assert!(lane.wanted(0) > 0);
}

#[test]
fn filters_that_cannot_be_evaluated_are_counted_in_a_row() {
    let mut lane = lane(false);
    assert!(
        !lane.evaluated(0, 9) && !lane.evaluated(1, 9),
        "one in between was decided"
    );
    assert!(lane.evaluated(0, 1));
}

#[test]
fn an_open_breaker_lets_one_probe_through() {
    let mut lane = lane(false);
    lane.asks();
    lane.claimed(claims(30, 10), true, LEASE_MS);
    let mut back = Vec::new();
    while back.is_empty() {
        begin(&mut lane, 0);
        back = lane.ended(Outcome::Answered(500), 0, None, 0).1;
    }
    while lane.running > 0 {
        lane.ended(Outcome::Answered(500), 0, None, 0);
    }
    assert_eq!((lane.wanted(29_999), lane.wanted(30_000)), (0, 1));
    lane.asks();
    lane.claimed(claims(1, 10), true, 30_000 + LEASE_MS);
    assert!(lane.next(30_000).is_some_and(|(_, probe)| probe));
    lane.running = 1;
    assert_eq!(lane.wanted(30_000), 0);
    lane.ended(Outcome::Answered(200), 30_000, None, 30_000);
    assert_eq!(
        (lane.breaker.probe_at(), lane.health().failing_since),
        (None, None)
    );
}
