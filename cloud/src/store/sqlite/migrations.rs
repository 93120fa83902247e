use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{SqlSafeStr, SqliteConnection};

use crate::store::Result;

/// The schema's history, in order; what is released is never edited.
const MIGRATIONS: [(i64, &str, &str); 1] = [(1, "initial", include_str!("../../../migrations/sqlite/0001_initial.sql"))];

/// Applies what the database lacks, each step in its own transaction.
pub(super) async fn run(connection: &mut SqliteConnection) -> Result<()> {
    let migration = |(version, name, sql): (i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    let migrator = Migrator::with_migrations(MIGRATIONS.into_iter().map(migration).collect());
    migrator.run(connection).await.map_err(sqlx::Error::from)?;
    Ok(())
}
