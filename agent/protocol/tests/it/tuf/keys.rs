//! Thresholds and rotation.

use iottly_protocol::tuf::{Instant, Key, RoleKeys, Schemes, Trusted, TufError, sign};
use serde_json::{Value, json};

use super::repo::{NOW, Repo, ids, key};

/// Version of root: its keys, its threshold, and the keys that sign it.
type Version = (&'static [u8], u64, &'static [u8]);

fn rotate(versions: &[Version]) -> Result<(), TufError> {
    let mut repo = Repo::new();
    let mut signed = Vec::new();
    for (at, (keys, threshold, signers)) in versions.iter().enumerate() {
        let keys: Vec<_> = keys.iter().map(|seed| key(100 + seed)).collect();
        repo.root
            .roles
            .insert("root".into(), RoleKeys::new(ids(&keys), *threshold));
        repo.root.keys.extend(super::repo::public(&keys));
        repo.root.header.version = at as u64 + 1;
        let signers: Vec<_> = signers.iter().map(|seed| key(100 + seed)).collect();
        signed.push(sign(&repo.root, &signers.iter().collect::<Vec<_>>()).expect("signed"));
    }
    let mut trusted = Trusted::new(&signed[0], NOW, Schemes::ED25519)?;
    for root in &signed[1..] {
        trusted.update_root(root)?;
    }
    Ok(())
}

#[test]
fn roots_that_old_and_new_keys_have_signed_are_followed() {
    let good: &[&[Version]] = &[
        &[(&[1], 1, &[1]), (&[2], 1, &[2, 1]), (&[2], 1, &[2])],
        &[
            (&[1], 1, &[3, 1, 4]),
            (&[2], 1, &[3, 2, 1, 4]),
            (&[2], 1, &[3, 2, 4]),
        ],
        &[
            (&[0, 1, 2, 3, 4], 3, &[0, 2, 4]),
            (&[0, 1, 2, 3, 4], 3, &[0, 4, 1]),
            (&[0, 1, 2, 3, 4], 3, &[0, 1, 3]),
        ],
        &[
            (&[0, 1, 2, 3, 4], 3, &[0, 2, 4]),
            (&[0, 1, 3, 4, 5], 3, &[0, 4, 1]),
        ],
        &[
            (&[0, 1, 2, 3, 4], 3, &[0, 2, 4]),
            (&[5, 6, 7, 8, 9], 3, &[0, 2, 4, 5, 6, 7]),
            (&[5, 6, 7, 8, 9], 3, &[5, 6, 7]),
        ],
        &[(&[1, 2, 3], 1, &[1]), (&[1, 2, 3], 2, &[1, 2])],
        &[
            (&[1, 2, 3], 2, &[1, 2]),
            (&[1, 2, 3], 1, &[1, 2]),
            (&[1, 2, 3], 1, &[1]),
        ],
    ];
    for versions in good {
        rotate(versions).unwrap_or_else(|e| panic!("{versions:?}: {e}"));
    }
}

#[test]
fn roots_that_miss_either_threshold_are_refused() {
    let bad: &[&[Version]] = &[
        &[(&[1], 1, &[1]), (&[2], 1, &[2, 3, 4])],
        &[(&[1], 1, &[1]), (&[2], 1, &[1, 3, 4])],
        &[
            (&[0, 1, 2, 3, 4], 3, &[0, 2, 4]),
            (&[0, 1, 3, 4, 5], 3, &[0, 2, 4]),
        ],
        &[
            (&[0, 1, 2, 3, 4], 3, &[0, 2, 4]),
            (&[0, 1, 3, 4, 5], 3, &[0, 4, 5]),
        ],
        &[(&[1, 2, 3], 1, &[1]), (&[1, 2, 3], 2, &[2])],
        &[(&[1, 2, 3], 2, &[1, 2]), (&[1, 2, 3], 1, &[1])],
    ];
    for versions in bad {
        assert!(
            matches!(rotate(versions), Err(TufError::Threshold { .. })),
            "{versions:?}"
        );
    }
}

