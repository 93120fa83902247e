//! The visitor's own choice between the light and the dark theme, kept in a cookie.

use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::forms::Fields;
use super::layout::failure;
use crate::auth::same_origin;
use crate::cookies::cookie;
use crate::error::ApiError;

/// Name of the cookie with the theme. It is no secret and grants nothing.
const COOKIE: &str = "iottly-theme";

/// Theme of the pages, in place of the system's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Theme {
    Light,
    Dark,
}

impl Theme {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Light, Self::Dark]
            .into_iter()
            .find(|theme| theme.as_str() == text)
    }

    /// Returns the theme that a request's cookie names; none for the system's.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        Self::parse(cookie(headers, COOKIE)?)
    }
}

/// Sets the theme of the form; any other value means the system's.
pub(super) async fn choose(method: Method, headers: HeaderMap, fields: Fields) -> Response {
    if !same_origin(&method, &headers) {
        return failure(&ApiError::forbidden("the request comes from another site"));
    }
    let theme = Theme::parse(fields.get("theme").unwrap_or_default());
    let (value, age) = theme.map_or(("", 0), |theme| (theme.as_str(), 31_536_000));
    let mut response = Redirect::to("/account").into_response();
    let text = format!("{COOKIE}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax");
    if let Ok(value) = HeaderValue::from_str(&text) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}
