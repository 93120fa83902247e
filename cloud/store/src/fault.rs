//! Whose fault a failed write is: the database's, or that of what was to be written. Pure.

use sqlx::sqlite::SqliteError;

use super::StoreError;

/// What a failed write says about trying it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The database cannot work now (connection, full disk, lock, shutdown); the same write may succeed
    /// later.
    Outage,
    /// The database refuses a value that was to be written, and will refuse it every time.
    Value,
    /// Anything else that lies with the write or with the rows that it touches; repeating it at once cannot
    /// help.
    Rows,
}

impl StoreError {
    /// Tells an outage of the database from what is the fault of the write itself.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Database(error) => of_database(error),
            Self::Corrupt { .. }
            | Self::Exists { .. }
            | Self::Missing { .. }
            | Self::Refused(_)
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
        // What is not known to pass is not waited for: nobody else may stand still for it.
        _ => Fault::Rows,
    }
}

/// Judges a result code of SQLite; its low byte is the kind of failure.
fn of_sqlite(code: &str) -> Fault {
    match code.parse::<u32>().unwrap_or_default() & 0xff {
        // TOOBIG, MISMATCH, RANGE.
        18 | 20 | 25 => Fault::Value,
        // ERROR, CORRUPT (of the pages that were read), CONSTRAINT.
        1 | 11 | 19 => Fault::Rows,
        _ => Fault::Outage,
    }
}

/// Judges an SQLSTATE of PostgreSQL; its first two characters are the class.
fn of_postgres(code: &str) -> Fault {
    match code.get(..2).unwrap_or_default() {
        "22" => Fault::Value,
        // No connection, failed or interrupted transactions, no resources, locks, shutdown, failures of the
        // system.
        "" | "08" | "25" | "28" | "40" | "53" | "55" | "57" | "58" | "F0" => Fault::Outage,
        // Statement or row is over a limit of the server.
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
