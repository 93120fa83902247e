//! Hostile texts of a device in any field: the cloud keeps working for that device and for all others. On
//! both databases.

use crate::cluster;
use crate::device;
use crate::reflect;
use crate::two_tenants::{Setup, new_device, setup};
use std::collections::{BTreeMap, BTreeSet};

use device::{Raw, message};
use iottly_protocol::{
    Batch, Gap, GroupId, Hello, Record, Status, StreamClass, StreamId, Topic, Up, encode_batch,
};
use iottly_store::ScanBounds;
use serde::Deserialize as _;
use serde_json::Value;

/// Returns texts as they are written in JSON, quotes included, each with a description.
fn texts() -> Vec<(&'static str, Vec<u8>)> {
    let quoted = |text: &str| [b"\"", text.as_bytes(), b"\""].concat();
    vec![
        ("NUL", quoted("a\\u0000b")),
        ("only NULs", quoted(&"\\u0000".repeat(32))),
        ("NUL as it is", quoted("a\0b")),
        ("first half of a pair", quoted("a\\ud800")),
        ("second half of a pair", quoted("\\udc00b")),
        ("halves in the wrong order", quoted("\\udc00\\ud800")),
        ("four bytes", quoted("🔥")),
        ("four bytes, escaped", quoted("\\ud83d\\udd25")),
        ("text that turns around", quoted("\u{202e}a\u{2066}b\u{200f}")),
        ("noncharacter", quoted("\u{ffff}\u{fffe}")),
        ("line ends and an escape", quoted("\\r\\n\\u001b[31m")),
        ("64 KiB", quoted(&"x".repeat(64 << 10))),
        ("64 KiB of NULs", quoted(&"\\u0000".repeat(64 << 10))),
        ("no UTF-8", b"\"a\xff\xfeb\"".to_vec()),
        ("empty", quoted("")),
    ]
}

/// Message of the wire with a hole in the place of one of its texts.
enum Case {
    /// Record, for a stream of this class.
    Record(StreamClass, String),
    /// Whole publish.
    Publish(String),
    /// Whole publish that introduces a connection.
    Hello(String),
    Status(String),
}

/// Returns every text of every wire message of devices, each once. The envelope's kinds are not found by
/// reflection; a new one does not compile here.
fn cases() -> Vec<(String, Case)> {
    let kinds = |up: &Up<'_>| match up {
        Up::Hello(_) => "hello",
        Up::Batch(_) => "batch",
        Up::Gap(_) => "gap",
    };
    let mut cases = Vec::new();
    for document in reflect::collect(|tracer| Record::deserialize(tracer).map(drop)) {
        let class = if document.get("message").is_some() {
            StreamClass::History
        } else {
            StreamClass::Control
        };
        cases.extend(named("record", &document, |holed| Case::Record(class, holed)));
    }
    let publishes = [
        ("hello", reflect::documents::<Hello>()),
        ("gap", reflect::documents::<Gap>()),
        (
            "batch",
            reflect::collect(|tracer| Batch::deserialize(tracer).map(drop)),
        ),
    ];
    for (kind, documents) in publishes {
        for document in documents {
            let whole = serde_json::json!({"v": 1, kind: document});
            let text = whole.to_string();
            assert_eq!(
                Up::decode(text.as_bytes()).map(|up| kinds(&up)).ok(),
                Some(kind),
                "{text}"
            );
            cases.extend(named("up", &whole, |holed| match kind {
                "hello" => Case::Hello(holed),
                _ => Case::Publish(holed),
            }));
        }
    }
    for document in reflect::documents::<Status>() {
        cases.extend(named("status", &document, Case::Status));
    }
    let mut known = BTreeSet::new();
    cases.retain(|(name, _)| known.insert(name.clone()));
    cases
}

fn named(what: &str, document: &Value, case: impl Fn(String) -> Case) -> Vec<(String, Case)> {
    reflect::holes(document)
        .into_iter()
        .map(|(path, holed)| (format!("{what}{path}"), case(holed)))
        .collect()
}

#[test]
fn the_cases_are_all_texts_of_all_messages() {
    let names: Vec<_> = cases().into_iter().map(|(name, _)| name).collect();
    for known in [
        "record/message/channel",
        "record/message/payload/key",
        "record/result/detail",
        "record/report/firmware/digest",
        "record/report/firmware/detail",
        "record/report/update/directive",
        "record/report/update/sha256",
        "record/report/update/detail",
        "record/report/update/reason",
        "record/report/facts/board",
        "record/report/facts/capabilities/0",
        "record/report/facts/quarantined/0",
        "record/report/facts/group",
        "record/log/text",
        "record/log/level",
        "up/hello/versions/agent",
        "up/hello/capabilities/0",
        "up/hello/streams/0/class",
        "up/gap/reason",
        "up/batch/stream",
        "status/conn",
    ] {
        assert!(
            names.iter().any(|name| name == known),
            "{known} is missing from {names:#?}"
        );
    }
}

