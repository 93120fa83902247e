//! Extractor for the login of a page's visitor.

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};

use super::theme::Theme;
use super::{layout, person, shortcuts};
use crate::app::App;
use crate::auth::{
    DeviceAccess, ProjectAccess, logged_in, needed, principal_of, same_origin, trace_project, within_rate,
};

use crate::client::client_address;
use crate::error::ApiError;
use crate::sessions::{Holder, Session};
use iottly_core::model::Scopes;
use iottly_protocol::ProjectId;

/// Visitor with a valid login.
pub(super) struct Visitor {
    pub(super) session: Session,
    pub(super) project: ProjectAccess,
    pub(super) theme: Option<Theme>,
    /// True if the visitor has switched the shortcuts of single keys off.
    pub(super) no_shortcuts: bool,
}

impl Visitor {
    /// Returns the path of the project's pages.
    pub(super) fn base(&self) -> String {
        base(self.project.id())
    }

    /// Returns a handle on a device of the project.
    pub(super) async fn device(&self, id: &str) -> Result<DeviceAccess, ApiError> {
        self.project.clone().into_device(id).await
    }

    /// Returns true if the visitor may do what needs a scope.
    pub(super) fn may(&self, scope: Scopes) -> bool {
        self.project.principal().scopes.contains(scope)
    }
}

/// Returns the path of a project's pages.
pub(super) fn base(project: ProjectId) -> String {
    format!("/p/{project}")
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
        let named = named_project(parts, app).await?;
        let mut principal = match (&session.login.holder, named) {
            (Holder::Token(principal), None) => principal.clone(),
            (Holder::Token(principal), Some(project)) if principal.project == project => principal.clone(),
            (Holder::Token(_), Some(_)) => {
                return Err(ApiError::forbidden("this login is for another project").into());
            }
            (Holder::Person(person), Some(project)) => principal_of(&app.services, person, project).await?,
            (Holder::Person(person), None) => {
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
        Ok(Self {
            session,
            project,
            theme: Theme::of(&parts.headers),
            no_shortcuts: shortcuts::are_off(&parts.headers),
        })
    }
}

/// Returns the project that the path names; none for pages that belong to no project.
async fn named_project(parts: &mut Parts, app: &App) -> Result<Option<ProjectId>, ApiError> {
    let params = RawPathParams::from_request_parts(parts, app)
        .await
        .map_err(|_| ApiError::not_found())?;
    let Some((_, text)) = params.iter().find(|(key, _)| *key == "project") else {
        return Ok(None);
    };
    let project = text.parse();
    project
        .map(Some)
        .map_err(|_| ApiError::forbidden("user has no permission for this project"))
}
