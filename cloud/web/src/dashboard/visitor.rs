//! Extractor for the login of a page's visitor.

use axum::extract::{FromRequestParts, MatchedPath};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};

use super::{layout, person};
use crate::app::App;
use crate::auth::{ProjectAccess, logged_in, needed, same_origin, trace_project, within_rate};

use crate::client::client_address;
use crate::error::ApiError;
use crate::sessions::{Holder, Session};

/// Visitor with a valid login.
pub(super) struct Visitor {
    pub(super) session: Session,
    pub(super) project: ProjectAccess,
}

/// Reason for which a request has no visitor.
pub(super) enum Refusal {
    /// The request has no valid login.
    LoggedOut,
    /// The login is that of a person whose organisations have no project.
    NoProject(Box<Session>),
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
            Self::LoggedOut | Self::NoProject(_) => Redirect::to("/").into_response(),
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
        within_rate(&app.services, session.login.actor(), &parts.extensions)?;
        let mut principal = match &session.login.holder {
            Holder::Token(principal) => principal.clone(),
            Holder::Person(person) => {
                match person::current_project(&app.services, person, &parts.headers).await? {
                    Some(principal) => principal,
                    None => return Err(Refusal::NoProject(Box::new(session))),
                }
            }
        };
        principal.address = client_address(&parts.extensions);
        trace_project(principal.project);
        let route = parts
            .extensions
            .get::<MatchedPath>()
            .map_or("", MatchedPath::as_str);
        let scope = needed(&parts.method, route);
        if !principal.scopes.contains(scope) {
            let scope = scope.names().collect::<Vec<_>>().join(", ");
            return Err(ApiError::forbidden(format!("this login lacks the scope {scope}")).into());
        }
        let project = ProjectAccess::of(principal, session.login.expires, &app.services);
        Ok(Self { session, project })
    }
}
