//! Errors of a project's screens, shown within the frame: the side bar and the way to the page stand when the part
//! that the page is about fails.

use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::kit::empty::whole;
use super::layout::Failed;
use super::shell::{Screen, section_of};
use super::visitor::Visitor;
use crate::app::App;

/// Puts the error page of a screen into the frame of the project. An error that keeps the visitor from the project
/// altogether stays as it is.
pub(super) async fn framed(State(app): State<App>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let mut asked = parts.clone();
    let mut response = next.run(Request::from_parts(parts, body)).await;
    let Some(failed) = response.extensions_mut().remove::<Failed>() else {
        return response;
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
