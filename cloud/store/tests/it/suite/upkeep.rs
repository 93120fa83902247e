//! Maintenance of a database: retention, erasure, and migrations from the first schema.

use iottly_cloud::housekeeping;
use iottly_core::ingest::{Entry, Upload, UploadBody};
use iottly_core::model::{Change, CommandStatus, MAIN_BRANCH, Scope, Scopes};
use iottly_protocol::{CommandId, CommandResult, CommandState, DeviceId, ProjectId, StreamClass};
use iottly_store as store;
use iottly_store::{Database, ScanBounds, StoreError};

use super::{Setup, principal, upload, vandalise};

pub(crate) async fn data_of_a_deleted_device_goes_in_steps_and_late_records_with_it(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    store
        .ingest(vec![upload(scope, 1, 1, 25, 1_000)])
        .await
        .expect("commits");
    store
        .change(
            scope.project,
            &principal(scope),
            Change::DeleteDevice(scope.device),
            2_000,
        )
        .await
        .expect("deletes");
    let mut steps = 0;
    while store.erase_step(3_000, 10).await.expect("erases") {
        steps += 1;
    }
    assert_eq!(steps, 3);
    // Records that were being stored when the device was deleted.
    store
        .ingest(vec![upload(scope, 1, 26, 1, 3_000)])
        .await
        .expect("commits");
    assert!(store.erase_step(70_000, 10).await.expect("erases"));
    assert!(!store.erase_step(70_000, 10).await.expect("erases"));
    assert!(
        store
            .scan(scope, ScanBounds::default(), 10)
            .await
            .expect("reads")
            .is_empty()
    );
    store
        .ingest(vec![upload(scope, 1, 1, 1, 80_000)])
        .await
        .expect("commits");
    assert!(
        !store.erase_step(200_000, 10).await.expect("erases"),
        "the mark is gone once it has settled"
    );
}

pub(crate) async fn a_deleted_project_leaves_nothing(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    store
        .ingest(vec![upload(scope, 1, 1, 5, 1_000)])
        .await
        .expect("commits");
    store
        .change(scope.project, &principal(scope), Change::DeleteProject, 2_000)
        .await
        .expect("deletes");
    while store.erase_step(3_000, 100).await.expect("erases") {}
    assert!(store.project(scope.project).await.expect("reads").is_none());
    assert!(
        store
            .device_credentials(scope.device)
            .await
            .expect("reads")
            .is_none()
    );
    assert!(
        store
            .scan(scope, ScanBounds::default(), 10)
            .await
            .expect("reads")
            .is_empty()
    );
    assert!(store.branches(scope.project).await.expect("reads").is_empty());
    super::project(store.as_ref(), 1).await;
    super::device(store.as_ref(), scope)
        .await
        .expect("its names are free again");
}

pub(crate) async fn messages_older_than_their_project_keeps_go(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    let (by, store) = (principal(scope), store.as_ref());
    let day = 24 * 60 * 60 * 1000;
    store
        .ingest(vec![upload(scope, 1, 1, 7, day), upload(scope, 1, 8, 3, 5 * day)])
        .await
        .expect("commits");
    let count = async || {
        store
            .scan(scope, ScanBounds::default(), 100)
            .await
            .expect("reads")
            .len()
    };
    housekeeping::retain(store, 9 * day).await.expect("looks");
    assert_eq!(count().await, 10, "for ever unless it is set");
    assert_eq!(
        store
            .change(scope.project, &by, Change::SetRetention(Some(5)), 5)
            .await
            .expect("sets")
            .affected,
        1
    );
    assert_eq!(
        store
            .change(scope.project, &by, Change::SetRetention(Some(5)), 5)
            .await
            .expect("sets")
            .affected,
        0
    );
    housekeeping::retain(store, 9 * day).await.expect("deletes");
    assert_eq!(count().await, 3);
    let again = store
        .ingest(vec![upload(scope, 1, 1, 10, 9 * day)])
        .await
        .expect("commits");
    assert!(again[0].stored.is_empty(), "what was deleted does not come again");
}

pub(crate) async fn a_damaged_row_is_named_and_its_neighbours_work(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    store
        .ingest(vec![
            upload(*scope, 1, 1, 3, 1_000),
            upload(*scope, 2, 1, 3, 1_000),
        ])
        .await
        .expect("commits");
    setup
        .vandalise("UPDATE streams SET recent = x'00' WHERE stream = x'01010101010101010101010101010101'")
        .await;
    let error = store
        .ingest(vec![upload(*scope, 1, 4, 1, 2_000)])
        .await
        .expect_err("unreadable");
    assert_eq!(
        error.to_string(),
        "streams holds an unreadable recent: 1 bytes are not whole items"
    );
    let announce = UploadBody::Announce {
        class: StreamClass::History,
        oldest: 4,
        next: 4,
    };
    let other = Upload {
        body: announce,
        ..upload(*scope, 2, 4, 0, 2_000)
    };
    assert_eq!(store.ingest(vec![other]).await.expect("commits")[0].upto, 3);
}

