//! Errors of a project's screens, shown within the frame: the side bar and the way to the page stand when the part
//! that the page is about fails.

use axum::body::to_bytes;
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::kit::empty::whole;
use super::layout::Failed;
use super::shell::{Screen, section_of};
use super::visitor::Visitor;
use crate::app::App;

/// Maximum length of the reason for which an address cannot be read, in bytes.
const MAX_REASON_BYTES: usize = 4096;

/// Returns true if the address of a page was refused before its handler ran: for its query, or for a part of its path.
fn is_unreadable(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE);
    let is_text = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    response.status() == StatusCode::BAD_REQUEST && is_text
}

/// Takes the reason out of such an answer.
async fn unreadable(response: &mut Response) -> Failed {
    let body = std::mem::take(response.body_mut());
    let reason = to_bytes(body, MAX_REASON_BYTES).await.unwrap_or_default();
    Failed {
        message: format!(
            "the address of this page cannot be read: {}",
            String::from_utf8_lossy(&reason)
        ),
    }
}

/// Puts the error page of a screen into the frame of the project. An error that keeps the visitor from the project
/// altogether stays as it is.
pub(super) async fn framed(State(app): State<App>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let mut asked = parts.clone();
    let mut response = next.run(Request::from_parts(parts, body)).await;
    let failed = match response.extensions_mut().remove::<Failed>() {
        Some(failed) => failed,
        None if is_unreadable(&response) => unreadable(&mut response).await,
        None => return response,
    };
    // The frame is read: what the request wanted to change needs no right here.
    asked.method = Method::GET;
    let Ok(visitor) = Visitor::from_request_parts(&mut asked, &app).await else {
        return response;
    };
    let Some((section, title)) = section_of(asked.uri.path()) else {
        return response;
    };
    let screen = Screen {
        section,
        title,
        crumbs: &[],
        events: None,
        scripts: &[],
        content: whole("That did not work", &failed.message),
    };
    match screen.respond(&visitor).await {
        Ok(page) => (response.status(), page).into_response(),
        Err(_) => response,
    }
}
