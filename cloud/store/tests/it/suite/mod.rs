//! Requirements on every store, in terms of its trait alone.

use std::sync::Arc;

use iottly_core::command::seeded_definitions;
use iottly_core::ingest::{Entry, Upload, UploadBody};
use iottly_core::model::{Change, Principal, Project, Scope, Scopes, SecretHash, UnixMs};
use iottly_protocol::{DeviceId, FirmwareMark, GroupId, MessageKind, ProjectId, StreamId};
use iottly_store as store;
use iottly_store::{Database, NewDevice, Result, Store};
use iottly_web::auth;
use serde_json::value::to_raw_value;
use sqlx::{AssertSqlSafe, Connection as _};

use crate::cluster;

pub(crate) mod alert_limits;
pub(crate) mod alerts;
pub(crate) mod approval;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod bounds;
pub(crate) mod browser_logins;
pub(crate) mod code;
pub(crate) mod commands;
pub(crate) mod deletion;
pub(crate) mod device_lists;
pub(crate) mod drafts;
pub(crate) mod enrolment;
pub(crate) mod health;
pub(crate) mod history;
pub(crate) mod jobs;
pub(crate) mod leases;
pub(crate) mod limits;
pub(crate) mod logs;
pub(crate) mod model;
pub(crate) mod people;
pub(crate) mod projects;
pub(crate) mod rollouts;
pub(crate) mod schema;
pub(crate) mod series;
pub(crate) mod steady;
pub(crate) mod upkeep;

/// Open database with one project and one device in it.
pub(crate) struct Setup {
    pub(crate) database: Database,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) scope: Scope,
    _folder: Option<tempfile::TempDir>,
}

impl Setup {
    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let database = Database::File(folder.path().join("cloud.db"));
        Self::new(database, Some(folder)).await
    }

    /// Opens a PostgreSQL database; `None` where PostgreSQL is not installed.
    pub(crate) async fn postgres() -> Option<Self> {
        Some(Self::new(Database::Server(cluster::database().await?), None).await)
    }

    async fn new(database: Database, folder: Option<tempfile::TempDir>) -> Self {
        let (store, _) = store::open(&database).await.expect("opens");
        let scope = Scope {
            project: ProjectId::from_bytes([1; 12]),
            device: DeviceId::from_bytes([1; 16]),
        };
        project(store.as_ref(), 1).await;
        device(store.as_ref(), scope).await.expect("created");
        Self {
            database,
            store,
            scope,
            _folder: folder,
        }
    }

    /// Opens the store as another process would.
    pub(crate) async fn another(&self) -> Arc<dyn Store> {
        store::open(&self.database).await.expect("opens").0
    }

    /// Runs statements that bypass the store; `$` marks a blob's hex digits, which the databases write
    /// differently.
    pub(crate) async fn vandalise(&self, sql: &str) {
        vandalise(&self.database, sql).await;
    }
}

/// Runs statements on a database. A blob is written `x'…'`, as SQLite does.
pub(crate) async fn vandalise(database: &Database, sql: &str) {
    match database {
        Database::File(path) => {
            let options = sqlx::sqlite::SqliteConnectOptions::new()
                .filename(path)
                .create_if_missing(true);
            let mut connection = sqlx::SqliteConnection::connect_with(&options)
                .await
                .expect("connects");
            sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
                .execute(&mut connection)
                .await
                .expect("runs");
            connection.close().await.expect("closes");
        }
        Database::Server(url) => {
            let mut connection = sqlx::PgConnection::connect(url).await.expect("connects");
            let sql = sql.replace("x'", "'\\x");
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut connection)
                .await
                .expect("runs");
            connection.close().await.expect("closes");
        }
    }
}

pub(crate) async fn project(store: &dyn Store, byte: u8) {
    let project = Project {
        id: ProjectId::from_bytes([byte; 12]),
        name: format!("p{byte}"),
        created: 0,
        retention_days: None,
    };
    store
        .create_project(&project, GroupId::from_bytes([byte; 16]), &seeded_definitions())
        .await
        .expect("created");
}

pub(crate) async fn device(store: &dyn Store, scope: Scope) -> Result<()> {
    let group = GroupId::from_bytes([scope.project.as_bytes()[0]; 16]);
    store
        .create_device(&NewDevice {
            scope,
            name: "d".into(),
            group,
            secret: SecretHash::of(b"secret"),
        })
        .await
}

/// Returns a change of a device's name.
pub(crate) fn renamed(device: DeviceId, name: &str) -> Change {
    Change::UpdateDevice {
        device,
        group: None,
        name: Some(name.to_owned()),
        tags: None,
    }
}

/// Returns a change of a device's tags to this one.
pub(crate) fn tagged(device: DeviceId, tag: &str) -> Change {
    Change::UpdateDevice {
        device,
        group: None,
        name: None,
        tags: Some(vec![tag.to_owned()]),
    }
}

pub(crate) fn principal(scope: Scope) -> Principal {
    auth::mint_token(scope.project, "t", Scopes::PROJECT, None, 1)
        .expect("randomness")
        .token
        .into()
}

fn message(n: u64) -> std::result::Result<Entry, String> {
    let payload = to_raw_value(&n).expect("a number");
    Ok(Entry::Message {
        kind: MessageKind::UserDefined,
        at: 7,
        channel: Some("c".into()),
        payload,
        firmware: FirmwareMark::of("0123456789abcdef"),
    })
}

pub(crate) fn upload(scope: Scope, stream: u8, first: u64, n: u64, received: UnixMs) -> Upload {
    let body = UploadBody::Records {
        first,
        records: (first..first + n).map(message).collect(),
    };
    Upload {
        scope,
        stream: StreamId::from_bytes([stream; 16]),
        received,
        body,
    }
}

/// Returns the id of a project that does not exist.
pub(crate) fn stranger() -> ProjectId {
    ProjectId::from_bytes([2; 12])
}
