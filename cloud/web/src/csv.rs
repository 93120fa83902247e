//! Tables as CSV (RFC 4180).

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

/// A table that is being written.
#[derive(Debug, Default)]
pub(crate) struct Csv(String);

impl Csv {
    /// Returns a table with these names of columns.
    pub(crate) fn new(columns: &[&str]) -> Self {
        let mut csv = Self::default();
        csv.row(columns);
        csv
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, fields: &[&str]) {
        for (at, field) in fields.iter().enumerate() {
            if at > 0 {
                self.0.push(',');
            }
            self.field(field);
        }
        self.0.push_str("\r\n");
    }

    /// Adds a field. Spreadsheets take a text that begins like a formula for one: a `'` in front makes it a text.
    /// Numbers stay as they are.
    fn field(&mut self, field: &str) {
        let formula = field.starts_with(['=', '+', '-', '@', '\t', '\r']) && field.parse::<f64>().is_err();
        let quoted = formula || field.contains(['"', ',', '\r', '\n']);
        if quoted {
            self.0.push('"');
        }
        if formula {
            self.0.push('\'');
        }
        self.0.push_str(&field.replace('"', "\"\""));
        if quoted {
            self.0.push('"');
        }
    }

    /// Returns the table as a file to keep, with this name.
    pub(crate) fn into_file(self, name: &'static str) -> Response {
        let kept = HeaderValue::from_str(&format!("attachment; filename=\"{name}\""))
            .expect("names of files are plain words");
        let mut response = self.into_response();
        response.headers_mut().insert(header::CONTENT_DISPOSITION, kept);
        response
    }

    /// Returns the table's text.
    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

impl IntoResponse for Csv {
    fn into_response(self) -> Response {
        let kind = HeaderValue::from_static("text/csv; charset=utf-8");
        ([(header::CONTENT_TYPE, kind)], self.into_text()).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_and_run_nowhere() {
        let mut csv = Csv::new(&["name", "value"]);
        csv.row(&["a,\"b\"\n", "-1.5"]);
        csv.row(&["=HYPERLINK(1)", ""]);
        csv.row(&["-x", "+1"]);
        let expected = "name,value\r\n\"a,\"\"b\"\"\n\",-1.5\r\n\"'=HYPERLINK(1)\",\r\n\"'-x\",+1\r\n";
        assert_eq!(csv.into_text(), expected);
    }
}
