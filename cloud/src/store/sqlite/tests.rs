use iottly_protocol::{MessageKind, StreamClass};
use serde_json::value::to_raw_value;

use super::*;
use crate::command::seeded_definitions;
use crate::ingest::{Entry, UploadBody};
use crate::model::{Cursor, ORPHANED, Scopes};

struct Setup {
    folder: tempfile::TempDir,
    store: SqliteStore,
    scope: Scope,
}

async fn setup() -> Setup {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&folder.path().join("cloud.db")).await.expect("opens");
    let scope = Scope { project: ProjectId::from_bytes([1; 12]), device: DeviceId::from_bytes([1; 16]) };
    project(&store, 1).await;
    device(&store, scope).await.expect("created");
    Setup { folder, store, scope }
}

async fn project(store: &SqliteStore, byte: u8) {
    let project = Project { id: ProjectId::from_bytes([byte; 12]), name: format!("p{byte}"), created: 0, retention_days: None };
    store.create_project(&project, GroupId::from_bytes([byte; 16]), &seeded_definitions()).await.expect("created");
}

async fn device(store: &SqliteStore, scope: Scope) -> Result<()> {
    let group = GroupId::from_bytes([scope.project.as_bytes()[0]; 16]);
    store.create_device(&NewDevice { scope, name: "d".into(), group, secret: SecretHash::of(b"secret") }).await
}

fn message(n: u64) -> std::result::Result<Entry, String> {
    let payload = to_raw_value(&n).expect("a number");
    Ok(Entry::Message { kind: MessageKind::UserDefined, at: 7, channel: Some("c".into()), payload })
}

fn upload(scope: Scope, stream: u8, first: u64, n: u64, received: UnixMs) -> Upload {
    let body = UploadBody::Records { first, records: (first..first + n).map(message).collect() };
    Upload { scope, stream: StreamId::from_bytes([stream; 16]), received, body }
}

#[tokio::test]
async fn what_is_written_is_there_after_reopening() {
    let Setup { folder, store, scope } = setup().await;
    let token = crate::auth::mint_token(scope.project, "t", Scopes::PROJECT, Some(9), 1).expect("randomness").token;
    store.create_token(SecretHash([3; 32]), &token).await.expect("created");
    store.create_group(scope.project, GroupId::from_bytes([9; 16]), "a group", "main").await.expect("created");
    let outcomes = store.ingest(vec![upload(scope, 1, 1, 200, 1_000)]).await.expect("commits");
    assert_eq!((outcomes[0].upto, outcomes[0].stored.len()), (200, 200));
    store.close().await;
    assert!(store.projects().await.is_err() && store.expire_commands(0).await.is_err(), "closed is closed");

    let store = SqliteStore::open(&folder.path().join("cloud.db")).await.expect("opens again");
    assert_eq!(store.projects().await.expect("reads").len(), 1);
    assert_eq!(store.token(SecretHash([3; 32])).await.expect("reads"), Some(token));
    assert_eq!(store.token(SecretHash([4; 32])).await.expect("reads"), None);
    assert_eq!(store.definitions(scope.project).await.expect("reads"), seeded_definitions());
    let groups = store.groups(scope.project).await.expect("reads");
    assert_eq!(groups.iter().map(|group| group.name.as_str()).collect::<Vec<_>>(), [ORPHANED, "a group"]);
    assert_eq!(groups[0].boards, [scope.device]);
    let (found, secret) = store.device_credentials(scope.device).await.expect("reads").expect("exists");
    assert!(found == scope && secret.matches(&SecretHash::of(b"secret")) && !secret.matches(&SecretHash::of(b"other")));
    assert_eq!(store.stream_upto(scope, StreamId::from_bytes([1; 16])).await.expect("reads"), 200);
    let again = store.ingest(vec![upload(scope, 1, 101, 150, 2_000)]).await.expect("commits");
    assert_eq!((again[0].upto, again[0].stored.len()), (250, 50), "duplicates are known after a restart");
    let newest = &store.scan(scope, ScanBounds::default(), 1).await.expect("reads")[0];
    assert_eq!((newest.payload.get(), newest.channel.as_deref(), newest.device_timestamp), ("250", Some("c"), 7));
    assert_eq!(newest.origin, Some((StreamId::from_bytes([1; 16]), 250)));
}

