//! Classification of failed writes: an outage of the database, or a fault of the written data. Pure.

use sqlx::sqlite::SqliteError;

use crate::error::StoreError;

/// Classification of a failed write, which decides whether to retry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The database is unavailable (connection, full disk, lock, shutdown); the same write may succeed later.
    Outage,
    /// The database refuses a value, and will refuse it every time.
    Value,
    /// Any other fault of the write or of the rows it touches; an immediate retry is useless.
    Rows,
}

impl StoreError {
    /// Classifies the error.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Database(error) => of_database(error),
            Self::Corrupt { .. }
            | Self::Exists { .. }
            | Self::Missing { .. }
            | Self::Refused(_)
            | Self::Stale { .. }
            | Self::Full { .. }
            | Self::TooOften { .. } => Fault::Rows,
        }
    }
}

fn of_database(error: &sqlx::Error) -> Fault {
    match error {
        sqlx::Error::Database(database) => {
            let code = database.code().unwrap_or_default();
            if database.try_downcast_ref::<SqliteError>().is_some() {
                of_sqlite(&code)
            } else {
                of_postgres(&code)
            }
        }
        sqlx::Error::Encode(_) | sqlx::Error::InvalidArgument(_) => Fault::Value,
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::AnyDriverError(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => Fault::Outage,
        // An unknown error is not retried forever: that would block every other write.
        _ => Fault::Rows,
    }
}

/// Classifies a result code of SQLite; its low byte is the kind of failure.
fn of_sqlite(code: &str) -> Fault {
    match code.parse::<u32>().unwrap_or_default() & 0xff {
        // TOOBIG, MISMATCH, RANGE.
        18 | 20 | 25 => Fault::Value,
        // ERROR, CORRUPT (pages that were read), CONSTRAINT.
        1 | 11 | 19 => Fault::Rows,
        _ => Fault::Outage,
    }
}

/// Classifies an SQLSTATE of PostgreSQL; its first two characters are the class.
fn of_postgres(code: &str) -> Fault {
    match code.get(..2).unwrap_or_default() {
        "22" => Fault::Value,
        // No connection, failed or interrupted transactions, no resources, locks, shutdown, system
        // failures.
        "" | "08" | "25" | "28" | "40" | "53" | "55" | "57" | "58" | "F0" => Fault::Outage,
        // The statement or row exceeds a limit of the server.
        "54" => Fault::Value,
        _ => Fault::Rows,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_from_a_bad_value_and_from_a_bad_row() {
        let postgres = [
            (Fault::Value, &["22021", "22P05", "22003", "54000"][..]),
            (Fault::Rows, &["23505", "23514", "XX001", "42P01", "P0001"]),
            (
                Fault::Outage,
                &[
                    "08006", "53100", "53300", "57P01", "40P01", "55P03", "25006", "58030", "",
                ],
            ),
        ];
        for (fault, codes) in postgres {
            assert!(codes.iter().all(|code| of_postgres(code) == fault), "{fault:?}");
        }
        let sqlite = [
            (Fault::Value, &["18", "20", "25"][..]),
            (Fault::Rows, &["1", "11", "19", "2067", "1555", "1811"]),
            (
                Fault::Outage,
                &["5", "6", "8", "10", "13", "14", "26", "261", "778", ""],
            ),
        ];
        for (fault, codes) in sqlite {
            assert!(codes.iter().all(|code| of_sqlite(code) == fault), "{fault:?}");
        }
        assert_eq!(
            StoreError::Database(sqlx::Error::PoolTimedOut).fault(),
            Fault::Outage
        );
        assert_eq!(
            StoreError::Database(sqlx::Error::RowNotFound).fault(),
            Fault::Rows
        );
    }
}
