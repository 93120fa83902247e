//! The person behind a login: its current project, which a cookie names, and the extractor for pages without a project.

use std::net::IpAddr;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use iottly_protocol::ProjectId;
use maud::html;

use super::forms::Fields;
use super::layout::{IntoHtml, Page, failure};
use super::visitor::{Refusal, Visitor, base};
use crate::app::{App, WebServices};
use crate::auth::{logged_in, principal_of, same_origin, within_rate};
use crate::client::client_address;
use crate::cookies::cookie;
use crate::error::ApiError;
use crate::sessions::{Holder, Person, Session};
use iottly_core::model::{Actor, Principal};
use iottly_store::Author;

/// Name of the cookie with the id of the project that a person looks at. It is no secret and grants nothing.
const COOKIE: &str = "iottly-project";

/// Person with a valid login, whichever project it looks at.
pub(super) struct LoggedIn {
    pub(super) person: Person,
    /// Address that the request comes from.
    address: Option<IpAddr>,
}

impl LoggedIn {
    /// Returns the person as the author of a change to an organisation.
    pub(super) fn author(&self) -> Author {
        Author {
            actor: Actor::User(self.person.id),
            name: self.person.name.clone(),
            address: self.address,
        }
    }
}

/// Valid login of a person or a token.
pub(super) struct SignedIn {
    pub(super) session: Session,
    /// Address that the request comes from.
    pub(super) address: Option<IpAddr>,
}

impl FromRequestParts<App> for SignedIn {
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
        let address = client_address(&parts.extensions);
        Ok(Self { session, address })
    }
}

impl FromRequestParts<App> for LoggedIn {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let SignedIn { session, address } = SignedIn::from_request_parts(parts, app).await?;
        match &session.login.holder {
            Holder::Person(person) => Ok(Self {
                person: person.clone(),
                address,
            }),
            Holder::Token(_) => Err(ApiError::forbidden("this page is for people who log in by name").into()),
        }
    }
}

/// Returns the person as the principal of the project that the cookie names, or of the first of the person's projects.
pub(super) async fn current_project(
    services: &WebServices,
    person: &Person,
    headers: &HeaderMap,
) -> Result<Option<Principal>, ApiError> {
    let named: Option<ProjectId> = cookie(headers, COOKIE).and_then(|id| id.parse().ok());
    let projects = services.store.projects_of(person.id).await?;
    let chosen = projects
        .iter()
        .find(|project| Some(project.id) == named)
        .or(projects.first());
    match chosen {
        Some(project) => principal_of(services, person, project.id).await.map(Some),
        None => Ok(None),
    }
}

/// Returns the page of a person whose organisations have no project.
pub(super) fn no_project(session: &Session) -> Response {
    let content = html! {
        section.card.narrow {
            h1 { "No project yet" }
            p { "You are logged in, and your organisation has no project. A project is created by its owner with "
                code { "POST /v1.0/projects" } ", or on the machine of the cloud with " code { "iottly provision" } "." }
            p { a href="/account" { "Your account" } }
        }
    };
    let name = match &session.login.holder {
        Holder::Person(person) => person.name.as_str(),
        Holder::Token(principal) => principal.name.as_str(),
    };
    Page {
        title: "No project",
        name: Some(name),
        content,
    }
    .render()
    .into_response_html()
}

/// Sets the project that the person looks at.
pub(super) async fn choose_project(person: LoggedIn, State(app): State<App>, fields: Fields) -> Response {
    let id = fields.get("project").and_then(|id| id.parse::<ProjectId>().ok());
    let Some(id) = id else {
        return failure(&ApiError::invalid("invalid_form", "project is not an id"));
    };
    if let Err(error) = principal_of(&app.services, &person.person, id).await {
        return failure(&error);
    }
    let set = set_cookie(&app, id);
    (
        [(header::SET_COOKIE, set)],
        Redirect::to(&format!("{}/", base(id))),
    )
        .into_response()
}

fn set_cookie(app: &App, id: ProjectId) -> String {
    let secure = if app.services.https { "; Secure" } else { "" };
    format!("{COOKIE}={id}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Strict{secure}")
}

/// Adds the cookie that makes the visitor's project the one that the dashboard opens with.
pub(super) fn remember(app: &App, visitor: &Visitor, mut response: Response) -> Response {
    if let Ok(value) = HeaderValue::from_str(&set_cookie(app, visitor.project.id())) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}
