//! The refresh: which files are requested, what is stored, what expires.

use iottly_protocol::tuf::TufError;
use serde_json::{Value, json};

use super::repo::{DAY, NOW, Repo};

#[test]
fn a_refresh_asks_in_order_and_keeps_the_bytes_as_sent() {
    let repo = Repo::new();
    let mut spaced = repo.bytes("timestamp");
    spaced.extend_from_slice(b"\n ");
    repo.put("timestamp", 1, spaced.clone());
    let kept = repo.enrolled();
    repo.refresh(&kept).expect("fresh");
    assert_eq!(
        repo.asked(),
        [
            "2.root.json",
            "timestamp.json",
            "1.snapshot.json",
            "1.targets.json"
        ]
    );
    assert_eq!(kept.0.borrow()["timestamp"], spaced);
    repo.refresh(&kept).expect("again");
    assert_eq!(
        repo.asked(),
        ["2.root.json", "timestamp.json"],
        "nothing else is new"
    );
}

#[test]
fn without_consistent_snapshots_names_have_no_versions() {
    let mut repo = Repo::new();
    repo.root.consistent_snapshot = None;
    repo.publish(&["root"]);
    repo.publish_all();
    let kept = repo.enrolled();
    repo.refresh(&kept).expect("fresh");
    assert_eq!(
        repo.asked(),
        [
            "2.root.json",
            "3.root.json",
            "timestamp.json",
            "snapshot.json",
            "targets.json"
        ]
    );
}

#[test]
fn the_initial_root_must_be_whole_and_signed_by_itself() {
    let repo = Repo::new();
    let whole: Value = serde_json::from_slice(&repo.bytes("root")).expect("json");
    let mut no_version = whole.clone();
    no_version["signed"]
        .as_object_mut()
        .expect("object")
        .remove("version");
    let mut unsigned = whole.clone();
    unsigned["signatures"][0]["sig"] = json!("00");
    for broken in [no_version, unsigned] {
        let kept = repo.enrolled();
        kept.0
            .borrow_mut()
            .insert("root".into(), broken.to_string().into_bytes());
        repo.refresh(&kept).expect_err("broken root");
        assert!(repo.asked().is_empty());
    }
}

#[test]
fn what_comes_before_a_bad_file_is_kept() {
    for (role, expected) in [
        ("root", [1, 0, 0, 0]),
        ("timestamp", [2, 0, 0, 0]),
        ("snapshot", [2, 2, 0, 0]),
        ("targets", [2, 2, 2, 0]),
    ] {
        let mut repo = Repo::new();
        let kept = repo.enrolled();
        repo.keys.get_mut(role).expect("role").clear();
        repo.publish(&["root"]);
        repo.publish_all();
        let error = repo.refresh(&kept).expect_err(role);
        assert!(
            matches!(&error, TufError::Threshold { role: at, have: 0, need: 1, .. } if at == role),
            "{error}"
        );
        assert_eq!(kept.versions(), expected, "{role}");
    }
}

#[test]
fn the_version_in_the_name_is_the_version_inside() {
    for (role, expected) in [
        ("root", [1, 0, 0, 0]),
        ("snapshot", [2, 2, 0, 0]),
        ("targets", [2, 2, 2, 0]),
    ] {
        let mut repo = Repo::new();
        let kept = repo.enrolled();
        repo.publish(&["root"]);
        repo.publish_all();
        // The file for version 2 is version 3.
        match role {
            "root" => repo.root.header.version = 3,
            "snapshot" => repo.snapshot.header.version = 3,
            _ => repo.targets.get_mut("targets").expect("role").header.version = 3,
        }
        let timestamp = repo.timestamp.clone();
        let snapshot = repo.snapshot.clone();
        repo.publish_as_is(role);
        repo.put(role, 2, repo.bytes(role));
        (repo.timestamp, repo.snapshot) = (timestamp, snapshot);
        let error = repo.refresh(&kept).expect_err(role);
        assert!(
            matches!(
                error,
                TufError::Version {
                    expected: 2,
                    got: 3,
                    ..
                }
            ),
            "{role}: {error}"
        );
        assert_eq!(kept.versions(), expected, "{role}");
    }
}

#[test]
fn a_missing_file_ends_the_refresh_except_the_next_root() {
    for (name, expected) in [
        ("timestamp.json", [1, 1, 1, 1]),
        ("2.snapshot.json", [1, 2, 1, 1]),
        ("2.targets.json", [1, 2, 2, 1]),
    ] {
        let mut repo = Repo::new();
        let kept = repo.enrolled();
        repo.refresh(&kept).expect("fresh");
        repo.publish_all();
        repo.server.0.borrow_mut().metadata.remove(name);
        repo.refresh(&kept).expect_err(name);
        assert_eq!(repo.asked().last().map(String::as_str), Some(name));
        assert_eq!(kept.versions(), expected);
    }
}

#[test]
fn a_timestamp_with_the_same_version_changes_nothing() {
    let mut repo = Repo::new();
    let kept = repo.enrolled();
    repo.refresh(&kept).expect("fresh");
    let before = kept.0.borrow()["timestamp"].clone();
    repo.timestamp
        .meta
        .get_mut("snapshot.json")
        .expect("entry")
        .version = 100;
    repo.publish_as_is("timestamp");
    repo.refresh(&kept).expect("the trusted one stays");
    assert_eq!(kept.0.borrow()["timestamp"], before);
    assert_eq!(repo.asked().last().map(String::as_str), Some("timestamp.json"));
}