#[tokio::test]
async fn names_and_ids_are_taken_once() {
    let Setup { folder: _folder, store, scope } = setup().await;
    let project = Project { id: scope.project, name: "again".into(), created: 0, retention_days: None };
    let taken = store.create_project(&project, GroupId::random(), &[]).await.expect_err("taken");
    assert_eq!(taken.to_string(), r#"project "010101010101010101010101" exists already"#);
    assert!(matches!(device(&store, scope).await, Err(StoreError::Exists { what: "device", .. })));
    let orphaned = store.create_group(scope.project, GroupId::random(), ORPHANED, "").await;
    assert!(matches!(orphaned, Err(StoreError::Exists { what: "deployment group", .. })));
    assert_eq!(store.projects().await.expect("reads").len(), 1, "a refused project leaves nothing behind");
}

#[tokio::test]
async fn pages_meet_without_overlap_whatever_the_timestamps() {
    let Setup { folder: _folder, store, scope } = setup().await;
    // Several messages a millisecond, and a clock that steps back far enough to be followed.
    let times = [5_000, 5_000, 5_001, 9_000, 1_000, 1_000, 2_000];
    for (index, received) in times.into_iter().enumerate() {
        store.ingest(vec![upload(scope, 1, index as u64 * 3 + 1, 3, received)]).await.expect("commits");
    }
    let all = store.scan(scope, ScanBounds::default(), 1_000).await.expect("reads");
    assert_eq!(all.len(), 21);
    assert!(all.windows(2).all(|pair| (pair[0].timestamp, pair[0].id) > (pair[1].timestamp, pair[1].id)));
    for size in 1..=6 {
        let (mut before, mut paged) = (None, Vec::new());
        loop {
            let page = store.scan(scope, ScanBounds { before, ..ScanBounds::default() }, size).await.expect("reads");
            let Some(last) = page.last() else { break };
            before = Some(Cursor { timestamp: last.timestamp, id: last.id });
            paged.extend(page.into_iter().map(|message| message.id));
        }
        assert_eq!(paged, all.iter().map(|message| message.id).collect::<Vec<_>>(), "pages of {size}");
    }
    let bounds = ScanBounds { from: Some(2_000), to: Some(5_000), before: None };
    let within = store.scan(scope, bounds, 1_000).await.expect("reads");
    assert_eq!(within.len(), all.iter().filter(|m| (2_000..=5_000).contains(&m.timestamp)).count());
}

#[tokio::test]
async fn presence_is_written_once_per_change() {
    let Setup { folder: _folder, store, scope } = setup().await;
    assert!(store.set_presence(scope, false, None, 1).await.expect("writes").is_none());
    let told = store.set_presence(scope, true, Some("1.0"), 2).await.expect("writes").expect("a change");
    assert_eq!(told.payload.get(), r#"{"connectionstatus":"connected"}"#);
    assert!(store.set_presence(scope, true, Some("1.1"), 3).await.expect("writes").is_none());
    let device = store.device(scope).await.expect("reads").expect("exists");
    assert_eq!((device.online, device.online_since, device.agent_version.as_str()), (true, Some(2), "1.1"));
    assert_eq!(store.online_devices().await.expect("reads"), [scope]);
    assert_eq!(store.scan(scope, ScanBounds::default(), 10).await.expect("reads").len(), 1);
    let stranger = Scope { project: ProjectId::from_bytes([2; 12]), ..scope };
    assert!(store.set_presence(stranger, false, None, 4).await.expect("writes").is_none(), "another tenant changes nothing");
}

#[tokio::test]
async fn a_device_id_belongs_to_one_project() {
    let Setup { folder: _folder, store, scope } = setup().await;
    project(&store, 2).await;
    let copied = Scope { project: ProjectId::from_bytes([2; 12]), ..scope };
    assert!(matches!(device(&store, copied).await, Err(StoreError::Exists { .. })));
    let group = GroupId::from_bytes([2; 16]);
    let scope = Scope { device: DeviceId::random(), ..scope };
    let foreign = NewDevice { scope, name: "d".into(), group, secret: SecretHash([0; 32]) };
    assert!(store.create_device(&foreign).await.is_err(), "a group of another project");
}

#[tokio::test]
async fn forgotten_streams_are_the_oldest() {
    let Setup { folder: _folder, store, scope } = setup().await;
    for stream in 0..80 {
        store.ingest(vec![upload(scope, stream, 1, 1, 1_000 + i64::from(stream))]).await.expect("commits");
    }
    let upto = async |stream: u8| store.stream_upto(scope, StreamId::from_bytes([stream; 16])).await.expect("reads");
    assert_eq!((upto(15).await, upto(16).await, upto(79).await), (0, 1, 1));
}

#[tokio::test]
async fn a_damaged_row_is_named_and_its_neighbours_work() {
    let Setup { folder, store, scope } = setup().await;
    store.ingest(vec![upload(scope, 1, 1, 3, 1_000), upload(scope, 2, 1, 3, 1_000)]).await.expect("commits");
    let options = SqliteConnectOptions::new().filename(folder.path().join("cloud.db"));
    let mut vandal = SqliteConnection::connect_with(&options).await.expect("connects");
    sqlx::query("UPDATE streams SET recent = x'00' WHERE stream = $1")
        .bind(&[1u8; 16][..])
        .execute(&mut vandal)
        .await
        .expect("writes");
    let error = store.ingest(vec![upload(scope, 1, 4, 1, 2_000)]).await.expect_err("unreadable");
    assert_eq!(error.to_string(), "streams holds an unreadable recent: 1 bytes are not whole items");
    let announce = UploadBody::Announce { class: StreamClass::History, oldest: 4, next: 4 };
    let other = Upload { body: announce, ..upload(scope, 2, 4, 0, 2_000) };
    assert_eq!(store.ingest(vec![other]).await.expect("commits")[0].upto, 3);
}

#[tokio::test]
async fn a_newer_schema_is_not_touched() {
    let Setup { folder, store, .. } = setup().await;
    store.close().await;
    let path = folder.path().join("cloud.db");
    let mut newer = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&path)).await.expect("connects");
    sqlx::query("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', 1, x'00', 0)")
        .execute(&mut newer)
        .await
        .expect("writes");
    newer.close().await.expect("closes");
    let Err(error) = SqliteStore::open(&path).await else { panic!("must not open") };
    assert!(error.to_string().contains("9999"), "{error}");
}

