//! Lists of the devices of a project with 100,000 devices, and what their indexes cost when devices come and go.
//!
//! `cargo bench -p iottly-store --bench devices -- [DEVICES]`. With `IOTTLY_BENCH_DATABASE_URL` the data is in that PostgreSQL
//! database, which must be empty; otherwise in SQLite, in a folder beside the build. Processor time is that of this process
//! for one call in the mean, so without a PostgreSQL server.
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]
#![allow(clippy::unwrap_used, reason = "a benchmark that fails may panic")]

use std::time::Instant;

use iottly_core::ingest::Write;
use iottly_core::model::{
    Change, NewRollout, Policy, Principal, Project, RolloutId, RolloutKind, Scope, SecretHash, StoredRelease,
};
use iottly_protocol::{DeviceId, GroupId, ProjectId};
use iottly_store::{Database, DeviceNeeds, Store, open};
use sqlx::{AssertSqlSafe, Connection as _};

const DEVICES: usize = 100_000;
const ROUNDS: u32 = 10;
/// Changes of presence of a measurement, and of a transaction.
const CHANGES: usize = 10_000;
const TOGETHER: usize = 100;
const PROJECT: ProjectId = ProjectId::from_bytes([1; 12]);
const GROUP: GroupId = GroupId::from_bytes([1; 16]);
const DIGEST: &str = "5d075d075d075d075d075d075d075d075d075d075d075d075d075d075d075d07";

fn main() {
    // `cargo test --benches` starts benchmarks with `--test`: it must not measure then.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let devices = std::env::args()
        .skip(1)
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(DEVICES);
    let folder = tempfile::Builder::new()
        .prefix("iottly-bench-")
        .tempdir_in(".")
        .unwrap();
    let url = std::env::var("IOTTLY_BENCH_DATABASE_URL").ok();
    let database = match &url {
        Some(url) => Database::Server(url.clone()),
        None => Database::File(folder.path().join("cloud.db")),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (store, _) = open(&database).await.unwrap();
        let raw = match url {
            Some(url) => Raw::Postgres(url),
            None => Raw::Sqlite(folder.path().join("cloud.db").display().to_string()),
        };
        let ids = fill(store.as_ref(), &raw, devices).await;
        println!("| what, of {devices} devices | p50 | slowest | processor time |\n|---|---|---|---|");
        lists(store.as_ref()).await;
        println!("| changes of presence, {TOGETHER} in a transaction | changes/s | processor time of one |\n|---|---|---|");
        presence(store.as_ref(), &ids, "with all indexes", 0).await;
        raw.run("DROP INDEX devices_since").await;
        presence(store.as_ref(), &ids, "without that of migration 32 for the latest", 2).await;
        raw.run(
            "DROP INDEX devices_named; DROP INDEX devices_presence; DROP INDEX devices_secret; DROP INDEX devices_quarantined",
        )
        .await;
        presence(store.as_ref(), &ids, "nor those of migration 31", 4).await;
    });
}

/// The database beside the store.
enum Raw {
    Sqlite(String),
    Postgres(String),
}

impl Raw {
    async fn run(&self, sql: &str) {
        match self {
            Self::Sqlite(path) => {
                let options = sqlx::sqlite::SqliteConnectOptions::new()
                    .filename(path)
                    .busy_timeout(std::time::Duration::from_secs(60));
                let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
                sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
                    .execute(&mut connection)
                    .await
                    .unwrap();
                connection.close().await.unwrap();
            }
            Self::Postgres(url) => {
                let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
                sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
                    .execute(&mut connection)
                    .await
                    .unwrap();
                connection.close().await.unwrap();
            }
        }
    }
}

