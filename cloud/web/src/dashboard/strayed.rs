//! Addresses that are no page: a browser gets a page that says so, every other client the error of the API.

use axum::extract::Request;
use axum::http::{HeaderMap, Method, header};
use axum::response::{IntoResponse as _, Response};

use super::layout;
use crate::error::ApiError;

/// Paths of what programs ask for, with or without a browser.
const PROGRAMS: [&str; 2] = ["/v1.0", "/repo/"];

/// Answers a request for a path that does not exist.
pub(crate) async fn not_found(request: Request) -> Response {
    let page = ApiError::missing("there is no page at this address");
    answer(&request, &page, ApiError::not_found())
}

/// Answers a request whose path exists, for other methods. A browser asks so when a form's address is opened as a page.
pub(crate) async fn method_not_allowed(request: Request) -> Response {
    let page = ApiError::missing("this address takes a form; open the page that has the form");
    answer(&request, &page, ApiError::method_not_allowed())
}

fn answer(request: &Request, page: &ApiError, other: ApiError) -> Response {
    let opened = request.method() == Method::GET && prefers_html(request.headers());
    let path = request.uri().path();
    if !opened || PROGRAMS.iter().any(|program| path.starts_with(program)) {
        return other.into_response();
    }
    layout::secured(layout::failure(page))
}

/// Returns true if the client names HTML among what it takes, as browsers do when a person opens an address.
fn prefers_html(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}
