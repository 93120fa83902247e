//! Extractors for request bodies: JSON objects, typed JSON and bytes, each read up to a limit.

use axum::extract::{FromRequest, Request};
use futures_util::StreamExt;
use iottly_protocol::limits::{MAX_COMPONENT_BYTES, MAX_JSON_DEPTH, depth_within};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::MAX_BODY_BYTES;
use crate::app::App;
use crate::error::ApiError;

/// Body that is a JSON object. The content type is ignored: the tools of the original platform send JSON as a
/// form.
pub(crate) struct JsonObject(pub(crate) Map<String, Value>);

impl FromRequest<App> for JsonObject {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &App) -> Result<Self, ApiError> {
        let bytes = read(request).await?;
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(fields))
                if fields
                    .iter()
                    .any(|(key, value)| key.contains(NUL) || holds_nul(value)) =>
            {
                Err(ApiError::invalid(
                    "invalid_body",
                    "body contains the character NUL",
                ))
            }
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(ApiError::invalid("invalid_body", "body is not a JSON object")),
            Err(error) => Err(ApiError::invalid(
                "invalid_body",
                format!("body is not JSON: {error}"),
            )),
        }
    }
}

/// Character that the databases cannot store in a text.
const NUL: char = '\0';

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(NUL),
        Value::Array(values) => values.iter().any(holds_nul),
        Value::Object(fields) => fields
            .iter()
            .any(|(key, value)| key.contains(NUL) || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Body that is a JSON object, kept as the text that was sent.
pub(crate) struct JsonText(pub(crate) Box<RawValue>);

impl FromRequest<App> for JsonText {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &App) -> Result<Self, ApiError> {
        let bytes = read(request).await?;
        let invalid = |reason: String| ApiError::invalid("invalid_body", reason);
        let text = str::from_utf8(&bytes)
            .map_err(|error| invalid(format!("body is not UTF-8: {error}")))?
            .trim();
        if !depth_within(text, MAX_JSON_DEPTH) {
            return Err(invalid(format!("body is nested deeper than {MAX_JSON_DEPTH}")));
        }
        // Parsed as values once: a raw text may contain numbers and escapes that cannot be parsed later.
        let _: Map<String, Value> = serde_json::from_str(text)
            .map_err(|error| invalid(format!("body is not a JSON object: {error}")))?;
        let raw = RawValue::from_string(text.to_owned())
            .map_err(|error| invalid(format!("body is not JSON: {error}")))?;
        Ok(Self(raw))
    }
}

/// Body of type `T`, whatever its content type is. A field that `T` does not have is refused by its name.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let JsonObject(fields) = JsonObject::from_request(request, app).await?;
        let shaped = serde_json::from_value(Value::Object(fields));
        shaped
            .map(Self)
            .map_err(|error| ApiError::invalid("invalid_body", format!("body: {error}")))
    }
}

/// Body of type `T` that may be empty; then all fields have their defaults.
pub(crate) struct MaybeJson<T>(pub(crate) T);

impl<T: DeserializeOwned + Default> FromRequest<App> for MaybeJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = read(Request::from_parts(parts.clone(), body)).await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self(T::default()));
        }
        let JsonBody(shaped) = JsonBody::from_request(Request::from_parts(parts, bytes.into()), app).await?;
        Ok(Self(shaped))
    }
}

/// Body of raw bytes: a component.
pub(crate) struct Bytes(pub(super) Vec<u8>);

impl FromRequest<App> for Bytes {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &App) -> Result<Self, ApiError> {
        read_within(request, MAX_COMPONENT_BYTES).await.map(Self)
    }
}

/// Reads a body and stops as soon as it exceeds the limit.
async fn read(request: Request) -> Result<Vec<u8>, ApiError> {
    read_within(request, MAX_BODY_BYTES).await
}

pub(super) async fn read_within(request: Request, max: usize) -> Result<Vec<u8>, ApiError> {
    let mut stream = request.into_body().into_data_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| {
            ApiError::invalid("invalid_body", format!("failed to read the body: {error}"))
        })?;
        if bytes.len() + chunk.len() > max {
            return Err(ApiError::too_large(max));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