pub(crate) async fn a_newer_schema_is_not_touched(setup: Setup) {
    setup.store.close().await;
    let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (9999, 'later', true, x'00', 0)";
    setup.vandalise(later).await;
    let Err(error) = store::open(&setup.database).await else {
        panic!("must not open")
    };
    assert!(
        matches!(error, StoreError::Database(_)) && error.to_string().contains("9999"),
        "{error}"
    );
}

/// First schema of each database.
const FIRST: [&str; 2] = [
    include_str!("../../../migrations/sqlite/0001_initial.sql"),
    include_str!("../../../migrations/postgres/0001_initial.sql"),
];

/// Content of the first schema for one tenant, as its program wrote it.
const ROWS: &str = r#"
    INSERT INTO projects (id, name) VALUES (x'010101010101010101010101', 'old');
    INSERT INTO groups (project, id, name) VALUES (x'010101010101010101010101', x'01010101010101010101010101010101', '_orphaned');
    INSERT INTO devices (project, id, group_id, name, secret) VALUES (x'010101010101010101010101',
        x'01010101010101010101010101010101', x'01010101010101010101010101010101', 'd',
        x'0101010101010101010101010101010101010101010101010101010101010101');
    INSERT INTO definitions VALUES (x'010101010101010101010101', 'echo',
        '{"cmd_type":"echo","description":"","direction":"command","options":[{"key":"content","type":"FixedValue","value":"v"}]}');
    INSERT INTO commands (project, device, id, cmd_type, body, status, created, expires, changed) VALUES (x'010101010101010101010101',
        x'01010101010101010101010101010101', x'02020202020202020202020202020202', 'echo', '{"content":"v"}', 0, 5, 9, 5);
"#;

/// Tokens had no ids at first in SQLite; PostgreSQL's first schema is younger and had branches too.
const OF_SQLITE: &str = r"
    INSERT INTO tokens VALUES (x'0000000000000000000000000000000000000000000000000000000000000000', x'010101010101010101010101', 'a');
    INSERT INTO tokens VALUES (x'0101010101010101010101010101010101010101010101010101010101010101', x'010101010101010101010101', 'b');
";
const OF_POSTGRES: &str = r"
    INSERT INTO tokens (hash, project, name, id) VALUES (x'00', x'010101010101010101010101', 'a', x'02020202020202020202020202020202');
    INSERT INTO tokens (hash, project, name, id) VALUES (x'01', x'010101010101010101010101', 'b', x'03030303030303030303030303030303');
    INSERT INTO branches VALUES (x'010101010101010101010101', 'main', 0, 0);
    CREATE TABLE messages_2017_04 PARTITION OF messages FOR VALUES FROM (1491004800000) TO (1493596800000);
";

/// Three messages of April 2017.
const MESSAGES: &str = r"
    INSERT INTO messages VALUES (x'010101010101010101010101', x'01010101010101010101010101010101', 1492597597019,
        x'58f73b5dc3cc4800078010ca', 0, 1492597597000, NULL, NULL, NULL, '{}');
    INSERT INTO messages VALUES (x'010101010101010101010101', x'01010101010101010101010101010101', 1492597597019,
        x'58f73b5dc3cc4800078010cb', 0, 1492597597000, NULL, NULL, NULL, '[1]');
    INSERT INTO messages VALUES (x'010101010101010101010101', x'01010101010101010101010101010101', 1492683997019,
        x'58f73b5dc3cc4800078010cc', 1, 1492597597000, 'c', x'01010101010101010101010101010101', 9, '{}');
";

