//! The visitor's own choice to have no shortcuts of single keys, kept in a cookie: speech input and tremor press such keys by mistake.

use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::{IntoResponse, Redirect, Response};
use iottly_protocol::ProjectId;
use maud::{Markup, html};

use super::forms::Fields;
use super::layout::failure;
use super::visitor::base;
use crate::auth::same_origin;
use crate::cookies::cookie;
use crate::error::ApiError;

/// Name of the cookie. It is no secret and grants nothing.
const COOKIE: &str = "iottly-shortcuts";

/// Returns true if the visitor has switched the shortcuts of single keys off.
pub(super) fn are_off(headers: &HeaderMap) -> bool {
    cookie(headers, COOKIE) == Some("off")
}

/// Returns the switch, which leads back to the list of a project's shortcuts.
pub(super) fn switch(are_off: bool, project: ProjectId) -> Markup {
    let (state, value, word) = if are_off {
        ("Shortcuts of single keys are off.", "on", "Switch them on")
    } else {
        ("Shortcuts of single keys are on.", "off", "Switch them off")
    };
    html! {
        form.actions method="post" action="/shortcuts" {
            input type="hidden" name="project" value=(project);
            span { (state) }
            button name="shortcuts" value=(value) { (word) }
            span.soft.small { "Ctrl S in the editor stays. This browser keeps the choice." }
        }
    }
}

/// Sets the choice of the form.
pub(super) async fn choose(method: Method, headers: HeaderMap, fields: Fields) -> Response {
    if !same_origin(&method, &headers) {
        return failure(&ApiError::forbidden("the request comes from another site"));
    }
    let project = fields.get("project").and_then(|id| id.parse::<ProjectId>().ok());
    let back = project.map_or("/".to_owned(), |project| format!("{}/keys", base(project)));
    let mut response = Redirect::to(&back).into_response();
    let cookie = if fields.get("shortcuts") == Some("off") {
        HeaderValue::from_static("iottly-shortcuts=off; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax")
    } else {
        HeaderValue::from_static("iottly-shortcuts=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax")
    };
    response.headers_mut().append(header::SET_COOKIE, cookie);
    response
}