/// What the first schema held of one tenant, as its own program wrote it.
const FIRST_SCHEMA: &str = r#"
    INSERT INTO projects VALUES (x'010101010101010101010101', 'old');
    INSERT INTO groups (project, id, name) VALUES (x'010101010101010101010101', x'01010101010101010101010101010101', '_orphaned');
    INSERT INTO devices (project, id, group_id, name, secret) VALUES (x'010101010101010101010101',
        x'01010101010101010101010101010101', x'01010101010101010101010101010101', 'd', zeroblob(32));
    INSERT INTO tokens VALUES (zeroblob(32), x'010101010101010101010101', 'old token');
    INSERT INTO tokens VALUES (x'0101010101010101010101010101010101010101010101010101010101010101', x'010101010101010101010101', 'b');
    INSERT INTO definitions VALUES (x'010101010101010101010101', 'echo',
        '{"cmd_type":"echo","description":"","direction":"command","options":[{"key":"content","type":"FixedValue","value":"v"}]}');
    INSERT INTO commands (project, device, id, cmd_type, body, status, created, expires, changed) VALUES (x'010101010101010101010101',
        x'01010101010101010101010101010101', x'02020202020202020202020202020202', 'echo', '{"content":"v"}', 0, 5, 9, 5);
"#;

#[tokio::test]
async fn a_populated_first_schema_is_brought_up_to_date() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cloud.db");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut old = SqliteConnection::connect_with(&options).await.expect("connects");
    migrations::run_first(&mut old, 1).await.expect("applies");
    sqlx::raw_sql(FIRST_SCHEMA).execute(&mut old).await.expect("writes");
    old.close().await.expect("closes");

    let store = SqliteStore::open(&path).await.expect("opens");
    let scope = Scope { project: ProjectId::from_bytes([1; 12]), device: DeviceId::from_bytes([1; 16]) };
    let tokens = store.tokens(scope.project).await.expect("reads");
    assert_eq!(tokens.len(), 2);
    assert!(
        tokens[0].id != tokens[1].id && tokens.iter().all(|token| token.scopes == Scopes::PROJECT && token.is_live(i64::MAX))
    );
    assert_eq!(store.definition(scope.project, "echo").await.expect("reads").expect("kept").options[0].key, "content");
    assert_eq!(store.open_commands(scope).await.expect("reads").len(), 1);
    assert_eq!(store.device(scope).await.expect("reads").expect("kept").tags, Vec::<String>::new());
    let snippets = store.snippets(scope.project, crate::model::MAIN_BRANCH).await.expect("reads").expect("a branch");
    assert_eq!(snippets.iter().map(|snippet| snippet.name.as_str()).collect::<Vec<_>>(), ["global", "init", "loop", "echo"]);
    store.close().await;
    let store = SqliteStore::open(&path).await.expect("opens again");
    let again = store.snippets(scope.project, crate::model::MAIN_BRANCH).await.expect("reads").expect("a branch");
    assert_eq!(again, snippets, "a second start changes nothing");
}

