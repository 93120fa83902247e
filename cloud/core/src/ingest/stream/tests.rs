use std::collections::HashMap;

use iottly_protocol::MessageKind;
use proptest::prelude::*;

use super::*;

fn entry(body: u64) -> Entry {
    Entry::Message {
        kind: MessageKind::UserDefined,
        at: 0,
        channel: None,
        payload: serde_json::value::to_raw_value(&body).expect("a number"),
        firmware: None,
    }
}

fn stream() -> StreamId {
    StreamId::from_bytes([7; 16])
}

fn records(first: u64, bodies: std::ops::Range<u64>) -> UploadBody {
    UploadBody::Records {
        first,
        records: bodies.map(|body| Ok(entry(body))).collect(),
    }
}

fn accepted(effects: &[Effect]) -> Vec<u64> {
    effects
        .iter()
        .filter_map(|effect| {
            if let Effect::Accept(seq, _) = effect {
                Some(*seq)
            } else {
                None
            }
        })
        .collect()
}

fn gaps(effects: &[Effect]) -> Vec<(u64, u64, &'static str)> {
    let gap = |effect: &Effect| {
        if let Effect::Gap { from, to, reason } = effect {
            Some((*from, *to, reason.as_str()))
        } else {
            None
        }
    };
    effects.iter().filter_map(gap).collect()
}

#[test]
fn batches_may_come_out_of_order_and_again() {
    let mut state = StreamState::default();
    assert_eq!(accepted(&state.apply(stream(), records(4, 4..7))), [4, 5, 6]);
    assert_eq!((state.upto, state.sparse.clone()), (0, vec![(4, 6)]));
    assert_eq!(accepted(&state.apply(stream(), records(1, 1..5))), [1, 2, 3]);
    assert_eq!((state.upto, state.sparse.len()), (6, 0));
    assert!(state.apply(stream(), records(1, 1..7)).is_empty());
}

#[test]
fn a_gap_covers_only_what_is_missing() {
    let mut state = StreamState::default();
    state.apply(stream(), records(1, 1..3));
    state.apply(stream(), records(5, 5..6));
    let gap = UploadBody::Gap {
        from: 1,
        to: 8,
        reason: GapReason::Budget,
    };
    assert_eq!(
        gaps(&state.apply(stream(), gap.clone())),
        [(3, 4, "budget"), (6, 8, "budget")]
    );
    assert_eq!(state.upto, 8);
    assert!(state.apply(stream(), gap).is_empty());
    assert!(
        state.apply(stream(), records(3, 3..5)).is_empty(),
        "what is declared lost stays lost"
    );
}

#[test]
fn refusals_are_one_gap_and_are_named_again() {
    let mut state = StreamState::default();
    let bad = |n: usize| UploadBody::Records {
        first: 1,
        records: (0..n).map(|_| Err("no".to_owned())).collect(),
    };
    let effects = state.apply(stream(), bad(3));
    assert_eq!(gaps(&effects), [(1, 3, "refused")]);
    assert_eq!(
        effects
            .iter()
            .filter(|effect| matches!(effect, Effect::Refuse(_)))
            .count(),
        3
    );
    assert_eq!(state.upto, 3);
    let again = state.apply(stream(), bad(3));
    assert!(gaps(&again).is_empty());
    assert_eq!(again.len(), 3);
}

#[test]
fn an_older_cloud_records_what_the_device_no_longer_has() {
    let mut state = StreamState::default();
    state.apply(stream(), records(1, 1..4));
    let hello = UploadBody::Announce {
        class: StreamClass::History,
        oldest: 10,
        next: 12,
    };
    assert_eq!(gaps(&state.apply(stream(), hello.clone())), [(4, 9, "restore")]);
    assert!(state.apply(stream(), hello).is_empty());
    assert_eq!(state.upto, 9);
    let older_device = UploadBody::Announce {
        class: StreamClass::History,
        oldest: 2,
        next: 3,
    };
    assert!(state.apply(stream(), older_device).is_empty());
    assert_eq!(state.upto, 9);
}

#[test]
fn a_reused_number_is_reported_once() {
    let mut state = StreamState::default();
    state.apply(stream(), records(1, 1..4));
    let effects = state.apply(stream(), records(2, 100..101));
    assert!(matches!(effects.as_slice(), [Effect::Reused(2, _)]));
    assert!(state.apply(stream(), records(2, 100..101)).is_empty());
}

#[test]
fn records_of_the_wrong_class_are_refused() {
    let mut state = StreamState::default();
    state.apply(
        stream(),
        UploadBody::Announce {
            class: StreamClass::Control,
            oldest: 1,
            next: 1,
        },
    );
    let effects = state.apply(stream(), records(1, 1..2));
    assert!(
        matches!(effects.last(), Some(Effect::Refuse(refuse)) if refuse.reason.contains("control stream"))
    );
}

#[test]
fn ranges_are_bounded_and_heal() {
    let mut state = StreamState::default();
    for n in 1..=MAX_RANGES as u64 + 10 {
        state.apply(stream(), records(n * 2, n * 2..n * 2 + 1));
    }
    assert_eq!(state.sparse.len(), MAX_RANGES);
    let last = MAX_RANGES as u64 * 2 + 20;
    let effects = state.apply(stream(), records(1, 1..last + 1));
    assert_eq!(accepted(&effects).len() as u64, last - MAX_RANGES as u64);
    assert_eq!((state.upto, state.sparse.len()), (last, 0));
}

#[derive(Debug, Clone)]
enum Step {
    Send(u64, u64),
    Lose(u64, u64),
    Refuse(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..40u64, 1..8u64).prop_map(|(first, n)| Step::Send(first, n)),
        1 => (1..40u64, 0..5u64).prop_map(|(from, n)| Step::Lose(from, from + n)),
        1 => (1..40u64).prop_map(Step::Refuse),
    ]
}

proptest! {
    /// With any order, splitting and repetition, each number becomes exactly one entry or is in exactly one
    /// gap.
    #[test]
    fn every_number_is_accounted_for_once(steps in prop::collection::vec(step(), 0..60)) {
        let mut state = StreamState::default();
        let mut account: HashMap<u64, u32> = HashMap::new();
        let finish = [Step::Send(1, 60)];
        for step in steps.into_iter().chain(finish) {
            let body = match step {
                Step::Send(first, n) => records(first, first..first + n),
                Step::Lose(from, to) => UploadBody::Gap { from, to, reason: GapReason::Ttl },
                Step::Refuse(first) => UploadBody::Records { first, records: vec![Err("no".into())] },
            };
            for effect in state.apply(stream(), body) {
                match effect {
                    Effect::Accept(seq, _) => *account.entry(seq).or_default() += 1,
                    Effect::Gap { from, to, .. } => (from..=to).for_each(|seq| *account.entry(seq).or_default() += 1),
                    Effect::Refuse(_) => {}
                    Effect::Reused(seq, _) => prop_assert!(false, "{seq} was not reused"),
                }
            }
            prop_assert!(state.sparse.iter().all(|&(start, end)| start <= end && start > state.upto + 1));
            prop_assert!(state.sparse.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
            let present = |seq: u64| seq <= state.upto || state.sparse.iter().any(|&(s, e)| (s..=e).contains(&seq));
            for seq in 1..70 {
                prop_assert_eq!(account.get(&seq).copied().unwrap_or(0), u32::from(present(seq)), "number {}", seq);
            }
        }
        prop_assert_eq!(state.upto, 60);
    }
}
