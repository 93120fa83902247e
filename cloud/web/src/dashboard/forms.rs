//! Extractor for submitted forms.

use axum::extract::{Form, FromRequest, Request};
use axum::response::Response;

use super::layout;
use crate::app::App;
use crate::error::ApiError;

/// Fields of a form in the order of the page; at most 64 KiB.
pub(super) struct Fields(pub(super) Vec<(String, String)>);

const MAX_FORM_BYTES: usize = 64 << 10;

impl FromRequest<App> for Fields {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        let refused = |error: ApiError| layout::failure(&error);
        let bytes = axum::body::to_bytes(body, MAX_FORM_BYTES)
            .await
            .map_err(|_| refused(ApiError::too_large(MAX_FORM_BYTES)))?;
        let request = Request::from_parts(parts, bytes.into());
        match Form::<Vec<(String, String)>>::from_request(request, app).await {
            Ok(Form(fields)) => Ok(Self(fields)),
            Err(error) => Err(refused(ApiError::invalid("invalid_form", error.to_string()))),
        }
    }
}

impl Fields {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Returns all values of a field that may occur several times, such as a list of check boxes.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}
