//! Named attacks. Each is a folder under `tests/it/data/attacks` with what the device had, what the attacker
//! serves and the expected reason. `IOTTLY_BLESS=1 cargo test -p iottly-protocol --test it` rewrites the
//! folders from the descriptions here.

use std::fs;

use iottly_protocol::limits::MAX_COMPONENT_BYTES;
use iottly_protocol::release::{Action, Audience, Reason};
use iottly_protocol::tuf::{Header, Kind, RoleKeys, TargetFile};
use iottly_protocol::{DeviceId, ProjectId};
use serde_json::{Value, json};

use super::repo::{DAY, NOW, key};
use super::scenario::{Scenario, TARGET, attempt, folder};

/// Writes or compares the fixture, then runs the device against the files on the disk.
fn attack(name: &str, why: &str, expect: Reason, change: fn(&mut Scenario)) {
    let mut scenario = Scenario::new();
    change(&mut scenario);
    let files = scenario.files(why, expect);
    let dir = folder(name);
    if std::env::var_os("IOTTLY_BLESS").is_some() {
        let _ = fs::remove_dir_all(&dir);
        for (file, bytes) in &files {
            let path = dir.join(file);
            fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
            fs::write(path, bytes).expect("file");
        }
    }
    for (file, bytes) in &files {
        assert_eq!(
            &fs::read(dir.join(file)).unwrap_or_default(),
            bytes,
            "{name}/{file} is not what the description makes"
        );
    }
    let (case, outcome) = attempt(&dir);
    let (reason, said) = outcome.expect_err(name);
    assert_eq!(reason, case.expect, "{name}: {said}");
}

