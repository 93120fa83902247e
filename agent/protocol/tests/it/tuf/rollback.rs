//! Versions that go back, and how a project recovers from versions that went too far.

use iottly_protocol::tuf::TufError;

use super::repo::{Repo, key};

#[test]
fn an_older_timestamp_is_refused() {
    let mut repo = Repo::new();
    let kept = repo.enrolled();
    repo.publish(&["timestamp"]);
    repo.refresh(&kept).expect("fresh");
    repo.timestamp.header.version = 1;
    repo.publish_as_is("timestamp");
    let error = repo.refresh(&kept).expect_err("older");
    assert!(
        matches!(
            error,
            TufError::Rollback {
                trusted: 2,
                got: 1,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(kept.version("timestamp"), 2);
}

#[test]
fn an_older_snapshot_is_refused_with_and_without_digests() {
    for hashes in [false, true] {
        let mut repo = Repo::new();
        repo.hashes = hashes;
        repo.publish(&["snapshot", "timestamp"]);
        let kept = repo.enrolled();
        repo.refresh(&kept).expect("fresh");
        repo.snapshot.header.version = 1;
        repo.publish_as_is("snapshot");
        repo.publish(&["timestamp"]);
        let error = repo.refresh(&kept).expect_err("older");
        assert!(
            matches!(
                error,
                TufError::Rollback {
                    trusted: 2,
                    got: 1,
                    ..
                }
            ),
            "{error}"
        );
        assert_eq!(kept.versions(), [1, 2, 2, 1]);
    }
}

#[test]
fn a_snapshot_that_takes_targets_back_or_drops_a_role_is_refused() {
    for hashes in [false, true] {
        let mut repo = Repo::new();
        repo.hashes = hashes;
        repo.publish(&["targets"]);
        repo.delegate("targets", "team", &["*"], false, 9);
        repo.publish_all();
        let kept = repo.enrolled();
        repo.refresh(&kept).expect("fresh");
        let before = kept.versions();
        let good_targets = repo.targets.clone();
        let good_snapshot = repo.snapshot.clone();
        repo.targets.get_mut("targets").expect("role").header.version = 1;
        repo.publish_as_is("targets");
        repo.publish(&["snapshot", "timestamp"]);
        let error = repo.refresh(&kept).expect_err("older targets");
        assert!(
            matches!(&error, TufError::Rollback { role, .. } if role == "targets.json"),
            "{error}"
        );
        repo.targets = good_targets;
        repo.snapshot.meta = good_snapshot.meta;
        repo.snapshot.meta.remove("team.json");
        repo.publish(&["snapshot", "timestamp"]);
        let error = repo.refresh(&kept).expect_err("dropped");
        assert!(
            matches!(&error, TufError::Dropped { file } if file == "team.json"),
            "{error}"
        );
        assert_eq!((kept.versions()[2], kept.versions()[3]), (before[2], before[3]));
    }
}

#[test]
fn a_kept_snapshot_is_not_asked_for_again() {
    let mut repo = Repo::new();
    repo.publish(&["snapshot", "timestamp"]);
    let kept = repo.enrolled();
    repo.refresh(&kept).expect("fresh");
    repo.snapshot.header.version = 1;
    let timestamp = repo.timestamp.clone();
    repo.publish_as_is("snapshot");
    repo.timestamp = timestamp;
    repo.refresh(&kept).expect("the timestamp still names version 2");
    assert_eq!(repo.asked().last().map(String::as_str), Some("timestamp.json"));
}

#[test]
fn another_snapshot_under_the_same_version_is_noticed_by_its_digest() {
    let mut repo = Repo::new();
    repo.hashes = true;
    repo.publish_all();
    let kept = repo.enrolled();
    repo.refresh(&kept).expect("fresh");
    // The timestamp names version 2 again, with the digest of another file, which is not served.
    let served = repo.bytes("snapshot");
    repo.snapshot.extra.insert("other".into(), 1.into());
    repo.publish_as_is("snapshot");
    repo.put("snapshot", 2, served);
    repo.publish(&["timestamp"]);
    let error = repo.refresh(&kept).expect_err("mixed");
    assert!(matches!(error, TufError::Digest { .. }), "{error}");
}

#[test]
fn fast_forwarded_versions_are_recovered_by_new_keys() {
    // Timestamp alone.
    let mut repo = Repo::new();
    let kept = repo.enrolled();
    repo.timestamp.header.version = 1 << 40;
    repo.publish_as_is("timestamp");
    repo.refresh(&kept).expect("far ahead");
    repo.set_keys("timestamp", &[key(12)], 1);
    repo.publish(&["root"]);
    repo.timestamp.header.version = 1;
    repo.publish_as_is("timestamp");
    repo.refresh(&kept).expect("recovered");
    assert_eq!(kept.version("timestamp"), 1);

    // Snapshot: its key and the timestamp's.
    repo.snapshot.header.version = 99_999;
    repo.publish_as_is("snapshot");
    repo.publish(&["timestamp"]);
    repo.refresh(&kept).expect("far ahead");
    repo.set_keys("snapshot", &[key(13)], 1);
    repo.set_keys("timestamp", &[key(14)], 1);
    repo.snapshot.header.version = 1;
    repo.publish_as_is("snapshot");
    repo.publish(&["root", "timestamp"]);
    repo.refresh(&kept).expect("recovered");
    assert_eq!(kept.version("snapshot"), 1);

    // Targets: the snapshot's key.
    repo.targets.get_mut("targets").expect("role").header.version = 100;
    repo.publish_as_is("targets");
    repo.publish(&["snapshot", "timestamp"]);
    repo.refresh(&kept).expect("far ahead");
    repo.set_keys("snapshot", &[key(15)], 1);
    repo.targets.get_mut("targets").expect("role").header.version = 2;
    repo.publish_as_is("targets");
    repo.publish(&["root", "snapshot", "timestamp"]);
    repo.refresh(&kept).expect("recovered");
    assert_eq!(kept.version("targets"), 2);
}

#[test]
fn a_key_that_is_only_taken_away_is_a_rotation_as_well() {
    let mut repo = Repo::new();
    repo.set_keys("timestamp", &[key(2), key(20)], 1);
    repo.publish(&["root", "timestamp"]);
    let kept = repo.enrolled();
    repo.timestamp.header.version = 1 << 40;
    repo.publish_as_is("timestamp");
    repo.refresh(&kept).expect("signed by both keys");
    // The key that stays has signed the far version too.
    repo.set_keys("timestamp", &[key(2)], 1);
    repo.timestamp.header.version = 5;
    repo.publish_as_is("timestamp");
    repo.publish(&["root"]);
    repo.refresh(&kept).expect("recovered");
    assert_eq!(kept.version("timestamp"), 5);
}

#[test]
fn a_key_that_is_only_added_takes_no_protection_away() {
    let mut repo = Repo::new();
    let kept = repo.enrolled();
    repo.publish(&["timestamp"]);
    repo.refresh(&kept).expect("fresh");
    repo.set_keys("timestamp", &[key(2), key(20)], 1);
    repo.publish(&["root"]);
    repo.timestamp.header.version = 1;
    repo.publish_as_is("timestamp");
    let error = repo.refresh(&kept).expect_err("older");
    assert!(matches!(error, TufError::Rollback { .. }), "{error}");
}
