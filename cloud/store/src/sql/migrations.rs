//! Schema migrations.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use super::STEPS;
use super::db::Conn;
use crate::Result;

/// Applies the migrations that the database lacks, each in its own transaction.
pub(super) async fn run(connection: &mut Conn) -> Result<()> {
    let migration = |(version, name, sql): (i64, &'static str, &'static str)| {
        Migration::new(
            version,
            name.into(),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    };
    let migrator = Migrator::with_migrations(STEPS.into_iter().map(migration).collect());
    migrator.run(connection).await.map_err(sqlx::Error::from)?;
    Ok(())
}
