//! Errors of store operations. Their classification is in `fault`.

/// Error of a store operation.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// A row holds a value that this build cannot read.
    #[error("{table} holds an unreadable {field}: {reason}")]
    Corrupt {
        /// Table of the row.
        table: &'static str,
        /// Column of the value.
        field: &'static str,
        /// Description of the fault.
        reason: String,
    },
    /// A unique name or id is taken.
    #[error("{what} {name:?} exists already")]
    Exists {
        /// Kind of thing.
        what: &'static str,
        /// Name of the thing.
        name: String,
    },
    /// The project has no thing of this name.
    #[error("{what} {name:?} is unknown in this project")]
    Missing {
        /// Kind of thing.
        what: &'static str,
        /// Name or id of the thing.
        name: String,
    },
    /// The state of the thing does not allow the operation.
    #[error("{0}")]
    Refused(String),
    /// An edit is based on another text than the present one.
    #[error("{what} {name:?} was changed by someone else since this edit began")]
    Stale {
        /// Kind of thing.
        what: &'static str,
        /// Name of the thing.
        name: String,
    },
    /// A limit is reached.
    #[error("{what} have reached their limit of {max}")]
    Full {
        /// Quantity that is limited.
        what: &'static str,
        /// Maximum of the quantity.
        max: i64,
    },
    /// A kind of change was made too often within an hour.
    #[error("{action} was done {max} times within an hour")]
    TooOften {
        /// Action, as the audit log names it.
        action: &'static str,
        /// Maximum number of times per hour.
        max: i64,
    },
}

/// Result of a store operation.
pub type Result<T> = std::result::Result<T, StoreError>;
