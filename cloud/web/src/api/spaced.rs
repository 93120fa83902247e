//! JSON responses in the documented format.

use std::io::{self, Write};

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use iottly_protocol::ProjectId;
use serde::Serialize;
use serde_json::ser::Formatter;

use crate::app::WebServices;
use crate::error::ApiError;

/// JSON response with a space after colons and commas, as the documentation prints it. The installer parses
/// it with `sed` and depends on these spaces.
pub(crate) struct Spaced<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Spaced<T> {
    fn into_response(self) -> Response {
        match line(&self.0) {
            Ok(body) => ([JSON], body).into_response(),
            Err(error) => error.into_response(),
        }
    }
}

/// Content type of the responses.
pub(super) const JSON: (HeaderName, HeaderValue) =
    (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));

/// Writes a response; a long one counts as unread until the client has received it.
pub(super) fn counted_response(
    services: &WebServices,
    project: ProjectId,
    value: &impl Serialize,
) -> Result<Response, ApiError> {
    let body = line(value)?;
    let length = (header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    Ok(match services.history_reader.hold(project, body.len() as u64)? {
        None => ([JSON], body).into_response(),
        Some(held) => ([JSON, length], held.body(body)).into_response(),
    })
}

/// Serializes a value, followed by a line feed.
fn line(value: &impl Serialize) -> Result<Vec<u8>, ApiError> {
    let mut body = to_vec(value).map_err(|error| ApiError::internal(&error))?;
    body.push(b'\n');
    Ok(body)
}

pub(super) fn to_vec(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(256);
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, Spaces))?;
    Ok(out)
}

struct Spaces;

impl Formatter for Spaces {
    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn one_line_with_spaces() {
        let value = serde_json::json!({"a": [1, {"b": "x:y,z"}], "c": null});
        let text = super::to_vec(&value).expect("plain JSON");
        assert_eq!(
            String::from_utf8_lossy(&text),
            r#"{"a": [1, {"b": "x:y,z"}], "c": null}"#
        );
    }
}
