//! Both databases end in the same logical schema.

use std::collections::BTreeSet;

use iottly_store::Database;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Row as _};

use super::Setup;

/// Returns all `table.column` of a database, without what belongs to the database or to its migrations.
async fn columns(database: &Database) -> BTreeSet<String> {
    let names: Vec<(String, String)> = match database {
        Database::File(path) => {
            let url = format!("sqlite://{}", path.display());
            let mut connection = SqliteConnection::connect(&url).await.expect("connects");
            let query = "SELECT t.name, c.name FROM sqlite_master t JOIN pragma_table_info(t.name) c WHERE t.type = 'table'";
            let rows = sqlx::query(query)
                .fetch_all(&mut connection)
                .await
                .expect("reads");
            rows.iter().map(|row| (row.get(0), row.get(1))).collect()
        }
        Database::Server(url) => {
            let mut connection = PgConnection::connect(url).await.expect("connects");
            // Partitions repeat the columns of their table.
            let query = "SELECT t.relname::text, a.attname::text FROM pg_class t JOIN pg_attribute a ON a.attrelid = t.oid \
                         WHERE t.relnamespace = 'public'::regnamespace AND t.relkind IN ('r', 'p') AND NOT t.relispartition \
                         AND a.attnum > 0 AND NOT a.attisdropped";
            let rows = sqlx::query(query)
                .fetch_all(&mut connection)
                .await
                .expect("reads");
            rows.iter().map(|row| (row.get(0), row.get(1))).collect()
        }
    };
    let ours = names
        .into_iter()
        .filter(|(table, _)| !table.starts_with("sqlite_") && table != "_sqlx_migrations");
    ours.map(|(table, column)| format!("{table}.{column}")).collect()
}

pub(crate) async fn both_databases_have_the_same_tables_and_columns(server: Setup) {
    let file = Setup::sqlite().await;
    let (file, server) = (columns(&file.database).await, columns(&server.database).await);
    assert!(file.len() > 100, "the columns are found");
    let only: Vec<_> = file.symmetric_difference(&server).collect();
    assert!(only.is_empty(), "in one database only: {only:?}");
}
