//! What happens around every request.

use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::error::ApiError;
use crate::rate::{self, Told};

/// Longest time a request may take; streams are exempt.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// Time for which browsers stay on HTTPS after each answer: 30 days. It binds all ports of the host, so it
/// names no subdomains.
const STAY_ON_HTTPS: &str = "max-age=2592000";
const REQUEST_ID: &str = "x-request-id";
/// Longest request id that is taken over from the client.
const MAX_REQUEST_ID_BYTES: usize = 64;

/// Gives the request its id, and errors the body that names it.
pub(super) async fn request_id(request: Request, next: Next) -> Response {
    let id = given(request.headers()).unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
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
        tracing::debug!(http.method = %method, http.path = path, http.status = error.status().as_u16(), request.id = id, error = error.message(), "request refused");
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

/// Tells a client how often it may ask, where that is limited.
pub(super) async fn rate(mut request: Request, next: Next) -> Response {
    let told = Told::default();
    request.extensions_mut().insert(told.clone());
    let mut response = next.run(request).await;
    if let Some(verdict) = told.0.get() {
        rate::describe(*verdict, response.headers_mut());
    }
    response
}

/// Refuses addresses that no text of ours can match and that the databases would stumble over.
pub(super) async fn plain_path(request: Request, next: Next) -> Response {
    if request.uri().path().contains("%00") {
        return ApiError::not_found().into_response();
    }
    next.run(request).await
}

/// Tells browsers to take every answer as what it says it is and, where the cloud is behind TLS, to stay on
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

/// Counts requests by route and status, and how long they took.
pub(super) async fn measure(State(app): State<App>, request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map(|path| path.as_str().to_owned());
    let (method, began) = (request.method().clone(), Instant::now());
    let response = next.run(request).await;
    // What matches no route is one kind: its addresses are anybody's choice.
    let route = route.unwrap_or_else(|| "none".to_owned());
    app.services.metrics.request(
        method.as_str(),
        route,
        response.status().as_u16(),
        began.elapsed(),
    );
    response
}

/// Ends requests that take too long.
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
