//! Time in which a device verifies a repository's metadata and a target of one megabyte.
//!
//! `cargo bench -p iottly-protocol --bench verify` prints the median and the slowest of 200 rounds.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::{Cursor, Write as _};
use std::time::{Duration, Instant as Stopwatch};

use iottly_protocol::tuf::{
    CheckedReader, FileInfo, Header, Instant, Kind, RoleKeys, Root, Schemes, SigningKey, Snapshot,
    TargetFile, Targets, Timestamp, Trusted, sign,
};

const ROUNDS: usize = 200;
const NOW: Instant = Instant::from_unix(1_800_000_000);

struct Signed {
    root: Vec<u8>,
    timestamp: Vec<u8>,
    snapshot: Vec<u8>,
    targets: Vec<u8>,
    content: Vec<u8>,
    file: TargetFile,
}

/// Returns a repository with 2-of-3 keys for root and targets and 100 releases.
fn repository() -> Signed {
    let expires = NOW.plus(86_400);
    let keys: Vec<SigningKey> = (1..=8).map(|seed| SigningKey::from_secret(&[seed; 32])).collect();
    let role = |keys: &[SigningKey], threshold| {
        RoleKeys::new(keys.iter().map(|key| key.public().id()).collect(), threshold)
    };
    let root = Root {
        header: Header::new(Kind::Root, 1, expires),
        consistent_snapshot: Some(true),
        keys: keys.iter().map(|key| (key.public().id(), key.public())).collect(),
        roles: BTreeMap::from([
            ("root".to_owned(), role(&keys[..3], 2)),
            ("targets".to_owned(), role(&keys[3..6], 2)),
            ("snapshot".to_owned(), role(&keys[6..7], 1)),
            ("timestamp".to_owned(), role(&keys[7..], 1)),
        ]),
        extra: BTreeMap::new(),
    };
    let content: Vec<u8> = (0..250_000u32).flat_map(u32::to_be_bytes).collect();
    let file = TargetFile::of(&content);
    let header = Header::new(Kind::Targets, 1, expires);
    let releases = (0..100)
        .map(|n| (format!("app/main/{n}.wasm"), file.clone()))
        .collect();
    let targets = Targets {
        header,
        targets: releases,
        delegations: None,
        extra: BTreeMap::new(),
    };
    let meta = |name: &str| BTreeMap::from([(name.to_owned(), FileInfo::of_version(1))]);
    let header = Header::new(Kind::Snapshot, 1, expires);
    let snapshot = Snapshot {
        header,
        meta: meta("targets.json"),
        extra: BTreeMap::new(),
    };
    let header = Header::new(Kind::Timestamp, 1, expires);
    let timestamp = Timestamp {
        header,
        meta: meta("snapshot.json"),
        extra: BTreeMap::new(),
    };
    Signed {
        root: sign(&root, &[&keys[0], &keys[1]]).expect("signed"),
        timestamp: sign(&timestamp, &[&keys[7]]).expect("signed"),
        snapshot: sign(&snapshot, &[&keys[6]]).expect("signed"),
        targets: sign(&targets, &[&keys[3], &keys[4]]).expect("signed"),
        content,
        file,
    }
}

fn verify(signed: &Signed) {
    let mut trusted = Trusted::new(&signed.root, NOW, Schemes::ED25519).expect("root");
    trusted.update_timestamp(&signed.timestamp).expect("timestamp");
    trusted.update_snapshot(&signed.snapshot).expect("snapshot");
    let targets = trusted
        .update_targets(&signed.targets, "targets", "root")
        .expect("targets");
    assert!(targets.targets.contains_key("app/main/7.wasm"));
    let mut reader =
        CheckedReader::new(Cursor::new(&signed.content), "target", &signed.file).expect("digest");
    let mut buffer = vec![0; 64 << 10];
    while reader.read(&mut buffer).expect("as signed") > 0 {}
    reader.finish().expect("as signed");
}

#[expect(clippy::disallowed_methods, reason = "measures the bench")]
fn main() {
    let signed = repository();
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let began = Stopwatch::now();
            verify(black_box(&signed));
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let median = ms(times[ROUNDS / 2]);
    let slowest = ms(times[ROUNDS - 1]);
    let line = format!(
        "metadata and a 1 MB target verified: median {median:.2} ms, slowest {slowest:.2} ms of {ROUNDS}\n"
    );
    std::io::stdout()
        .write_all(line.as_bytes())
        .expect("standard output");
}
