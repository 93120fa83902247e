//! The time that counts: dates that signatures vouch for are a floor, and only a newer document of the same
//! signer lowers it.

use iottly_protocol::tuf::{Instant, Refreshed, SIGNED_AT_KEY, Schemes, Start, TufError, Vouched, refresh};

use super::repo::{DAY, Kept, NOW, Repo, Server, key};

/// Signs a timestamp of the next version with the moment of its signing.
fn stamp(repo: &mut Repo, signed: Instant, days: u64) {
    repo.timestamp
        .extra
        .insert(SIGNED_AT_KEY.to_owned(), signed.to_string().into());
    repo.timestamp.header.expires = signed.plus(days * DAY);
    repo.publish(&["timestamp"]);
}

fn try_at(
    repo: &Repo,
    kept: &Kept,
    clock: Instant,
    vouched: Option<Vouched>,
) -> Result<Refreshed<Server, Kept>, TufError> {
    let first = repo.server.0.borrow().metadata["1.root.json"].clone();
    let start = Start {
        clock,
        vouched,
        first_root: &first,
        schemes: Schemes::ED25519,
    };
    refresh(&repo.server, kept, &start, |_| {})
}

fn at(repo: &Repo, kept: &Kept, clock: Instant, vouched: Option<Vouched>) -> Refreshed<Server, Kept> {
    try_at(repo, kept, clock, vouched).expect("fresh")
}

/// Returns a repository whose timestamps name their signing, and a device that has accepted one.
fn seasoned() -> (Repo, Kept, Vouched) {
    let mut repo = Repo::new();
    stamp(&mut repo, NOW, 1);
    let kept = repo.enrolled();
    let vouched = at(&repo, &kept, NOW.plus(60), None).vouched;
    assert_eq!(
        vouched,
        Vouched {
            root: 1,
            timestamp: 2,
            unix: NOW.unix()
        },
        "the clock itself vouches for nothing"
    );
    (repo, kept, vouched)
}

#[test]
fn a_board_whose_clock_stands_at_its_start_is_dated_by_what_was_signed() {
    let (repo, kept, vouched) = seasoned();
    let found = at(&repo, &kept, Instant::from_unix(0), Some(vouched));
    assert_eq!((found.now, found.vouched), (NOW, vouched));
}

#[test]
fn a_clock_that_is_ahead_refuses_and_leaves_no_trace() {
    let (repo, kept, vouched) = seasoned();
    for ahead in [2 * DAY, 3650 * DAY, 1 << 40] {
        let error = try_at(&repo, &kept, NOW.plus(ahead), Some(vouched))
            .err()
            .expect("nothing is valid then");
        assert!(matches!(error, TufError::Expired { .. }), "{error}");
        let found = at(&repo, &kept, NOW.plus(120), Some(vouched));
        assert_eq!(
            (found.now, found.vouched),
            (NOW.plus(120), vouched),
            "the next right date is the time again"
        );
    }
}

#[test]
fn the_floor_rises_with_the_signers_word() {
    let (mut repo, kept, vouched) = seasoned();
    stamp(&mut repo, NOW.plus(DAY / 2), 1);
    let found = at(&repo, &kept, NOW.plus(60), Some(vouched));
    assert_eq!(
        found.vouched,
        Vouched {
            root: 1,
            timestamp: 3,
            unix: NOW.plus(DAY / 2).unix()
        }
    );
    assert_eq!(found.now, NOW.plus(DAY / 2), "it counts at once");
}

#[test]
fn a_signers_newer_word_that_is_earlier_corrects_the_floor() {
    let (mut repo, kept, vouched) = seasoned();
    // The signer's clock was three weeks ahead for a while, as far as its other metadata reaches.
    stamp(&mut repo, NOW.plus(21 * DAY), 1);
    let ahead = at(&repo, &kept, NOW.plus(21 * DAY + 60), Some(vouched)).vouched;
    assert_eq!(ahead.unix, NOW.plus(21 * DAY).unix());
    stamp(&mut repo, NOW.plus(300), 1);
    let found = at(&repo, &kept, NOW.plus(360), Some(ahead));
    assert_eq!(
        found.vouched,
        Vouched {
            root: 1,
            timestamp: 4,
            unix: NOW.plus(300).unix()
        }
    );
    assert_eq!(found.now, NOW.plus(360));
}