macro_rules! attacks {
    ($($name:ident: $why:literal => $expect:ident, $change:expr;)+) => {
        $(#[test] fn $name() { attack(stringify!($name), $why, Reason::$expect, $change); })+

        #[test]
        fn every_folder_is_a_test() {
            let mut known = vec![$(stringify!($name).to_owned()),+, "no_attack".to_owned()];
            let entries = fs::read_dir(folder("")).expect("folder").map(|entry| entry.expect("entry").file_name());
            let mut found: Vec<_> = entries.map(|name| name.into_string().expect("utf-8")).collect();
            (known.sort(), found.sort());
            assert_eq!(found, known);
        }
    };
}

/// Control: the same device without an attack.
#[test]
fn no_attack() {
    let scenario = Scenario::new();
    let files = scenario.files("no attack: the release is taken", Reason::BadSignature);
    let dir = folder("no_attack");
    if std::env::var_os("IOTTLY_BLESS").is_some() {
        for (file, bytes) in &files {
            let path = dir.join(file);
            fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
            fs::write(path, bytes).expect("file");
        }
    }
    assert_eq!(attempt(&dir).1.expect("taken"), scenario.content);
}

fn edit(s: &mut Scenario, role: &str, change: impl FnOnce(&mut Value)) {
    let mut document: Value = serde_json::from_slice(&s.repo.bytes(role)).expect("json");
    change(&mut document);
    let version = document["signed"]["version"].as_u64().expect("version");
    s.repo.put(role, version, document.to_string().into_bytes());
}

fn resign(s: &mut Scenario, role: &str, seed: u8) {
    let keys = std::mem::replace(s.repo.keys.get_mut(role).expect("role"), vec![key(seed)]);
    s.repo.publish_as_is(role);
    s.repo.keys.insert(role.to_owned(), keys);
}

attacks! {
    arbitrary_software: "the served file is not the signed one" => DigestMismatch, |s| {
        for bytes in s.repo.server.0.borrow_mut().blobs.values_mut() { bytes[100] ^= 1; }
    };
    truncated_software: "the served file ends early" => DigestMismatch, |s| {
        for bytes in s.repo.server.0.borrow_mut().blobs.values_mut() { bytes.truncate(9000); }
    };
    endless_data: "the served file never ends" => TooLarge, |s| {
        let name = s.repo.server.0.borrow().blobs.keys().next().expect("a target").clone();
        s.endless = Some(name);
    };
    endless_metadata: "the timestamp never ends" => TooLarge, |s| s.endless = Some("timestamp.json".into());
    rollback: "an older timestamp is served again" => Replay, |s| {
        s.repo.publish_all();
        s.repo.refresh(&s.kept).expect("fresh");
        s.repo.timestamp.header.version -= 1;
        s.repo.publish_as_is("timestamp");
    };
    rollback_of_targets: "a newer snapshot names older targets" => Replay, |s| {
        s.repo.refresh(&s.kept).expect("fresh");
        s.repo.targets.get_mut("targets").expect("role").header.version = 1;
        s.repo.publish_as_is("targets");
        s.repo.publish(&["snapshot", "timestamp"]);
    };
    fast_forward: "after a jump to the highest version the real repository cannot continue without new keys" => Replay, |s| {
        let real = s.repo.timestamp.clone();
        s.repo.timestamp.header.version = u64::MAX;
        s.repo.publish_as_is("timestamp");
        s.repo.refresh(&s.kept).expect("with a stolen key");
        s.repo.timestamp = real;
        s.repo.publish(&["timestamp"]);
    };
    freeze: "the same metadata is served forever" => Expired, |s| s.now = NOW.plus(40 * DAY);
    replay_of_a_directive: "a directive that was followed before" => Replay, |s| s.directive.counter = 40;
    old_directive: "a directive that is past its time" => Expired, |s| s.directive.expires = NOW;
    early_directive: "a directive whose time has not come" => Expired, |s| s.directive.not_before = NOW.plus(60);
    mix_and_match: "new targets with an older snapshot" => BadSignature, |s| {
        s.repo.publish(&["targets"]);
        let version = s.repo.targets["targets"].header.version;
        let bytes = s.repo.bytes("targets");
        s.repo.put("targets", version - 1, bytes);
    };
    wrong_device: "a directive for another device" => Incompatible, |s| {
        s.directive.audience = Audience::Device(DeviceId::from_bytes([9; 16]));
    };
    wrong_project: "a directive of another project" => Incompatible, |s| s.directive.project = ProjectId::from_bytes([9; 12]);
    wrong_profile: "a release for other boards" => Incompatible, |s| s.release(|m| m.boards = vec!["raspberry-pi-4".into()]);
    wrong_interface: "a release for a newer interface" => Incompatible, |s| {
        s.release(|m| (m.abi.min, m.abi.max) = ("0.2".into(), "0.9".into()));
    };
    wider_capabilities: "a release with a capability that is not approved" => Incompatible, |s| {
        s.release(|m| m.capabilities.push("uart".into()));
    };
    below_the_floor: "a release that is signed, but below the floor" => BelowFloor, |s| {
        s.facts.floor = 6;
        s.directive.action = Action::Downgrade;
    };
    older_release: "an older release without a directive to downgrade" => Replay, |s| s.facts.running_seq = 6;
    another_release: "the directive names another file than the signed one" => DigestMismatch, |s| s.directive.sha256 = "55".repeat(32);
    no_room: "more than there is room for" => NoSpace, |s| s.release(|m| m.requires_free = 2 << 20);
    oversized_component: "a signed release that is larger than a device takes" => TooLarge, |s| {
        // The served file is small: a device that downloaded it would report another digest.
        s.release(|m| m.chunk_size = 1 << 20);
        let targets = s.repo.targets.get_mut("targets").expect("role");
        targets.targets.get_mut(TARGET).expect("target").length = MAX_COMPONENT_BYTES as u64 + 1;
        s.repo.publish_all();
        s.facts.free = 1 << 40;
    };
    rolled_back_before: "a release that was rolled back here" => Quarantined, |s| s.facts.quarantined.push(s.directive.sha256.clone());
    unknown_critical_field: "a manifest with a rule that this device does not know" => Incompatible, |s| {
        s.release(|m| { m.extra.insert("only_on_sundays".into(), true.into()); m.critical.push("only_on_sundays".into()); });
    };
    threshold_minus_one: "targets need two keys, one has signed" => BadSignature, |s| {
        s.repo.set_keys("targets", &[key(4), key(40)], 2);
        s.repo.publish(&["root"]);
        s.repo.keys.insert("targets".into(), vec![key(4)]);
        s.repo.publish_all();
    };
    duplicate_key_id: "a root that names one key twice to reach a threshold" => BadSignature, |s| {
        let id = key(4).public().id();
        s.repo.root.roles.insert("targets".into(), RoleKeys::new(vec![id.clone(), id], 2));
        s.repo.publish(&["root"]);
    };
    one_key_two_ids: "one key under two ids to reach a threshold" => BadSignature, |s| {
        s.repo.root.keys.insert("twin".into(), key(4).public());
        s.repo.root.roles.insert("targets".into(), RoleKeys::new(vec![key(4).public().id(), "twin".into()], 2));
        s.repo.publish(&["root"]);
        s.repo.publish_all();
        edit(s, "targets", |document| {
            let sig = document["signatures"][0]["sig"].clone();
            document["signatures"].as_array_mut().expect("list").push(json!({"keyid": "twin", "sig": sig}));
        });
    };
    duplicate_signature: "one signature twice" => BadSignature, |s| edit(s, "targets", |document| {
        let first = document["signatures"][0].clone();
        document["signatures"].as_array_mut().expect("list").push(first);
    });
    wrong_root_chain: "a root that only its own new keys have signed" => UnknownKey, |s| {
        s.repo.set_keys("root", &[key(66)], 1);
        s.repo.publish(&["root"]);
    };
    skipped_root: "a root two versions ahead" => BadSignature, |s| {
        s.repo.root.header.version += 1;
        s.repo.publish(&["root"]);
        let version = s.repo.root.header.version;
        s.repo.put("root", version - 1, s.repo.bytes("root"));
    };
    expired_root: "the last root is past its time" => Expired, |s| { s.repo.root.header.expires = NOW; s.repo.publish(&["root"]); };
    expired_timestamp: "the timestamp is past its time" => Expired, |s| { s.repo.timestamp.header.expires = NOW; s.repo.publish_all(); };
    expired_snapshot: "the snapshot is past its time" => Expired, |s| { s.repo.snapshot.header.expires = NOW; s.repo.publish_all(); };
    expired_targets: "the targets are past their time" => Expired, |s| {
        s.repo.targets.get_mut("targets").expect("role").header.expires = NOW;
        s.repo.publish_all();
    };
    unknown_role_key: "targets signed by a key that no root names" => UnknownKey, |s| { resign(s, "targets", 77); };
    stolen_online_keys: "snapshot, timestamp and directive keys are stolen: targets signed with them are nothing" => UnknownKey, |s| {
        let forged = TargetFile::of(b"malware");
        s.directive.sha256 = forged.hashes["sha256"].clone();
        s.repo.targets.get_mut("targets").expect("role").targets.insert(TARGET.into(), forged);
        s.repo.keys.insert("targets".into(), vec![key(2), key(3), key(5)]);
        s.repo.publish_all();
    };
    directive_by_another_key: "a directive signed by the timestamp's key" => UnknownKey, |s| s.signers = vec![key(2)];
    directive_without_domain: "the directive key has signed other bytes" => BadSignature, |s| {
        let signed = serde_json::to_value(&s.directive).expect("json");
        s.raw_directive = Some(iottly_protocol::tuf::sign_value(&signed, &[&key(5)]).expect("signed"));
    };
    changed_directive: "a directive with another counter than was signed" => BadSignature, |s| {
        let text = String::from_utf8(s.signed_directive()).expect("text");
        s.raw_directive = Some(text.replace("\"counter\":41", "\"counter\":42").into_bytes());
    };
    trailing_bytes: "a second document behind the timestamp" => BadSignature, |s| {
        let mut bytes = s.repo.bytes("timestamp");
        bytes.extend_from_slice(b"{}");
        s.repo.put("timestamp", 0, bytes);
    };
    repeated_field: "a field twice: one for the verifier, one for the reader" => BadSignature, |s| {
        let text = String::from_utf8(s.repo.bytes("timestamp")).expect("text");
        let doubled = text.replacen("\"version\":", "\"version\":99,\"version\":", 1);
        assert_ne!(doubled, text);
        s.repo.put("timestamp", 0, doubled.into_bytes());
    };
    wrong_kind: "a snapshot in the timestamp's place, signed by its key" => BadSignature, |s| {
        let mut forged = s.repo.timestamp.clone();
        forged.header = Header::new(Kind::Snapshot, 9, NOW.plus(DAY));
        let bytes = iottly_protocol::tuf::sign(&forged, &[&key(2)]).expect("signed");
        s.repo.put("timestamp", 0, bytes);
    };
}
