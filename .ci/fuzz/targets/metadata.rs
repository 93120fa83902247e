//! Repository metadata as an attacker would write it: unsigned, and signed by keys that the device trusts.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use iottly_protocol::tuf::{
    FileInfo, Header, Instant, Kind, RoleKeys, Root, Schemes, SigningKey, Snapshot, Timestamp, Trusted, canonical, sign, sign_value,
};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const NOW: Instant = Instant::from_unix(1_800_000_000);

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_secret(&[7; 32]));

/// A root, a timestamp and a snapshot that one key has signed.
static BEFORE: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| {
    let header = |kind| Header::new(kind, 1, NOW.plus(86_400));
    let keys = || RoleKeys::new(vec![KEY.public().id()], 1);
    let root = Root {
        header: header(Kind::Root),
        consistent_snapshot: Some(true),
        keys: [(KEY.public().id(), KEY.public())].into(),
        roles: ["root", "timestamp", "snapshot", "targets"].map(|role| (role.to_owned(), keys())).into(),
        extra: BTreeMap::new(),
    };
    let meta = |name: &str| BTreeMap::from([(name.to_owned(), FileInfo::of_version(1))]);
    let timestamp = Timestamp { header: header(Kind::Timestamp), meta: meta("snapshot.json"), extra: BTreeMap::new() };
    let snapshot = Snapshot { header: header(Kind::Snapshot), meta: meta("targets.json"), extra: BTreeMap::new() };
    let signed = "metadata of integers and texts has a canonical form";
    [sign(&root, &[&KEY]).expect(signed), sign(&timestamp, &[&KEY]).expect(signed), sign(&snapshot, &[&KEY]).expect(signed)]
});

/// Gives the bytes to every role.
fn offer(bytes: &[u8]) {
    let [root, timestamp, snapshot] = &*BEFORE;
    let trusted = || Trusted::new(root, NOW, Schemes::ED25519).expect("our own root");
    let _ = Trusted::new(bytes, NOW, Schemes::ED25519);
    let _ = trusted().update_root(bytes);
    let _ = trusted().update_timestamp(bytes);
    let mut at_snapshot = trusted();
    at_snapshot.update_timestamp(timestamp).expect("our own timestamp");
    let _ = at_snapshot.update_snapshot(bytes);
    let mut at_targets = trusted();
    at_targets.update_timestamp(timestamp).expect("our own timestamp");
    at_targets.update_snapshot(snapshot).expect("our own snapshot");
    let _ = at_targets.update_targets(bytes, "targets", "root");
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(written) = canonical(bytes) else { return offer(bytes) };
    // The canonical form has control characters as they are, which JSON does not allow in texts: such a form is signed, never read.
    if written.iter().all(|byte| *byte >= 0x20) {
        assert_eq!(canonical(&written).ok().as_ref(), Some(&written), "the canonical form is its own");
    }
    offer(bytes);
    if let Ok(signed) = serde_json::from_slice::<Value>(bytes)
        && let Ok(signed) = sign_value(&signed, &[&KEY])
    {
        offer(&signed);
    }
});