/// Makes the devices, each in one group and with the report of a firmware, and a rollout that has notified half of them.
async fn fill(store: &dyn Store, raw: &Raw, devices: usize) -> Vec<DeviceId> {
    let made = Project {
        id: PROJECT,
        name: "many".into(),
        created: 0,
        retention_days: None,
    };
    store.create_project(&made, GROUP, &[]).await.unwrap();
    let (quote, end) = match raw {
        Raw::Sqlite(_) => ("x'", "'"),
        Raw::Postgres(_) => ("'\\x", "'"),
    };
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let blob = |bytes: &[u8]| format!("{quote}{}{end}", hex(bytes));
    let ids: Vec<_> = (0..devices).map(|_| DeviceId::random()).collect();
    for (part, ids) in ids.chunks(500).enumerate() {
        let mut rows = Vec::new();
        for (number, id) in ids.iter().enumerate() {
            let (number, secret) = (part * 500 + number, SecretHash([u8::from(number % 2 == 0); 32]));
            let report = format!(r#"{{"state":"running","digest":"{DIGEST}","detail":null,"at_ms":1}}"#);
            rows.push(format!(
                "({}, {}, {}, 'board {number:06}', '{}', {}, '{report}', '{DIGEST}', '[\"attic\"]', {number})",
                blob(PROJECT.as_bytes()),
                blob(id.as_bytes()),
                blob(GROUP.as_bytes()),
                iottly_core::natural_order::key(&format!("board {number:06}")),
                blob(&secret.0),
            ));
        }
        raw.run(&format!(
            "INSERT INTO devices (project, id, group_id, name, name_key, secret, firmware, digest, tags, online_since) VALUES {}",
            rows.join(", ")
        ))
        .await;
    }
    let by = Principal::system(PROJECT, "bench");
    let release = StoredRelease {
        seq: 1,
        path: "app/main/1.wasm".into(),
        branch: "main".into(),
        revision: 1,
        sha256: DIGEST.into(),
        size: 5,
        source: "source".into(),
        capabilities: Vec::new(),
        grace_ms: 7,
        author: "t".into(),
        created: 1,
    };
    let rollout = NewRollout {
        id: RolloutId::from_bytes([1; 16]),
        group: GROUP,
        release: 1,
        kind: RolloutKind::Install,
        policy: Policy::default(),
        approved: Vec::new(),
        force: false,
        note: String::new(),
    };
    for change in [
        Change::AddRelease(Box::new(release)),
        Change::StartRollout(Box::new(rollout)),
    ] {
        store.change(PROJECT, &by, change, 1).await.unwrap();
    }
    let document = "d".repeat(1500);
    raw.run(&format!(
        "INSERT INTO rollout_devices (project, rollout, device, directive, counter, told, state, failures, changed, steps) \
         SELECT d.project, o.id, d.id, 'd', 1, 1, CASE WHEN d.online_since % 50 = 0 THEN 'rejected' ELSE 'committed' END, \
         0, 1, 'offered@1 committed@2 ' FROM devices d JOIN rollouts o ON o.project = d.project WHERE d.online_since % 2 = 0; \
         INSERT INTO rollout_documents (project, rollout, device, document) \
         SELECT project, rollout, device, '{document}' FROM rollout_devices; ANALYZE"
    ))
    .await;
    ids
}

async fn lists(store: &dyn Store) {
    let needs = DeviceNeeds::default();
    let all = DeviceNeeds {
        pair_code: false,
        ..DeviceNeeds::ALL
    };
    let rollout = store
        .rollout(PROJECT, RolloutId::from_bytes([1; 16]))
        .await
        .unwrap()
        .unwrap();
    let rollout = &rollout;
    measure("devices for a filter of names or groups", || {
        store.devices_with(PROJECT, needs)
    })
    .await;
    let needs = DeviceNeeds { tags: true, ..needs };
    measure("devices for a filter of tags", || {
        store.devices_with(PROJECT, needs)
    })
    .await;
    let needs = DeviceNeeds {
        presence: true,
        ..DeviceNeeds::default()
    };
    measure("devices for a filter of presence", || {
        store.devices_with(PROJECT, needs)
    })
    .await;
    let needs = DeviceNeeds {
        firmware: true,
        ..DeviceNeeds::default()
    };
    measure("devices for a filter of firmware", || {
        store.devices_with(PROJECT, needs)
    })
    .await;
    let needs = DeviceNeeds {
        legacy: true,
        ..DeviceNeeds::default()
    };
    measure("devices for a filter of logins", || {
        store.devices_with(PROJECT, needs)
    })
    .await;
    measure("devices for a filter of everything", || {
        store.devices_with(PROJECT, all)
    })
    .await;
    measure("page of 50", || store.device_page(PROJECT, None, 50)).await;
    measure("numbers of devices", || store.device_counts(PROJECT, 1)).await;
    measure("numbers by group", || store.group_counts(PROJECT)).await;
    measure("number of a group", || store.group_size(PROJECT, GROUP)).await;
    measure("page of 1,000 members of a group", || {
        store.group_members(PROJECT, GROUP, None, 1000)
    })
    .await;
    measure("numbers of a group by firmware", || {
        store.group_digests(PROJECT, GROUP, 50)
    })
    .await;
    measure("numbers by 50 releases and group", || {
        store.digest_counts(PROJECT, const { &[DIGEST; 50] })
    })
    .await;
    measure("the 100 latest devices", || store.latest_devices(PROJECT, 100)).await;
    measure("numbers of a rollout", || {
        store.rollout_counts(PROJECT, rollout, None)
    })
    .await;
    measure("numbers of 100 parts of a rollout", || {
        store.rollout_counts(PROJECT, rollout, Some(DEVICES as u64 / 100))
    })
    .await;
    measure("page of 401 of a rollout", || {
        store.rollout_page(PROJECT, rollout, None, None, 401)
    })
    .await;
    measure("100 exceptions of a rollout", || {
        store.rollout_exceptions(PROJECT, rollout, 100)
    })
    .await;
    measure("all devices of a rollout, with what decides", || {
        store.rollout_members(PROJECT, rollout)
    })
    .await;
    measure("1,000 facts of a group", || {
        store.device_facts(PROJECT, GROUP, None, 1000)
    })
    .await;
    measure("all devices, by name", || store.devices(PROJECT)).await;
}

async fn measure<T, F>(what: &str, call: impl Fn() -> F)
where
    F: Future<Output = iottly_store::Result<T>>,
{
    let (mut times, before) = (Vec::new(), processor_time());
    for _ in 0..ROUNDS {
        let began = Instant::now();
        call().await.unwrap();
        times.push(began.elapsed());
    }
    let each = (processor_time() - before) / f64::from(ROUNDS);
    times.sort_unstable();
    let milliseconds = |at: usize| times[at].as_secs_f64() * 1000.0;
    println!(
        "| {what} | {:.1} ms | {:.1} ms | {:.1} ms |",
        milliseconds(times.len() / 2),
        milliseconds(times.len() - 1),
        each * 1000.0
    );
}

/// Connects devices, and disconnects them.
async fn presence(store: &dyn Store, ids: &[DeviceId], what: &str, now: i64) {
    let (began, before) = (Instant::now(), processor_time());
    for online in [true, false] {
        for ids in ids[..CHANGES.min(ids.len()) / 2].chunks(TOGETHER) {
            let write = |id: &DeviceId| Write::Device {
                scope: Scope {
                    project: PROJECT,
                    device: *id,
                },
                at: 200_000 + now + i64::from(!online),
                online: Some(online),
                proof: None,
                agent_version: None,
            };
            store.commit(ids.iter().map(write).collect()).await.unwrap();
        }
    }
    let changes = CHANGES.min(ids.len()) as f64;
    println!(
        "| {what} | {:.0} | {:.0} µs |",
        changes / began.elapsed().as_secs_f64(),
        (processor_time() - before) / changes * 1e6
    );
}

/// Returns the processor time of this process, in seconds.
fn processor_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: f64 = fields
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    ticks / 100.0
}
