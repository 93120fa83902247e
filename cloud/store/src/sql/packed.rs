//! Rows that come packed: one row of JSON text with an array of texts for each. A row of its own costs more time in the
//! driver than its values in the database.

use std::borrow::Cow;

use serde::Deserialize;

use super::codec;
use crate::Result;

/// A value as text, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Values of a row, in the order of its columns.
pub(super) struct Packed<'a> {
    table: &'static str,
    values: std::vec::IntoIter<Option<Text<'a>>>,
}

/// Reads packed rows of a table.
pub(super) fn rows<T>(
    packed: &str,
    table: &'static str,
    make: impl Fn(&mut Packed<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let wrong = |error: serde_json::Error| codec::corrupt(table, "packed", error.to_string());
    let rows: Vec<Vec<Option<Text<'_>>>> = serde_json::from_str(packed).map_err(wrong)?;
    let row = |values: Vec<Option<Text<'_>>>| {
        make(&mut Packed {
            table,
            values: values.into_iter(),
        })
    };
    rows.into_iter().map(row).collect()
}

impl<'a> Packed<'a> {
    /// Returns the next value; none if it is null.
    pub(super) fn optional(&mut self) -> Option<Cow<'a, str>> {
        self.values.next().flatten().map(|text| text.0)
    }

    /// Returns the next value.
    pub(super) fn text(&mut self, field: &'static str) -> Result<Cow<'a, str>> {
        self.optional()
            .ok_or_else(|| codec::corrupt(self.table, field, "it is null".into()))
    }

    /// Returns the next value, a number in decimal digits; none if it is null.
    pub(super) fn number(&mut self, field: &'static str) -> Result<Option<i64>> {
        let Some(text) = self.optional() else {
            return Ok(None);
        };
        let number = text.parse();
        let wrong = |_| codec::corrupt(self.table, field, format!("{text:?} is not a number"));
        number.map(Some).map_err(wrong)
    }

    /// Returns true if the next value is the number 1.
    pub(super) fn is_one(&mut self) -> bool {
        self.optional().as_deref() == Some("1")
    }

    /// Returns the next value, bytes in hex digits.
    pub(super) fn bytes<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N]> {
        let text = self.text(field)?;
        let (mut found, mut count) = ([0; N], 0);
        for (to, byte) in found.iter_mut().zip(codec::hex_bytes(&text)) {
            (*to, count) = (byte, count + 1);
        }
        if count == N && text.len() == 2 * N {
            return Ok(found);
        }
        let wrong = format!("{text:?} is not {N} bytes");
        Err(codec::corrupt(self.table, field, wrong))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_in_the_order_of_the_columns() {
        let texts = r#"[["0aff", "a \"b\"", "7", null, "1"], ["00ff", "é", "-8", "9", "0"]]"#;
        let row = |row: &mut Packed<'_>| {
            Ok((
                row.bytes::<2>("id")?,
                row.text("name")?.into_owned(),
                row.number("since")?,
                row.number("until")?,
                row.is_one(),
            ))
        };
        let read = rows(texts, "devices", row).expect("reads");
        assert_eq!(
            read,
            [
                ([10, 255], "a \"b\"".into(), Some(7), None, true),
                ([0, 255], "é".into(), Some(-8), Some(9), false)
            ]
        );
    }

    #[test]
    fn what_is_no_packed_row_is_refused() {
        for (texts, wrong) in [
            (r#"[["0aff"]"#, "packed"),
            (r#"[["0af"]]"#, "id"),
            (r#"[["0aff00"]]"#, "id"),
            (r#"[["zzzz"]]"#, "id"),
            (r#"[[null]]"#, "id"),
            (r#"[[]]"#, "id"),
            (r#"[["0aff", "x"]]"#, "since"),
        ] {
            let read = rows(texts, "devices", |row| {
                Ok((row.bytes::<2>("id")?, row.number("since")?))
            });
            let error = read.expect_err(texts).to_string();
            assert!(error.contains(wrong), "{texts}: {error}");
        }
    }
}
