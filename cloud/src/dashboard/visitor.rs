use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};

use super::layout;
use crate::auth::{ProjectAccess, SESSION_COOKIE, Session, cookie, same_origin};
use crate::clock;
use crate::error::ApiError;
use crate::http::App;
use crate::model::Scopes;

/// Somebody who is logged in to a page. Others are sent to the login.
pub(super) struct Visitor {
    pub(super) session: Session,
    pub(super) project: ProjectAccess,
}

impl FromRequestParts<App> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        if !same_origin(&parts.method, &parts.headers) {
            return Err(layout::failure(&ApiError::forbidden("the request comes from another site")));
        }
        let session = cookie(&parts.headers, SESSION_COOKIE).and_then(|secret| app.services.sessions.find(secret, clock::now()));
        let session = session.ok_or_else(|| Redirect::to("/").into_response())?;
        if !parts.method.is_safe() && !session.principal.scopes.contains(Scopes::WRITE) {
            return Err(layout::failure(&ApiError::forbidden("token lacks the scope write")));
        }
        let project = ProjectAccess::of(&session.principal, &app.services);
        Ok(Self { session, project })
    }
}
