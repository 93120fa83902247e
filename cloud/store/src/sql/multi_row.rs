//! Parameters of statements that insert many rows at once.

use super::db;

/// Returns the parameters of `count` rows of `columns` columns: `(…),(…)`, to be bound in the order in which they
/// stand. The statement must have no others.
pub(super) fn rows(columns: usize, count: usize) -> String {
    let row = |row: usize| {
        let parameters: Vec<_> = (1..=columns)
            .map(|column| db::parameter(row * columns + column))
            .collect();
        format!("({})", parameters.join(","))
    };
    (0..count).map(row).collect::<Vec<_>>().join(",")
}
