//! Extractor for the login of a page's visitor.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};

use super::layout;
use crate::app::App;
use crate::auth::{ProjectAccess, logged_in, same_origin, trace_project, within_rate};

use crate::error::ApiError;
use crate::sessions::Session;
use iottly_core::model::Scopes;

/// Visitor with a valid login.
pub(super) struct Visitor {
    pub(super) session: Session,
    pub(super) project: ProjectAccess,
}

/// Reason for which a request has no visitor.
pub(super) enum Refusal {
    /// The request has no valid login.
    LoggedOut,
    /// The request comes from another site, exceeds the rate limit, or needs a scope that the login does not
    /// have.
    Error(ApiError),
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::Error(error)
    }
}

impl IntoResponse for Refusal {
    /// Returns a page with the reason; redirects to the login form without a login.
    fn into_response(self) -> Response {
        match self {
            Self::LoggedOut => Redirect::to("/").into_response(),
            Self::Error(error) => layout::failure(&error),
        }
    }
}

impl FromRequestParts<App> for Visitor {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        if !same_origin(&parts.method, &parts.headers) {
            return Err(ApiError::forbidden("the request comes from another site").into());
        }
        let session = logged_in(&app.services, &parts.headers)
            .await
            .map_err(ApiError::from)?;
        let session = session.ok_or(Refusal::LoggedOut)?;
        trace_project(session.login.principal.project);
        within_rate(&app.services, session.login.principal.token, &parts.extensions)?;
        if !parts.method.is_safe() && !session.login.principal.scopes.contains(Scopes::WRITE) {
            return Err(ApiError::forbidden("token lacks the scope write").into());
        }
        let project = ProjectAccess::of(&session.login, &app.services);
        Ok(Self { session, project })
    }
}
