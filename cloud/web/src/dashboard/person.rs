//! The person behind a login: its current project, which a cookie names, and the extractor for pages without a project.

use std::net::IpAddr;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use iottly_protocol::ProjectId;
use maud::{Markup, html};

use super::forms::Fields;
use super::layout::{IntoHtml, Page, failure};
use super::visitor::{Refusal, Visitor, base};
use crate::api::dto::NewProject;
use crate::api::projects::create_as;
use crate::app::{App, WebServices};
use crate::auth::{logged_in, principal_of, same_origin, within_rate};
use crate::client::client_address;
use crate::cookies::cookie;
use crate::error::ApiError;
use crate::sessions::{Holder, Person, Session};
use iottly_cloud::clock;
use iottly_core::model::{Actor, Principal, Role};
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
pub(super) async fn no_project(app: &App, session: &Session) -> Response {
    let owns = match &session.login.holder {
        Holder::Person(person) => owns_any(app, person).await.unwrap_or(false),
        Holder::Token(_) => false,
    };
    let content = html! {
        section.card.narrow {
            h1 { "No project yet" }
            @if owns {
                p { "You are logged in, and your organisation has no project. A project holds devices, their messages and their code." }
                (new_project())
            } @else {
                p { "You are logged in, and your organisation has no project. An owner of the organisation can create one." }
            }
            p.soft { "Programs do it with " code { "POST /v1.0/projects" } "." }
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

/// Returns true if the person owns an organisation, in which it can create projects.
pub(super) async fn owns_any(app: &App, person: &Person) -> Result<bool, ApiError> {
    let memberships = app.services.store.memberships(person.id).await?;
    Ok(memberships
        .iter()
        .any(|membership| membership.role == Role::Owner))
}

/// Returns the form that creates a project.
pub(super) fn new_project() -> Markup {
    html! {
        form.stack method="post" action="/projects" {
            label for="project-name" { "Name of the new project" }
            input #project-name name="name" required maxlength="128" autocomplete="off";
            button { "Create the project" }
        }
    }
}

/// Creates a project and opens it.
pub(super) async fn create_project(person: LoggedIn, State(app): State<App>, fields: Fields) -> Response {
    let body = NewProject {
        name: fields.get("name").unwrap_or_default().trim().to_owned(),
        organization: None,
    };
    match create_as(&app.services, &person.person, body, clock::now()).await {
        Ok(project) => (
            [(header::SET_COOKIE, set_cookie(&app, project.id))],
            Redirect::to(&format!("{}/", base(project.id))),
        )
            .into_response(),
        Err(error) => failure(&error),
    }
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