#[tokio::test]
async fn a_change_that_fails_leaves_nothing() {
    let Setup { folder: _folder, store, scope } = setup().await;
    let by: Principal = crate::auth::mint_token(scope.project, "t", Scopes::PROJECT, None, 1).expect("randomness").token.into();
    let other = DeviceId::from_bytes([7; 16]);
    store.create_group(scope.project, GroupId::from_bytes([9; 16]), "g", "").await.expect("created");
    let members = vec![scope.device, other];
    let error = store
        .change(scope.project, &by, Change::MoveDevices(GroupId::from_bytes([9; 16]), members), 5)
        .await
        .expect_err("unknown");
    assert_eq!(error.to_string(), format!("device \"{other}\" is unknown in this project"));
    assert_eq!(
        store.device(scope).await.expect("reads").expect("exists").group,
        GroupId::from_bytes([1; 16]),
        "all of them or none"
    );
    assert!(store.audit(scope.project, None, 10).await.expect("reads").is_empty());
    let stranger = ProjectId::from_bytes([2; 12]);
    let missing = store.change(stranger, &by, Change::RenameProject("x".into()), 5).await;
    assert!(matches!(missing, Err(StoreError::Missing { what: "project", .. })));
}

#[tokio::test]
async fn data_of_a_deleted_device_goes_in_steps_and_late_records_with_it() {
    let Setup { folder: _folder, store, scope } = setup().await;
    let by: Principal = crate::auth::mint_token(scope.project, "t", Scopes::PROJECT, None, 1).expect("randomness").token.into();
    store.ingest(vec![upload(scope, 1, 1, 25, 1_000)]).await.expect("commits");
    store.change(scope.project, &by, Change::DeleteDevice(scope.device), 2_000).await.expect("deletes");
    let mut steps = 0;
    while store.erase_step(3_000, 10).await.expect("erases") {
        steps += 1;
    }
    assert_eq!(steps, 3);
    // What was on its way when the device was deleted.
    store.ingest(vec![upload(scope, 1, 26, 1, 3_000)]).await.expect("commits");
    assert!(store.erase_step(70_000, 10).await.expect("erases"));
    assert!(!store.erase_step(70_000, 10).await.expect("erases"));
    assert!(store.scan(scope, ScanBounds::default(), 10).await.expect("reads").is_empty());
    store.ingest(vec![upload(scope, 1, 1, 1, 80_000)]).await.expect("commits");
    assert!(!store.erase_step(200_000, 10).await.expect("erases"), "the mark is gone once it has settled");
}

#[tokio::test]
async fn messages_older_than_their_project_keeps_go() {
    let Setup { folder: _folder, store, scope } = setup().await;
    let by: Principal = crate::auth::mint_token(scope.project, "t", Scopes::PROJECT, None, 1).expect("randomness").token.into();
    let day = 24 * 60 * 60 * 1000;
    store.ingest(vec![upload(scope, 1, 1, 7, day), upload(scope, 1, 8, 3, 5 * day)]).await.expect("commits");
    let count = async || store.scan(scope, ScanBounds::default(), 100).await.expect("reads").len();
    crate::housekeeping::retain(&store, 9 * day).await.expect("looks");
    assert_eq!(count().await, 10, "for ever unless it is set");
    assert_eq!(store.change(scope.project, &by, Change::SetRetention(Some(5)), 5).await.expect("sets").affected, 1);
    assert_eq!(store.change(scope.project, &by, Change::SetRetention(Some(5)), 5).await.expect("sets").affected, 0);
    crate::housekeeping::retain(&store, 9 * day).await.expect("deletes");
    assert_eq!(count().await, 3);
    let again = store.ingest(vec![upload(scope, 1, 1, 10, 9 * day)]).await.expect("commits");
    assert!(again[0].stored.is_empty(), "what was deleted does not come again");
}
