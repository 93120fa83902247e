//! Middleware around requests: ids, errors, rate limit headers, browser protection, metrics and the time
//! limit.

use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;

use super::span;
use crate::app::App;
use crate::error::ApiError;
use crate::rate::{self, SharedVerdict};

/// Maximum duration of a request; streams are exempt.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// Time for which browsers stay on HTTPS after each response: 30 days. Applies to all ports of the host, so
/// subdomains are not included.
const STAY_ON_HTTPS: &str = "max-age=2592000";
const REQUEST_ID: &str = "x-request-id";
/// Maximum length of a request id that is accepted from the client, in bytes.
const MAX_REQUEST_ID_BYTES: usize = 64;

/// Assigns an id to the request, handles the request in a span that carries the id, and renders the body of
/// an error, which contains it.
pub(super) async fn request_id(request: Request, next: Next) -> Response {
    let id = given(request.headers()).unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string());
    let span = span::of_request(&request, &id);
    let response = answer_as(id, request, next).instrument(span.clone()).await;
    span::around_body(span, response)
}

async fn answer_as(id: String, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        let headers = std::mem::take(response.headers_mut());
        response = error.render(&id);
        for (name, value) in headers
            .iter()
            .filter(|(name, _)| ![CONTENT_TYPE, CONTENT_LENGTH].contains(*name))
        {
            response.headers_mut().insert(name, value.clone());
        }
        tracing::debug!(
            http.path = path,
            http.status = error.status().as_u16(),
            error = error.message(),
            "refused a request"
        );
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

fn given(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let plain = !id.is_empty()
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    (plain && id.len() <= MAX_REQUEST_ID_BYTES).then(|| id.to_owned())
}

/// Adds headers that report the rate limit, if there is one for the request.
pub(super) async fn rate(mut request: Request, next: Next) -> Response {
    let verdict_cell = SharedVerdict::default();
    request.extensions_mut().insert(verdict_cell.clone());
    let mut response = next.run(request).await;
    if let Some(verdict) = verdict_cell.0.get() {
        rate::describe(*verdict, response.headers_mut());
    }
    response
}

/// Refuses paths with a NUL character: no stored text matches them, and the databases would fail on them.
pub(super) async fn plain_path(request: Request, next: Next) -> Response {
    if request.uri().path().contains("%00") {
        return ApiError::not_found().into_response();
    }
    next.run(request).await
}

/// Adds headers that stop browsers from guessing content types and, if the cloud is behind TLS, keep them on
/// HTTPS.
pub(super) async fn for_browsers(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if app.services.https {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(STAY_ON_HTTPS));
    }
    response
}

/// Counts requests by route and status, and measures their duration.
pub(super) async fn measure(State(app): State<App>, request: Request, next: Next) -> Response {
    let route = span::route(&request).to_owned();
    let (method, began) = (request.method().clone(), Instant::now());
    let response = next.run(request).await;
    app.services.metrics.request(
        method.as_str(),
        route,
        response.status().as_u16(),
        began.elapsed(),
    );
    response
}

/// Ends requests that take too long, with 503.
pub(super) async fn time_limit(request: Request, next: Next) -> Response {
    match tokio::time::timeout(TIME_LIMIT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::unavailable(
            "timeout",
            format!("request took longer than {} s", TIME_LIMIT.as_secs()),
        )
        .into_response(),
    }
}