pub(crate) async fn a_populated_first_schema_is_brought_up_to_date(setup: Setup) {
    let database = first_schema(&setup).await;
    let (store, _) = store::open(&database).await.expect("opens");
    let scope = Scope {
        project: ProjectId::from_bytes([1; 12]),
        device: DeviceId::from_bytes([1; 16]),
    };
    let tokens = store.tokens(scope.project).await.expect("reads");
    assert_eq!(tokens.len(), 2);
    assert!(
        tokens[0].id != tokens[1].id
            && tokens
                .iter()
                .all(|token| token.scopes == Scopes::PROJECT && token.is_live(i64::MAX))
    );
    assert_eq!(
        store
            .definition(scope.project, "echo")
            .await
            .expect("reads")
            .expect("kept")
            .options[0]
            .key,
        "content"
    );
    assert_eq!(store.open_commands(scope).await.expect("reads").len(), 1);
    assert_eq!(
        store.device(scope).await.expect("reads").expect("kept").tags,
        Vec::<String>::new()
    );
    let history = store.scan(scope, ScanBounds::default(), 10).await.expect("reads");
    assert_eq!(
        history
            .iter()
            .map(|message| message.payload.get())
            .collect::<Vec<_>>(),
        ["{}", "[1]", "{}"]
    );
    let code = store
        .working_copy(scope.project, MAIN_BRANCH)
        .await
        .expect("reads")
        .expect("a branch");
    assert_eq!(
        code.snippets
            .iter()
            .map(|snippet| snippet.name.as_str())
            .collect::<Vec<_>>(),
        ["global", "init", "loop", "echo"]
    );
    store.close().await;
    let (store, _) = store::open(&database).await.expect("opens again");
    let again = store
        .working_copy(scope.project, MAIN_BRANCH)
        .await
        .expect("reads")
        .expect("a branch");
    assert_eq!(again, code, "a second start changes nothing");
}

/// Commands whose status was told from their detail to be presumed, and commands whose devices had reported.
const ENDED: &str = r"
    INSERT INTO commands (project, device, id, cmd_type, body, status, detail, created, expires, changed) VALUES
    (x'010101010101010101010101', x'01010101010101010101010101010101', x'05050505050505050505050505050505', 'echo', '{}', 5,
        'the device did not report the command in time', 5, 9, 5),
    (x'010101010101010101010101', x'01010101010101010101010101010101', x'07070707070707070707070707070707', 'echo', '{}', 7,
        'withdrawn before the device reported it', 5, 9, 5),
    (x'010101010101010101010101', x'01010101010101010101010101010101', x'15151515151515151515151515151515', 'echo', '{}', 5, NULL, 5, 9, 5),
    (x'010101010101010101010101', x'01010101010101010101010101010101', x'17171717171717171717171717171717', 'echo', '{}', 7, NULL, 5, 9, 5),
    (x'010101010101010101010101', x'01010101010101010101010101010101', x'14141414141414141414141414141414', 'echo', '{}', 4,
        'the device did not report the command in time', 5, 9, 5);
";

pub(crate) async fn a_status_that_was_presumed_by_its_text_stays_presumed(setup: Setup) {
    let database = first_schema(&setup).await;
    vandalise(&database, ENDED).await;
    let (store, _) = store::open(&database).await.expect("opens");
    let scope = Scope {
        project: ProjectId::from_bytes([1; 12]),
        device: DeviceId::from_bytes([1; 16]),
    };
    for (seq, (byte, corrected)) in (1..).zip([
        (0x05, true),
        (0x07, true),
        (0x15, false),
        (0x17, false),
        (0x14, false),
    ]) {
        let id = CommandId::from_bytes([byte; 16]);
        let result = CommandResult {
            id,
            state: CommandState::Done,
            detail: None,
            at_ms: 1,
        };
        let body = UploadBody::Records {
            first: seq,
            records: vec![Ok(Entry::Result(result))],
        };
        let upload = Upload {
            body,
            ..upload(scope, 8, 1, 0, 50)
        };
        store.ingest(vec![upload]).await.expect("commits");
        let status = store
            .command(scope, id)
            .await
            .expect("reads")
            .expect("kept")
            .status;
        assert_eq!(
            status == CommandStatus::Answered,
            corrected,
            "{byte:#x}: {status:?}"
        );
    }
}

/// Creates a database of the same kind as the setup's with the first schema, as its program left it.
async fn first_schema(setup: &Setup) -> Database {
    use sqlx::migrate::{Migration, MigrationType, Migrator};
    use sqlx::{Connection as _, SqlSafeStr as _};
    let first = |sql: &'static str| {
        let step = Migration::new(
            1,
            "initial".into(),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        );
        Migrator::with_migrations(vec![step])
    };
    match &setup.database {
        Database::File(path) => {
            let path = path.with_extension("old");
            let options = sqlx::sqlite::SqliteConnectOptions::new()
                .filename(&path)
                .create_if_missing(true);
            let mut connection = sqlx::SqliteConnection::connect_with(&options)
                .await
                .expect("connects");
            first(FIRST[0]).run(&mut connection).await.expect("applies");
            let database = Database::File(path);
            vandalise(&database, &[ROWS, OF_SQLITE, MESSAGES].concat()).await;
            database
        }
        Database::Server(_) => {
            let url = crate::cluster::database().await.expect("the setup has one, too");
            let mut connection = sqlx::PgConnection::connect(&url).await.expect("connects");
            first(FIRST[1]).run(&mut connection).await.expect("applies");
            let database = Database::Server(url);
            vandalise(&database, &[ROWS, OF_POSTGRES, MESSAGES].concat()).await;
            database
        }
    }
}