#[test]
fn a_threshold_above_the_number_of_keys_is_never_met() {
    let mut repo = Repo::new();
    let kept = repo.enrolled();
    repo.set_keys("snapshot", &[key(3), key(30), key(31)], 4);
    repo.publish(&["root"]);
    repo.publish_all();
    let error = repo.refresh(&kept).expect_err("3 of 4");
    assert!(
        matches!(error, TufError::Threshold { have: 3, need: 4, .. }),
        "{error}"
    );
    assert_eq!((kept.version("root"), kept.version("snapshot")), (2, 0));
}

#[test]
fn one_key_under_two_ids_counts_once() {
    let mut repo = Repo::new();
    let kept = repo.enrolled();
    let twin = key(3).public();
    repo.root.keys.insert("twin".into(), twin);
    repo.root.roles.insert(
        "snapshot".into(),
        RoleKeys::new(vec![key(3).public().id(), "twin".into()], 2),
    );
    repo.publish(&["root"]);
    repo.publish_all();
    let mut doubled: Value = serde_json::from_slice(&repo.bytes("snapshot")).expect("json");
    let sig = doubled["signatures"][0]["sig"].clone();
    doubled["signatures"]
        .as_array_mut()
        .expect("list")
        .push(json!({"keyid": "twin", "sig": sig}));
    repo.put("snapshot", 2, doubled.to_string().into_bytes());
    let error = repo.refresh(&kept).expect_err("one key");
    assert!(
        matches!(error, TufError::Threshold { have: 1, need: 2, .. }),
        "{error}"
    );
}

#[test]
fn a_signature_that_is_wrong_does_not_spoil_those_that_are_right() {
    let mut repo = Repo::new();
    let kept = repo.enrolled();
    repo.set_keys("timestamp", &[key(2), key(20)], 1);
    repo.publish(&["root", "timestamp"]);
    for wrong in ["", "zz", "00", &"ab".repeat(64)] {
        let mut document: Value = serde_json::from_slice(&repo.bytes("timestamp")).expect("json");
        document["signatures"][0]["sig"] = json!(wrong);
        repo.put("timestamp", 2, document.to_string().into_bytes());
        repo.refresh(&kept).unwrap_or_else(|e| panic!("{wrong}: {e}"));
    }
}

#[test]
fn keys_of_unknown_kinds_and_deprecated_fields_are_carried() {
    let mut repo = Repo::new();
    let kept = repo.enrolled();
    let other: Key = serde_json::from_value(json!({
        "keytype": "rsa", "scheme": "rsassa-pss-sha256", "keyval": {"public": "-----BEGIN PUBLIC KEY-----"},
        "keyid_hash_algorithms": ["md5"]
    }))
    .expect("a key");
    repo.root.keys.insert("other".into(), other);
    let snapshot = repo.root.roles.get_mut("snapshot").expect("role");
    snapshot.keyids.extend(["other".into(), "absent".into()]);
    repo.publish(&["root"]);
    repo.publish_all();
    repo.refresh(&kept).expect("the known key suffices");
}

/// Signed by python-tuf with an ecdsa key: `tests/it/data/p256-root.json` holds root metadata of threshold 1.
#[test]
fn p256_counts_where_policy_lets_it() {
    let root = include_bytes!("../data/p256-root.json");
    Trusted::new(root, Instant::from_unix(0), Schemes::WITH_P256).expect("allowed");
    let error = Trusted::new(root, Instant::from_unix(0), Schemes::ED25519).expect_err("not allowed");
    assert!(
        matches!(
            error,
            TufError::Threshold {
                have: 0,
                unknown_keys: true,
                ..
            }
        ),
        "{error}"
    );
    let text = String::from_utf8(root.to_vec()).expect("text");
    let tampered = text.replace("\"version\": 1", "\"version\": 2");
    assert_ne!(tampered, text);
    Trusted::new(tampered.as_bytes(), Instant::from_unix(0), Schemes::WITH_P256).expect_err("tampered");
}
