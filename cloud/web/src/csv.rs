//! Tables as CSV (RFC 4180): at once, or row by row while the client takes them.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::watch;

use crate::error::ApiError;

/// Maximum number of rows of a table that is read while the client takes it. A last row says that there are more.
pub(crate) const MAX_ROWS: usize = 100_000;
/// Text of the row in place of those beyond [`MAX_ROWS`].
const MORE: &str = "(more rows are not in this file)";
/// Time after which a part is asked for again when too many requests wait.
const RETRY: Duration = Duration::from_millis(200);

/// A table that is being written.
#[derive(Debug, Default)]
pub(crate) struct Csv {
    text: String,
    rows: usize,
}

impl Csv {
    /// Returns a table with these names of columns.
    pub(crate) fn new(columns: &[&str]) -> Self {
        let mut csv = Self::default();
        csv.row(columns);
        csv.rows = 0;
        csv
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, fields: &[&str]) {
        self.rows += 1;
        for (at, field) in fields.iter().enumerate() {
            if at > 0 {
                self.text.push(',');
            }
            self.field(field);
        }
        self.text.push_str("\r\n");
    }

    /// Adds a field. Spreadsheets take a text that begins like a formula for one: a `'` in front makes it a text.
    /// Numbers stay as they are.
    fn field(&mut self, field: &str) {
        let formula = field.starts_with(['=', '+', '-', '@', '\t', '\r']) && field.parse::<f64>().is_err();
        let quoted = formula || field.contains(['"', ',', '\r', '\n']);
        if quoted {
            self.text.push('"');
        }
        if formula {
            self.text.push('\'');
        }
        self.text.push_str(&field.replace('"', "\"\""));
        if quoted {
            self.text.push('"');
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
        self.text
    }
}

/// Returns a table as a file that is read in parts while the client takes it: `next` returns the rows of a part and where
/// the next one begins, or none at the end. The response ends as incomplete when a part cannot be read, and when the server
/// stops.
///
/// # Errors
/// If the first part cannot be read.
pub(crate) async fn streamed<S, N, F>(
    name: &'static str,
    columns: &[&str],
    (first, next): (S, N),
    closing: watch::Receiver<bool>,
) -> Result<Response, ApiError>
where
    S: Clone + Send + 'static,
    N: Fn(S) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(Csv, Option<S>), ApiError>> + Send + 'static,
{
    let mut head = Csv::new(columns);
    let (part, more) = next(first).await?;
    head.text.push_str(&part.text);
    head.rows = part.rows;
    let start = (Some(head), 0, more, next, closing);
    let parts = stream::try_unfold(start, async |(ready, rows, more, next, closing)| {
        let (part, more) = match (ready, more) {
            (Some(ready), more) => (ready, more),
            (None, Some(from)) => part_of(&next, from, &closing)
                .await
                .map_err(|error| error.message().to_owned())?,
            (None, None) => return Ok(None),
        };
        let rows = rows + part.rows;
        let mut text = part.text;
        let more = more.filter(|_| rows < MAX_ROWS);
        if rows >= MAX_ROWS {
            text.push_str(MORE);
            text.push_str("\r\n");
        }
        Ok::<_, axum::BoxError>(Some((Bytes::from(text), (None, rows, more, next, closing))))
    });
    let mut response = Csv::default().into_file(name);
    *response.body_mut() = Body::from_stream(parts);
    Ok(response)
}

/// Reads a part, and waits for its turn when too many requests wait: the status of the response cannot change any more.
async fn part_of<S, N, F>(
    next: &N,
    from: S,
    closing: &watch::Receiver<bool>,
) -> Result<(Csv, Option<S>), ApiError>
where
    S: Clone,
    N: Fn(S) -> F,
    F: Future<Output = Result<(Csv, Option<S>), ApiError>>,
{
    loop {
        if *closing.borrow() {
            return Err(ApiError::unavailable(
                "stopping",
                "the cloud stops; the table is incomplete",
            ));
        }
        match next(from.clone()).await {
            Err(error) if error.status() == StatusCode::TOO_MANY_REQUESTS => tokio::time::sleep(RETRY).await,
            part => return part,
        }
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

    #[tokio::test]
    async fn a_long_table_is_read_in_parts_and_bounded() {
        let (_stop, closing) = watch::channel(false);
        let part = |from: usize| async move {
            let mut csv = Csv::default();
            for row in from..from + 40_000 {
                csv.row(&[&row.to_string()]);
            }
            Ok((csv, Some(from + 40_000)))
        };
        let response = streamed("x.csv", &["n"], (0, part), closing)
            .await
            .expect("a table");
        let kept = response
            .headers()
            .get(header::CONTENT_DISPOSITION)
            .expect("a name");
        assert_eq!(kept, "attachment; filename=\"x.csv\"");
        let body = axum::body::to_bytes(response.into_body(), 8 << 20)
            .await
            .expect("a body");
        let text = String::from_utf8(body.to_vec()).expect("text");
        assert!(text.starts_with("n\r\n0\r\n") && text.ends_with(&format!("119999\r\n{MORE}\r\n")));
        assert_eq!(text.lines().count(), 120_002);
    }

    #[tokio::test]
    async fn a_part_that_fails_leaves_the_table_incomplete() {
        let (stop, closing) = watch::channel(false);
        let part = |from: usize| async move {
            let mut csv = Csv::default();
            csv.row(&["x"]);
            if from == 2 {
                Err(ApiError::not_found())
            } else {
                Ok((csv, Some(from + 1)))
            }
        };
        let response = streamed("x.csv", &["n"], (0, part), closing.clone())
            .await
            .expect("a table");
        assert!(axum::body::to_bytes(response.into_body(), 1 << 20).await.is_err());
        assert!(
            streamed("x.csv", &["n"], (2, part), closing.clone())
                .await
                .is_err(),
            "at once"
        );
        stop.send_replace(true);
        let response = streamed("x.csv", &["n"], (0, part), closing)
            .await
            .expect("a table");
        assert!(
            axum::body::to_bytes(response.into_body(), 1 << 20).await.is_err(),
            "the server stops"
        );
    }
}
