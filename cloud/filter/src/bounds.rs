//! The range of a date field, such as `timestamp`, that a filter can match, so that a scan can leave out the rest.

use crate::Value;
use crate::expr::{Expr, Leafy, Op, Test};

/// A closed range of unix milliseconds; `None` is an open end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Range {
    /// Earliest time inside.
    pub min: Option<i64>,
    /// Latest time inside.
    pub max: Option<i64>,
}

/// Returns the bounds of a field from the conditions that hold for the filter as a whole: its top level and
/// nested `$and`.
///
/// Sound because the server itself writes the field, as a date.
pub(super) fn of(expr: &Expr, field: &str) -> Range {
    let mut range = Range::default();
    narrow(expr, field, &mut range);
    range
}

fn narrow(expr: &Expr, field: &str, range: &mut Range) {
    match expr {
        Expr::And(parts) => parts.iter().for_each(|part| narrow(part, field, range)),
        Expr::Field(path, test) if path.is(field) => narrow_field(test, &mut |op, operand| {
            if let Value::Date(at) = operand {
                // Milliseconds are whole, so an open end is a closed one a step further.
                let at = match op {
                    Op::Gt => at.saturating_add(1),
                    Op::Lt => at.saturating_sub(1),
                    Op::Eq | Op::Gte | Op::Lte => *at,
                };
                range.narrow(op, at);
            }
        }),
        Expr::Field(..) | Expr::Or(_) | Expr::Nor(_) => {}
    }
}

fn narrow_field(test: &Test, found: &mut dyn FnMut(Op, &Value)) {
    match test {
        Test::Any(Leafy::Compare(op, operand)) => found(*op, operand),
        Test::All(tests) => tests.iter().for_each(|test| narrow_field(test, found)),
        _ => {}
    }
}

impl Range {
    fn narrow(&mut self, op: Op, value: i64) {
        if matches!(op, Op::Eq | Op::Gt | Op::Gte) {
            self.min = self.min.max(Some(value));
        }
        if matches!(op, Op::Eq | Op::Lt | Op::Lte) {
            self.max = Some(self.max.map_or(value, |max| max.min(value)));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Filter;

    fn timestamp(filter: &str) -> (Option<i64>, Option<i64>) {
        let range = Filter::parse(filter).expect("valid").timestamp_range();
        (range.min, range.max)
    }

    #[test]
    fn reads_what_always_holds() {
        assert_eq!(
            timestamp(r#"{"timestamp":{"$gte":{"$date":5},"$lt":{"$date":9}}}"#),
            (Some(5), Some(8))
        );
        assert_eq!(timestamp(r#"{"timestamp":{"$date":7}}"#), (Some(7), Some(7)));
        let nested = r#"{"$and":[{"timestamp":{"$gt":{"$date":5}}},{"$and":[{"timestamp":{"$gt":{"$date":3}}},{"a":1}]}]}"#;
        assert_eq!(timestamp(nested), (Some(6), None));
    }

    #[test]
    fn ignores_what_may_not_hold() {
        for filter in [
            r#"{"$or":[{"timestamp":{"$gt":{"$date":5}}}]}"#,
            r#"{"$nor":[{"timestamp":{"$gt":{"$date":5}}}]}"#,
            r#"{"timestamp":{"$not":{"$gt":{"$date":5}}}}"#,
            r#"{"timestamp":{"$ne":{"$date":5}}}"#,
            r#"{"timestamp":{"$gt":5}}"#,
            r#"{"payload.timestamp":{"$gt":{"$date":5}}}"#,
        ] {
            assert_eq!(timestamp(filter), (None, None), "{filter}");
        }
    }
}
