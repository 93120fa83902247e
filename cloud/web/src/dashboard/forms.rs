//! Extractor for submitted forms.

use axum::extract::{Form, FromRequest, Request};
use axum::response::Response;
use iottly_core::model::UnixMs;
use iottly_protocol::Secret;

use super::layout;
use super::text::moment;
use crate::app::App;
use crate::error::ApiError;

/// Fields of a form that carries code and what it is based on; at most 1.5 MiB, since a browser writes a character of code
/// as up to three.
pub(super) struct CodeFields(Fields);

const MAX_CODE_FORM_BYTES: usize = 3 << 19;

impl FromRequest<App> for CodeFields {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        read(request, app, MAX_CODE_FORM_BYTES).await.map(Self)
    }
}

impl CodeFields {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)
    }
}

/// Fields of a form in the order of the page; at most 64 KiB.
pub(super) struct Fields(pub(super) Vec<(String, String)>);

const MAX_FORM_BYTES: usize = 64 << 10;

impl FromRequest<App> for Fields {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        read(request, app, MAX_FORM_BYTES).await
    }
}

async fn read(request: Request, app: &App, max: usize) -> Result<Fields, Response> {
    let (parts, body) = request.into_parts();
    let refused = |error: ApiError| layout::failure(&error);
    let bytes = axum::body::to_bytes(body, max)
        .await
        .map_err(|_| refused(ApiError::too_large(max)))?;
    let request = Request::from_parts(parts, bytes.into());
    match Form::<Vec<(String, String)>>::from_request(request, app).await {
        Ok(Form(fields)) => Ok(Fields(fields)),
        Err(error) => Err(refused(ApiError::invalid("invalid_form", error.to_string()))),
    }
}

impl Fields {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Returns the time in a field; none if it is empty or missing.
    ///
    /// # Errors
    /// If the text is not a time as browsers send it, or as the API takes it.
    pub(super) fn moment(&self, name: &str) -> Result<Option<UnixMs>, ApiError> {
        let text = self.get(name).map(str::trim).filter(|text| !text.is_empty());
        text.map(|text| {
            moment(text).map_err(|_| {
                ApiError::invalid(
                    "invalid_form",
                    format!("{name}: {text:?} is not a time such as 2026-11-26T14:30"),
                )
            })
        })
        .transpose()
    }

    /// Returns the password in a field; an empty one if the field is missing.
    pub(super) fn secret(&self, name: &str) -> Secret {
        Secret::new(self.get(name).unwrap_or_default())
    }

    /// Returns all values of a field that may occur several times, such as a list of check boxes.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_browsers_send_them() {
        let read = |text: &str| {
            let fields = Fields(vec![("at".to_owned(), text.to_owned())]);
            fields.moment("at").map_err(|error| error.message().to_owned())
        };
        let noon = Ok(Some(43_200_000));
        assert_eq!(read("1970-01-01T12:00"), noon);
        assert_eq!(read("1970-01-01T12:00:00"), noon);
        assert_eq!(read(" 1970-01-01T12:00:00.000Z "), noon);
        assert_eq!(read(""), Ok(None));
        assert_eq!(Fields(Vec::new()).moment("at").ok(), Some(None));
        for bad in ["soon", "1970-01-01", "1970-01-01T24:00"] {
            assert!(read(bad).is_err_and(|reason| reason.starts_with("at: ")), "{bad}");
        }
    }
}
