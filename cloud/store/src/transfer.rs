//! Transfer of rows from one database to the other, table by table. Columns are read from the schema, so that
//! new ones are included.

use futures_util::TryStreamExt;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Database, QueryBuilder, Row};

use super::postgres::make_room;
use super::{Result, StoreError};

/// Rows per insert statement.
const ROWS: usize = 64;

/// Type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bytes,
    Number,
    Text,
    /// Boolean, which SQLite stores as a number.
    Flag,
    Float,
}

enum Cell {
    Bytes(Option<Vec<u8>>),
    Number(Option<i64>),
    Text(Option<String>),
    Flag(Option<bool>),
    Float(Option<f64>),
}

struct Table {
    name: String,
    columns: Vec<(String, Kind)>,
}

impl Table {
    fn names(&self) -> String {
        self.columns
            .iter()
            .map(|(name, _)| name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    }

    fn select(&self) -> String {
        format!("SELECT {} FROM {}", self.names(), self.name)
    }
}

/// Returns the tables in the order of their creation, so that referenced tables come first.
async fn tables(sqlite: &mut SqliteConnection, postgres: &mut PgConnection) -> Result<Vec<Table>> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_sqlx%' ESCAPE '\\' AND name NOT LIKE 'sqlite%' ORDER BY rowid",
    )
    .fetch_all(&mut *sqlite)
    .await?;
    let mut tables = Vec::with_capacity(names.len());
    for name in names {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT column_name::text, data_type::text FROM information_schema.columns \
             WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position",
        )
        .bind(&name)
        .fetch_all(&mut *postgres)
        .await?;
        let theirs: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_info($1) ORDER BY name")
            .bind(&name)
            .fetch_all(&mut *sqlite)
            .await?;
        let mut ours: Vec<_> = rows.iter().map(|(column, _)| column).collect();
        ours.sort();
        if !theirs.iter().eq(ours) {
            return Err(StoreError::Refused(format!(
                "table {name:?} has different columns in the two databases"
            )));
        }
        let columns = rows
            .into_iter()
            .map(|(column, kind)| Ok((column, self::kind(&name, &kind)?)));
        tables.push(Table {
            columns: columns.collect::<Result<_>>()?,
            name,
        });
    }
    Ok(tables)
}

fn kind(table: &str, kind: &str) -> Result<Kind> {
    match kind {
        "bytea" => Ok(Kind::Bytes),
        "bigint" => Ok(Kind::Number),
        "text" => Ok(Kind::Text),
        "boolean" => Ok(Kind::Flag),
        "double precision" => Ok(Kind::Float),
        other => Err(StoreError::Refused(format!(
            "table {table:?} has a column of the unknown kind {other:?}"
        ))),
    }
}

/// Copies everything from PostgreSQL into a new SQLite database.
pub(super) async fn from_server(source: &mut PgConnection, target: &mut SqliteConnection) -> Result<()> {
    use sqlx::Connection as _;
    let tables = tables(target, source).await?;
    let mut writing = target.begin_with("BEGIN IMMEDIATE").await?;
    for table in &tables {
        let mut rows = sqlx::query(own_sql(table.select()))
            .fetch(&mut *source)
            .try_chunks(ROWS);
        while let Some(rows) = rows.try_next().await.map_err(|error| error.1)? {
            let cells = rows
                .iter()
                .map(|row| cells(row, table))
                .collect::<Result<Vec<_>>>()?;
            insert::<sqlx::Sqlite>(table, cells)
                .build()
                .execute(&mut *writing)
                .await?;
        }
    }
    writing.commit().await?;
    Ok(())
}

/// Copies everything from a SQLite database into an empty PostgreSQL one.
pub(super) async fn into_server(source: &mut SqliteConnection, target: &mut PgConnection) -> Result<()> {
    let tables = tables(source, target).await?;
    for table in &tables {
        let moments = table
            .columns
            .iter()
            .position(|(name, _)| table.name == "messages" && name == "ts");
        let mut rows = sqlx::query(own_sql(table.select()))
            .fetch(&mut *source)
            .try_chunks(ROWS);
        while let Some(rows) = rows.try_next().await.map_err(|error| error.1)? {
            let cells = rows
                .iter()
                .map(|row| cells(row, table))
                .collect::<Result<Vec<_>>>()?;
            if let Some(at) = moments {
                let moments = cells
                    .iter()
                    .filter_map(|row| if let Cell::Number(ts) = row[at] { ts } else { None });
                make_room(target, moments).await?;
            }
            insert::<sqlx::Postgres>(table, cells)
                .build()
                .execute(&mut *target)
                .await?;
        }
    }
    Ok(())
}

fn cells<R: Row>(row: &R, table: &Table) -> Result<Vec<Cell>>
where
    usize: sqlx::ColumnIndex<R>,
    for<'r> Vec<u8>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    for<'r> i64: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    for<'r> String: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    for<'r> bool: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    for<'r> f64: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
{
    let cell = |(at, (_, kind)): (usize, &(String, Kind))| {
        Ok(match kind {
            Kind::Bytes => Cell::Bytes(row.try_get(at)?),
            Kind::Number => Cell::Number(row.try_get(at)?),
            Kind::Text => Cell::Text(row.try_get(at)?),
            Kind::Flag => Cell::Flag(row.try_get(at)?),
            Kind::Float => Cell::Float(row.try_get(at)?),
        })
    };
    table.columns.iter().enumerate().map(cell).collect()
}

fn insert<D: Database>(table: &Table, rows: Vec<Vec<Cell>>) -> QueryBuilder<D>
where
    for<'q> Option<Vec<u8>>: sqlx::Encode<'q, D> + sqlx::Type<D>,
    for<'q> Option<i64>: sqlx::Encode<'q, D> + sqlx::Type<D>,
    for<'q> Option<String>: sqlx::Encode<'q, D> + sqlx::Type<D>,
    for<'q> Option<bool>: sqlx::Encode<'q, D> + sqlx::Type<D>,
    for<'q> Option<f64>: sqlx::Encode<'q, D> + sqlx::Type<D>,
{
    let mut query = QueryBuilder::new(format!("INSERT INTO {} ({}) ", table.name, table.names()));
    query.push_values(rows, |mut row, cells| {
        for cell in cells {
            match cell {
                Cell::Bytes(value) => row.push_bind(value),
                Cell::Number(value) => row.push_bind(value),
                Cell::Text(value) => row.push_bind(value),
                Cell::Flag(value) => row.push_bind(value),
                Cell::Float(value) => row.push_bind(value),
            };
        }
    });
    query
}

/// Marks SQL as safe that is assembled only from the program's own table and column names.
pub(super) fn own_sql(sql: String) -> AssertSqlSafe<String> {
    AssertSqlSafe(sql)
}