impl Setup {
    /// Sends a hostile message and then a good one; the good one is acknowledged.
    async fn say(&self, device: &mut Raw, case: &Case, literal: &[u8], sent: &mut BTreeMap<StreamId, u64>) {
        let stream = StreamId::random();
        let good = message(2);
        match case {
            Case::Record(class, holed) => {
                let log = r#"{"log":{"level":"info","text":"good","at_ms":1}}"#;
                let good = if *class == StreamClass::History {
                    good.as_str()
                } else {
                    log
                };
                let hostile = reflect::fill(holed, literal);
                // A text that is not JSON at all invalidates the whole publish, and then only the good record
                // counts.
                let is_json = serde_json::from_slice::<&serde_json::value::RawValue>(&hostile).is_ok();
                device
                    .up(encode_batch(stream, 1, [hostile.as_slice(), good.as_bytes()]))
                    .await;
                if !is_json {
                    device
                        .up(encode_batch(stream, 1, [good.as_bytes(), good.as_bytes()]))
                        .await;
                }
                device.acked(stream, 2).await;
                if *class == StreamClass::History {
                    sent.insert(stream, 2);
                }
                return;
            }
            Case::Publish(holed) => device.up(reflect::fill(holed, literal)).await,
            Case::Status(holed) => {
                device
                    .publish(
                        &Topic::Status(device.id).to_string(),
                        reflect::fill(holed, literal),
                        false,
                    )
                    .await;
            }
            Case::Hello(holed) => {
                // The rate of hellos is limited; one of each device is answered at once.
                let mut own = self
                    .connect(new_device(&self.services, self.hostile.project).await)
                    .await;
                own.up(reflect::fill(holed, literal)).await;
                own.up(encode_batch(stream, 1, [good.as_bytes()])).await;
                own.acked(stream, 1).await;
                own.kill().await;
                return;
            }
        }
        device.up(encode_batch(stream, 1, [good.as_bytes()])).await;
        device.acked(stream, 1).await;
        sent.insert(stream, 1);
    }

    /// Checks that each number of each stream is one entry, or in one gap.
    async fn account(&self, sent: &BTreeMap<StreamId, u64>) {
        let history = self
            .services
            .store
            .scan(self.hostile, ScanBounds::default(), 1_000_000)
            .await
            .expect("reads");
        let mut counts: BTreeMap<(StreamId, u64), u32> = BTreeMap::new();
        for entry in &history {
            if let Some(origin) = entry.origin {
                *counts.entry(origin).or_default() += 1;
                continue;
            }
            let payload: Value = serde_json::from_str(entry.payload.get()).expect("JSON");
            let gap = &payload["gap"];
            let Some(stream) = gap["stream"].as_str().and_then(|text| text.parse().ok()) else {
                continue;
            };
            let range = gap["from"].as_u64().expect("from")..=gap["to"].as_u64().expect("to");
            range.for_each(|seq| *counts.entry((stream, seq)).or_default() += 1);
        }
        for (stream, last) in sent {
            for seq in 1..=*last {
                assert_eq!(counts.get(&(*stream, seq)), Some(&1), "number {seq} of {stream}");
            }
        }
    }
}

async fn whatever_a_device_says(database_url: Option<String>) {
    let data = tempfile::tempdir().expect("a folder");
    let setup = setup(data.path(), database_url).await;
    let (mut hostile, mut other) = (
        setup.connect(setup.hostile).await,
        setup.connect(setup.other).await,
    );
    let (honest, mut seq) = (StreamId::random(), 0);
    let mut sent = BTreeMap::new();
    for (name, case) in cases() {
        for (what, literal) in texts() {
            let told = async {
                setup.say(&mut hostile, &case, &literal, &mut sent).await;
                seq += 1;
                other.batch(honest, seq, 1).await;
                other.acked(honest, seq).await;
            };
            let told = tokio::time::timeout(device::PATIENCE, told).await;
            assert!(told.is_ok(), "{what} in {name} holds up what comes after it");
        }
    }
    setup.account(&sent).await;
    // All stored texts can be read back.
    let store = &setup.services.store;
    for device in store
        .devices(setup.hostile.project)
        .await
        .expect("devices are read")
    {
        assert!(
            store
                .device(device.scope)
                .await
                .expect("a device is read")
                .is_some()
        );
        store.logs(device.scope, 1000).await.expect("logs are read");
    }
    store
        .device_facts(setup.hostile.project, GroupId::from_bytes([1; 16]), None, 100)
        .await
        .expect("facts are read");
    setup.cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_device_says_others_are_served_on_sqlite() {
    whatever_a_device_says(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_device_says_others_are_served_on_postgres() {
    if let Some(url) = cluster::database().await {
        whatever_a_device_says(Some(url)).await;
    }
}
