use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use super::db::Conn;
use crate::store::Result;

/// The schema's history, in order; what is released is never edited.
const MIGRATIONS: [(i64, &str, &str); 3] = [
    (1, "initial", include_str!("../../../migrations/sqlite/0001_initial.sql")),
    (2, "api", include_str!("../../../migrations/sqlite/0002_api.sql")),
    (3, "device_config", include_str!("../../../migrations/sqlite/0003_device_config.sql")),
];

/// Applies what the database lacks, each step in its own transaction.
pub(super) async fn run(connection: &mut Conn) -> Result<()> {
    run_first(connection, MIGRATIONS.len()).await
}

/// Applies what the database lacks of the first `steps` steps.
pub(super) async fn run_first(connection: &mut Conn, steps: usize) -> Result<()> {
    let migration = |(version, name, sql): (i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    let migrator = Migrator::with_migrations(MIGRATIONS.into_iter().take(steps).map(migration).collect());
    migrator.run(connection).await.map_err(sqlx::Error::from)?;
    Ok(())
}