#[test]
fn metadata_of_another_kind_is_refused_although_its_keys_are_right() {
    let mut repo = Repo::new();
    let kept = repo.enrolled();
    let timestamp_keys = repo.keys["timestamp"].clone();
    repo.snapshot.meta = [(
        "snapshot.json".to_owned(),
        iottly_protocol::tuf::FileInfo::of_version(1),
    )]
    .into();
    repo.keys.insert("snapshot".into(), timestamp_keys);
    repo.publish(&["snapshot"]);
    repo.put("timestamp", 2, repo.bytes("snapshot"));
    let error = repo.refresh(&kept).expect_err("a snapshot");
    assert!(error.to_string().contains("_type"), "{error}");
}

#[test]
fn unknown_fields_count_for_signatures() {
    let mut repo = Repo::new();
    let kept = repo.enrolled();
    let extra = [("custom-field".to_owned(), json!({"b": [1, "é"], "a": null}))];
    repo.root.extra = extra.clone().into();
    repo.root.roles.get_mut("targets").expect("role").extra = extra.clone().into();
    repo.root
        .keys
        .values_mut()
        .for_each(|key| key.extra = extra.clone().into());
    repo.publish(&["root"]);
    repo.snapshot.extra = extra.into();
    repo.publish_all();
    repo.refresh(&kept).expect("fields are kept");
    let mut stripped: Value = serde_json::from_slice(&repo.bytes("snapshot")).expect("json");
    stripped["signed"]
        .as_object_mut()
        .expect("object")
        .remove("custom-field");
    repo.put("snapshot", 2, stripped.to_string().into_bytes());
    repo.refresh(&repo.enrolled()).expect_err("a field was removed");
}

#[test]
fn digests_of_metadata_are_optional_and_hold() {
    let mut repo = Repo::new();
    let kept = repo.enrolled();
    repo.hashes = true;
    repo.publish_all();
    repo.refresh(&kept).expect("right digests");
    repo.publish(&["targets"]);
    let info = repo.snapshot.meta.get_mut("targets.json").expect("entry");
    info.hashes
        .as_mut()
        .expect("digests")
        .insert("sha256".into(), "46".repeat(32));
    repo.publish(&["snapshot", "timestamp"]);
    let error = repo.refresh(&kept).expect_err("wrong digest");
    assert!(matches!(error, TufError::Digest { .. }), "{error}");
    assert_eq!(kept.versions(), [1, 3, 3, 2]);
}

#[test]
fn what_expired_is_not_taken_and_what_is_kept_still_guards() {
    for (role, expected) in [
        ("root", [2, 1, 1, 1]),
        ("timestamp", [1, 1, 1, 1]),
        ("snapshot", [1, 2, 1, 1]),
        ("targets", [1, 2, 2, 1]),
    ] {
        let mut repo = Repo::new();
        let kept = repo.enrolled();
        repo.refresh(&kept).expect("fresh");
        let header = match role {
            "root" => &mut repo.root.header,
            "timestamp" => &mut repo.timestamp.header,
            "snapshot" => &mut repo.snapshot.header,
            _ => &mut repo.targets.get_mut("targets").expect("role").header,
        };
        // The moment of expiry itself is past.
        header.expires = NOW;
        if role == "root" {
            repo.publish(&["root"]);
        }
        repo.publish_all();
        let error = repo.refresh(&kept).expect_err(role);
        assert!(
            matches!(&error, TufError::Expired { role: at, .. } if at == role),
            "{role}: {error}"
        );
        assert_eq!(kept.versions(), expected, "{role}");
    }
}

#[test]
fn an_expired_root_on_the_way_does_not_matter() {
    let mut repo = Repo::new();
    let kept = repo.enrolled();
    let good = repo.root.header.expires;
    repo.root.header.expires = NOW;
    repo.publish(&["root"]);
    repo.root.header.expires = good;
    repo.publish(&["root"]);
    repo.refresh(&kept).expect("the last root counts");
    assert_eq!(kept.version("root"), 3);
}

#[test]
fn a_repository_that_only_repeats_itself_freezes_nobody_for_ever() {
    let repo = Repo::new();
    let kept = repo.enrolled();
    repo.refresh(&kept).expect("fresh");
    repo.refresh_at(&kept, NOW.plus(29 * DAY)).expect("still good");
    let error = repo.refresh_at(&kept, NOW.plus(31 * DAY)).expect_err("frozen");
    assert!(matches!(error, TufError::Expired { .. }), "{error}");
}

#[test]
fn expired_metadata_on_the_device_is_no_hindrance() {
    let mut repo = Repo::new();
    repo.timestamp.header.expires = NOW.plus(7 * DAY);
    repo.publish_all();
    let kept = repo.enrolled();
    repo.refresh(&kept).expect("fresh");
    repo.timestamp.header.expires = NOW.plus(21 * DAY);
    repo.publish_all();
    repo.refresh_at(&kept, NOW.plus(18 * DAY))
        .expect("newer metadata");
    assert_eq!(kept.versions(), [1, 3, 3, 3]);
}

#[test]
fn the_chain_of_roots_is_followed_for_so_many_steps() {
    let mut repo = Repo::new();
    let kept = repo.enrolled();
    for _ in 0..300 {
        repo.publish(&["root"]);
    }
    repo.refresh(&kept).expect("fresh");
    assert_eq!(kept.version("root"), 257);
    repo.refresh(&kept).expect("the rest");
    assert_eq!(kept.version("root"), 301);
}
