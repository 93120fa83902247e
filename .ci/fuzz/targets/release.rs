//! Directives, developer orders, release manifests, chunk lists and firmware manifests.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use iottly_protocol::release::{ChunkList, DeveloperOrder, Directive, Release};
use iottly_protocol::tuf::{Header, Instant, Kind, RoleKeys, Root, Schemes, SigningKey, TargetFile};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_secret(&[7; 32]));

static ROOT: LazyLock<Root> = LazyLock::new(|| Root {
    header: Header::new(Kind::Root, 1, Instant::from_unix(1_900_000_000)),
    consistent_snapshot: Some(true),
    keys: [(KEY.public().id(), KEY.public())].into(),
    roles: BTreeMap::from([("root".to_owned(), RoleKeys::new(vec![KEY.public().id()], 1))]),
    extra: serde_json::from_value(json!({
        "x-iottly-roles": {
            "directive": { "keyids": [KEY.public().id()], "threshold": 1 },
            "developer": { "keyids": [KEY.public().id()], "threshold": 1 }
        }
    }))
    .expect("an object"),
});

fuzz_target!(|bytes: &[u8]| {
    let _ = Directive::verify(bytes, &ROOT, Schemes::ED25519);
    // What parses as a directive and is signed by the right key is read back as it was.
    if let Ok(directive) = serde_json::from_slice::<Directive>(bytes)
        && let Ok(signed) = directive.sign(&[&KEY])
        && let Ok(read) = Directive::verify(&signed, &ROOT, Schemes::ED25519)
    {
        assert_eq!(format!("{read:?}"), format!("{directive:?}"));
    }
    let _ = DeveloperOrder::verify(bytes, &ROOT, Schemes::ED25519);
    if let Ok(order) = serde_json::from_slice::<DeveloperOrder>(bytes)
        && let Ok(signed) = order.sign(&[&KEY])
        && let Ok(read) = DeveloperOrder::verify(&signed, &ROOT, Schemes::ED25519)
    {
        assert_eq!(format!("{read:?}"), format!("{order:?}"));
    }
    if let Ok(file) = serde_json::from_slice::<TargetFile>(bytes)
        && let Ok(release) = Release::from_target("app/main/1.wasm", &file)
    {
        // Every byte is in exactly one part.
        let parts = release.chunk_count();
        if parts > 0 {
            assert_eq!(release.chunk_range(0).0, 0);
            let _ = release.chunk_range(parts - 1);
        }
    }
    if let Some(list) = ChunkList::decode(bytes) {
        assert_eq!(list.encode(), bytes);
        let _ = list.root();
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(manifest) = iottly_manifest::Manifest::parse(text)
    {
        let _ = manifest.interfaces().map(|interface| manifest.capabilities.labels(interface).len()).sum::<usize>();
    }
    let _ = iottly_manifest::extract(bytes);
});
