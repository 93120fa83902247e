//! Series: cost of rolling up as messages are stored, and time of a plot of many devices over a long time.
//!
//! `cargo bench -p iottly-store --bench series -- [--days 90] [--devices 100] [--groups 100]`. SQLite on a real disk. The
//! roll-ups of the plot are made by the database, one a minute and one an hour for each device.
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]
#![allow(clippy::unwrap_used, reason = "a benchmark that fails may panic")]

use std::time::Instant;

use iottly_core::ingest::{Entry, Upload, UploadBody};
use iottly_core::model::{Project, Scope, SecretHash};
use iottly_core::series::{Aggregate, Point, Range, Split, Width, lttb, pieces, thin};
use iottly_protocol::{DeviceId, GroupId, MessageKind, ProjectId, StreamId};
use iottly_store::{Database, LinesQuery, NewDevice, Selection, Store, open};
use serde_json::value::RawValue;
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;
/// Time of the benchmark: the beginning of a day.
const NOW: i64 = 20_700 * DAY;
/// Devices of the ingest, and messages of each in a group.
const SENDERS: u8 = 20;
const EACH: u64 = 50;

fn main() {
    // `cargo test --benches` starts benchmarks with `--test`: it must not measure then.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let (days, devices, groups) = (
        option("--days", 90),
        option("--devices", 100),
        option("--groups", 100),
    );
    let folder = tempfile::Builder::new()
        .prefix("iottly-bench-")
        .tempdir_in(".")
        .unwrap();
    let path = folder.path().join("cloud.db");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (store, _) = open(&Database::File(path.clone())).await.unwrap();
        let project = ProjectId::from_bytes([1; 12]);
        let made = Project {
            id: project,
            name: "p".into(),
            created: 0,
            retention_days: None,
        };
        let group = GroupId::from_bytes([1; 16]);
        store.create_project(&made, group, &[]).await.unwrap();
        for n in 0..devices.max(u64::from(SENDERS)) {
            let scope = Scope {
                project,
                device: device(n),
            };
            let secret = SecretHash::of(b"secret");
            store
                .create_device(&NewDevice {
                    scope,
                    name: format!("d{n}"),
                    group,
                    secret,
                })
                .await
                .unwrap();
        }
        println!("| {groups} groups of 1,000 messages of {SENDERS} devices | messages/s |\n|---|---|");
        let texts = ingest(store.as_ref(), project, 1, groups, r#"{"n":"1","t":"21.50"}"#).await;
        println!("| two texts each: nothing to roll up | {texts:.0} |");
        let numbers = ingest(store.as_ref(), project, 2, groups, r#"{"n":100,"t":21.50}"#).await;
        println!("| two numbers each | {numbers:.0} |");
        let began = Instant::now();
        fill(&path, days, devices).await;
        let rows = days * 1440 * devices;
        println!(
            "\n{rows} roll-ups of minutes made in {:.0} s\n\n| plot | ms |\n|---|---|",
            began.elapsed().as_secs_f64()
        );
        for (name, width, step, distributions) in [
            ("hours, average", Width::Hour, Width::Hour.ms(), false),
            ("hours, p95", Width::Hour, Width::Hour.ms(), true),
            (
                "minutes in steps of an hour, average",
                Width::Minute,
                Width::Hour.ms(),
                false,
            ),
        ] {
            let query = LinesQuery {
                path: "plotted".into(),
                selection: Selection::default(),
                split: Split::None,
                width,
                step_ms: step,
                range: Range {
                    from: NOW - days.cast_signed() * DAY,
                    to: NOW,
                },
                distributions,
            };
            let began = Instant::now();
            let lines = store.lines(project, &query).await.unwrap();
            let pieces = pieces(&lines[0], step);
            let buckets = lines[0].buckets.len();
            let points: usize = pieces
                .iter()
                .map(|piece| thin(piece, Aggregate::Avg, buckets, 500).len())
                .sum();
            let took = began.elapsed().as_secs_f64() * 1000.0;
            println!("| {devices} devices, {days} days, one line from {name}: {points} points | {took:.0} |");
        }
        store.close().await;
    });
    let points: Vec<_> = (0..1_000_000)
        .map(|n| Point {
            at: n * 1000,
            value: (n as f64 / 5000.0).sin(),
        })
        .collect();
    let began = Instant::now();
    let kept = lttb(&points, 1000);
    println!(
        "| 1,000,000 points to {} | {:.0} |",
        kept.len(),
        began.elapsed().as_secs_f64() * 1000.0
    );
}

fn option(name: &str, default: u64) -> u64 {
    let mut args = std::env::args().skip_while(|arg| arg != name);
    args.nth(1).map_or(default, |value| value.parse().unwrap())
}

fn device(n: u64) -> DeviceId {
    DeviceId::from_bytes(u128::from(n + 1).to_be_bytes())
}

/// Stores groups of messages; returns the messages per second.
async fn ingest(store: &dyn Store, project: ProjectId, stream: u8, groups: u64, payload: &str) -> f64 {
    let payload = RawValue::from_string(payload.to_owned()).unwrap();
    let began = Instant::now();
    for group in 0..groups {
        let at = NOW + group.cast_signed() * 20;
        let entry = || {
            Ok(Entry::Message {
                kind: MessageKind::UserDefined,
                at,
                channel: None,
                payload: payload.clone(),
                firmware: None,
            })
        };
        let upload = |n: u8| Upload {
            scope: Scope {
                project,
                device: device(u64::from(n)),
            },
            stream: StreamId::from_bytes([stream; 16]),
            received: at,
            body: UploadBody::Records {
                first: group * EACH + 1,
                records: (0..EACH).map(|_| entry()).collect(),
            },
        };
        store.ingest((0..SENDERS).map(upload).collect()).await.unwrap();
    }
    (groups * EACH * u64::from(SENDERS)) as f64 / began.elapsed().as_secs_f64()
}

/// Makes the roll-ups of a path: values around 20, an hour's as many as 60 minutes'.
async fn fill(path: &std::path::Path, days: u64, devices: u64) {
    let mut database = SqliteConnection::connect(&format!("sqlite://{}", path.display()))
        .await
        .unwrap();
    let last = device(devices - 1).to_string().replace('-', "");
    // A distribution as a series of hundreds of values has it: 6 slots.
    let sketch = "acf30406010b0112010a010c0104";
    for (width, steps) in [(MINUTE, days * 1440), (60 * MINUTE, days * 24)] {
        let sql = format!(
            "WITH RECURSIVE t(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM t WHERE n + 1 < {steps}) \
             INSERT INTO rollups SELECT d.project, d.id, 100, {width}, {NOW} - {days} * {DAY} + t.n * {width}, 60, 1200.0 + t.n % 7, 18.0, 22.0, x'{sketch}' \
             FROM devices d CROSS JOIN t WHERE d.id <= x'{last}'"
        );
        sqlx::query(AssertSqlSafe(sql))
            .execute(&mut database)
            .await
            .unwrap();
    }
    let sql = "INSERT INTO series SELECT id, 'plotted', 100, 0 FROM projects";
    sqlx::query(sql).execute(&mut database).await.unwrap();
    database.close().await.unwrap();
}