#[test]
fn a_replay_lowers_no_floor_even_when_the_store_was_lost() {
    let (mut repo, kept, vouched) = seasoned();
    let old = repo.bytes("timestamp");
    stamp(&mut repo, NOW.plus(5 * DAY), 1);
    let vouched = at(&repo, &kept, NOW.plus(5 * DAY), Some(vouched)).vouched;
    repo.put("timestamp", 2, old);
    // The clock is set back to when the old one was good.
    for clock in [NOW.plus(60), NOW.plus(5 * DAY), Instant::from_unix(0)] {
        assert!(try_at(&repo, &kept, clock, Some(vouched)).is_err());
        assert!(
            try_at(&repo, &repo.enrolled(), clock, Some(vouched)).is_err(),
            "without a store"
        );
    }
    assert_eq!(kept.version("timestamp"), 3);
}

#[test]
fn a_newer_timestamp_that_was_over_before_an_accepted_directive_is_a_freeze() {
    let (mut repo, kept, vouched) = seasoned();
    // The device has not seen version 3; the attacker holds it back until it is over.
    stamp(&mut repo, NOW.plus(DAY / 2), 1);
    let held = repo.bytes("timestamp");
    stamp(&mut repo, NOW.plus(4 * DAY), 1);
    let mut found = at(&repo, &kept, NOW.plus(4 * DAY), Some(vouched));
    found.accept(NOW.plus(4 * DAY + 60));
    assert_eq!(found.vouched.unix, NOW.plus(4 * DAY + 60).unix());
    repo.put("timestamp", 3, held);
    assert!(try_at(&repo, &kept, NOW.plus(DAY), Some(found.vouched)).is_err());
}

#[test]
fn an_accepted_date_stays_before_the_end_of_its_timestamp() {
    let (repo, kept, vouched) = seasoned();
    let mut found = at(&repo, &kept, NOW.plus(60), Some(vouched));
    found.accept(NOW.plus(3650 * DAY));
    assert_eq!(found.vouched.unix, NOW.plus(DAY).unix() - 1);
    at(&repo, &kept, NOW.plus(60), Some(found.vouched));
}

#[test]
fn a_date_of_signing_behind_the_end_or_of_another_kind_is_none() {
    for date in [
        serde_json::json!(NOW.plus(2 * DAY)),
        serde_json::json!(7),
        serde_json::json!("soon"),
    ] {
        let mut repo = Repo::new();
        repo.timestamp.header.expires = NOW.plus(DAY);
        repo.timestamp.extra.insert(SIGNED_AT_KEY.to_owned(), date);
        repo.publish(&["timestamp"]);
        assert_eq!(at(&repo, &repo.enrolled(), NOW, None).vouched.unix, 0);
    }
}

#[test]
fn a_damaged_root_is_replaced_by_the_first_one_and_the_chain_is_followed_again() {
    let mut repo = Repo::new();
    repo.set_keys("timestamp", &[key(12)], 1);
    repo.publish(&["root", "timestamp"]);
    let kept = repo.enrolled();
    let vouched = at(&repo, &kept, NOW, None).vouched;
    assert_eq!(vouched.root, 2);
    let whole = kept.0.borrow()["root"].clone();
    let first = repo.server.0.borrow().metadata["1.root.json"].clone();
    let mut kinds = Vec::new();
    for at in (0..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        kinds.push(damaged);
    }
    kinds.extend([Vec::new(), whole[..whole.len() / 2].to_vec(), vec![0; 600_000]]);
    for damaged in kinds {
        kept.0.borrow_mut().insert("root".to_owned(), damaged);
        let start = Start {
            clock: NOW,
            vouched: Some(vouched),
            first_root: &first,
            schemes: Schemes::ED25519,
        };
        let mut told = 0;
        let found = refresh(&repo.server, &kept, &start, |_| told += 1).expect("recovered");
        assert_eq!((found.vouched, told), (vouched, 1));
        assert_eq!(kept.0.borrow()["root"], whole, "byte for byte what was trusted");
    }
    // A repository that withholds what was trusted before is refused.
    kept.0.borrow_mut().remove("root");
    repo.server.0.borrow_mut().metadata.remove("2.root.json");
    assert!(try_at(&repo, &kept, NOW, Some(vouched)).is_err());
}
