//! The page on which a person lets a machine act for them, by the code on the machine's terminal. Works without JavaScript.

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use iottly_protocol::ProjectId;
use iottly_protocol::enroll::ShortCode;
use maud::{Markup, html};
use serde::Deserialize;

use super::forms::Fields;
use super::layout::{IntoHtml, Page, failure};
use super::login;
use super::person::SignedIn;
use super::short_code::{COOKIE_S, CodeForm, MALFORMED, sentence, with_cookie};
use super::visitor::Refusal;
use crate::app::{App, WebServices};
use crate::auth::principal_of;
use crate::cookies::cookie;
use crate::error::ApiError;
use crate::sessions::{Approval, Approver, Holder};
use iottly_core::machine_login::LoginRequest;
use iottly_core::model::{Actor, Project, Scopes, UnixMs};
use iottly_store::Author;

/// Name of the cookie that keeps a code while its visitor logs in. It grants nothing.
const COOKIE: &str = "iottly-machine";
const DAY_MS: UnixMs = 86_400_000;
/// Lengths of a login's validity that the form offers: their texts and days.
const DAYS: [(&str, i64); 5] = [
    ("a day", 1),
    ("7 days", 7),
    ("30 days", 30),
    ("90 days", 90),
    ("a year", 365),
];
/// Maximum number of days for people of an identity provider: the provider is asked at a sign-in only, so a person who has
/// left would keep the login.
const PROVIDER_DAYS: i64 = 7;
/// Days that are chosen unless the person chooses others.
const DEFAULT_DAYS: i64 = 30;
/// Scopes, what they allow, and true for those that are chosen unless the person chooses others.
const SCOPES: [(Scopes, &str, bool); 5] = [
    (Scopes::READ, "see devices, messages and settings", true),
    (Scopes::COMMAND, "send commands to devices", true),
    (Scopes::WRITE, "change devices, groups, code and webhooks", true),
    (Scopes::DEPLOY, "bring firmware to devices", true),
    (Scopes::ADMIN, "manage tokens and delete the project", false),
];

/// Query of the page.
#[derive(Deserialize)]
pub(super) struct Asked {
    code: Option<String>,
    done: Option<String>,
}

/// Shows the form, or the request whose code is in the address. Without a login, the code is kept while the visitor logs in.
pub(super) async fn show(
    visitor: Result<SignedIn, Refusal>,
    State(app): State<App>,
    Query(asked): Query<Asked>,
) -> Response {
    let code = asked.code.as_deref().map(str::parse::<ShortCode>);
    let visitor = match visitor {
        Ok(visitor) => visitor,
        Err(Refusal::LoggedOut) => {
            let form = login::form(&app, None);
            // Without a code, the cookie leads back to the empty form.
            let kept = match code {
                Some(Ok(code)) => code.to_string(),
                Some(Err(_)) | None => "-".to_owned(),
            };
            return with_cookie(form, COOKIE, &kept, COOKIE_S, app.services.https);
        }
        Err(refusal) => return refusal.into_response(),
    };
    match code {
        None => page(&visitor, form(None, asked.done.as_deref())),
        Some(Err(_)) => page(&visitor, form(Some(MALFORMED), None)),
        Some(Ok(code)) => {
            let found = app
                .services
                .machines
                .find(code, actor(&visitor))
                .map_err(ApiError::from);
            match found {
                Ok((request, age_ms)) => request_page(&app, &visitor, &request, age_ms, None)
                    .await
                    .unwrap_or_else(|error| failure(&error)),
                Err(error) => refused(&visitor, &error),
            }
        }
    }
}

/// Redirects a visitor who has logged in to the request; the cookie ends.
pub(super) fn after_login(headers: &HeaderMap, https: bool) -> Option<Response> {
    let kept = cookie(headers, COOKIE)?;
    let path = match kept.parse::<ShortCode>() {
        Ok(code) => format!("/login/machine?code={code}"),
        Err(_) if kept == "-" => "/login/machine".to_owned(),
        Err(_) => return None,
    };
    let redirect = Redirect::to(&path).into_response();
    Some(with_cookie(redirect, COOKIE, "", 0, https))
}

/// Approves or rejects the request of the form.
pub(super) async fn decide(visitor: SignedIn, State(app): State<App>, fields: Fields) -> Response {
    let Ok(code) = fields.get("code").unwrap_or_default().parse::<ShortCode>() else {
        let page = page(&visitor, form(Some(MALFORMED), None));
        return (StatusCode::BAD_REQUEST, page).into_response();
    };
    let (machines, by) = (&app.services.machines, actor(&visitor));
    let done = if fields.get("do") == Some("reject") {
        machines
            .deny(code, by)
            .map(|()| "rejected")
            .map_err(ApiError::from)
    } else {
        match approval(&app.services, &visitor, &fields).await {
            Ok(approval) => machines
                .approve(code, by, approval)
                .map(|()| "approved")
                .map_err(ApiError::from),
            Err(error) if error.status().is_client_error() => {
                return again(&app, &visitor, code, &error).await;
            }
            Err(error) => Err(error),
        }
    };
    match done {
        Ok(done) => Redirect::to(&format!("/login/machine?done={done}")).into_response(),
        Err(error) => refused(&visitor, &error),
    }
}

/// Shows the request again with the reason for which it could not be approved.
async fn again(app: &App, visitor: &SignedIn, code: ShortCode, problem: &ApiError) -> Response {
    let shown = async {
        let (request, age_ms) = app.services.machines.find(code, actor(visitor))?;
        let page = request_page(app, visitor, &request, age_ms, Some(problem.message())).await?;
        Ok((problem.status(), page).into_response())
    };
    shown.await.unwrap_or_else(|error| refused(visitor, &error))
}

fn actor(visitor: &SignedIn) -> Actor {
    visitor.session.login.actor()
}

async fn approval(services: &WebServices, visitor: &SignedIn, fields: &Fields) -> Result<Approval, ApiError> {
    let mut scopes: Option<Scopes> = None;
    for (scope, _, _) in SCOPES {
        let name = scope.names().next().unwrap_or_default();
        if fields.all("scope").any(|chosen| chosen == name) {
            scopes = Some(scopes.map_or(scope, |scopes| scopes.with(scope)));
        }
    }
    let scopes = scopes.ok_or_else(|| ApiError::invalid("invalid_form", "choose at least one permission"))?;
    let days = fields.get("days").and_then(|days| days.parse::<i64>().ok());
    let days = days.filter(|days| DAYS.iter().any(|(_, known)| known == days));
    let mut days = days.unwrap_or(DEFAULT_DAYS);
    let by = match &visitor.session.login.holder {
        Holder::Person(person) => {
            let project = match fields.get("project").unwrap_or_default() {
                "" => None,
                id => Some(
                    id.parse::<ProjectId>()
                        .map_err(|_| ApiError::invalid("invalid_form", "project is not an id"))?,
                ),
            };
            if let Some(project) = project {
                principal_of(services, person, project).await?;
            }
            let user = services.store.user(person.id).await?;
            let user = user.ok_or_else(ApiError::unauthenticated)?;
            if !user.has_password {
                days = days.min(PROVIDER_DAYS);
            }
            Approver::Person {
                author: Author {
                    actor: Actor::User(person.id),
                    name: person.name.clone(),
                    address: visitor.address,
                },
                project,
                round: user.logins,
            }
        }
        Holder::Token(principal) => {
            if !principal.scopes.contains(scopes.with(Scopes::ADMIN)) {
                return Err(ApiError::forbidden(
                    "this login is with a token that lacks the scope admin or one of these permissions",
                ));
            }
            let mut principal = principal.clone();
            principal.address = visitor.address;
            Approver::Token {
                principal,
                expires: visitor.session.login.expires,
            }
        }
    };
    Ok(Approval {
        by,
        scopes,
        length: days * DAY_MS,
    })
}

/// Returns the form again if a person can do something about the error.
fn refused(visitor: &SignedIn, error: &ApiError) -> Response {
    let status = error.status();
    if status.is_server_error() {
        return failure(error);
    }
    (
        status,
        page(visitor, form(Some(&sentence(error.message())), None)),
    )
        .into_response()
}

fn page(visitor: &SignedIn, content: Markup) -> Response {
    let name = match &visitor.session.login.holder {
        Holder::Person(person) => &person.name,
        Holder::Token(principal) => &principal.name,
    };
    let page = Page {
        title: "Log in on a machine",
        name: Some(name),
        content,
    };
    page.render().into_response_html()
}

fn form(problem: Option<&str>, done: Option<&str>) -> Markup {
    let note = html! {
        @match done {
            Some("approved") => p.result role="status" { "The machine is logged in within seconds. Its login is on " a href="/account" { "your account" } "." },
            Some("rejected") => p.result role="status" { "The request was rejected. The machine got nothing." },
            _ => p.soft { "Type the code that " code { "iottly login" } " shows on your own terminal. Never type one that someone sent you." }
        }
    };
    let form = CodeForm {
        heading: "Log in on a machine",
        action: "/login/machine",
        label: "Code on the terminal",
        note,
        problem,
    };
    form.render()
}

async fn request_page(
    app: &App,
    visitor: &SignedIn,
    request: &LoginRequest,
    age_ms: UnixMs,
    problem: Option<&str>,
) -> Result<Response, ApiError> {
    let store = &app.services.store;
    let (name, projects, most, longest) = match &visitor.session.login.holder {
        Holder::Person(person) => {
            let user = store.user(person.id).await?;
            let by_password = user.is_some_and(|user| user.has_password);
            (
                person.name.as_str(),
                Some(store.projects_of(person.id).await?),
                Scopes::PROJECT,
                if by_password { i64::MAX } else { PROVIDER_DAYS },
            )
        }
        Holder::Token(principal) => (principal.name.as_str(), None, principal.scopes, i64::MAX),
    };
    let yours = visitor.address.map(|address| address.to_string());
    let content = html! {
        section.card.narrow {
            h1 { "Let this machine act for " (name) "?" }
            p { "Continue only if you have just typed " code { "iottly login" } " yourself, and if this code is on your terminal. What the machine does is recorded as yours." }
            @if let Some(problem) = problem { p.field-problem role="alert" { (problem) } }
            dl.facts {
                dt { "Code" } dd { code { (request.code) } }
                dt { "Calls itself" } dd { bdi.break { (request.machine) } }
                dt { "Asked from" } dd { (request.from) @if yours.as_ref().is_some_and(|yours| *yours != request.from) { span.sub { "another address than yours, " (yours.as_deref().unwrap_or_default()) } } }
                dt { "Asked" } dd { (age_ms / 1000) " s ago" }
            }
            form.stack method="post" action="/login/machine" {
                input type="hidden" name="code" value=(request.code);
                (choices(projects.as_deref(), most, longest))
                div.actions {
                    button data-kind="main" name="do" value="approve" { "Let it act" }
                    button name="do" value="reject" { "Reject" }
                }
            }
        }
    };
    Ok(page(visitor, content))
}

fn choices(projects: Option<&[Project]>, most: Scopes, longest: i64) -> Markup {
    let offered = DEFAULT_DAYS.min(longest);
    html! {
        @if let Some(projects) = projects {
            div.field { label for="project" { "It reaches" }
                select #project name="project" {
                    option value="" { "all my projects" }
                    @for project in projects { option value=(project.id) { "only " (project.name) } }
                }
            }
        }
        fieldset.field { legend { "It may" }
            @for (scope, text, chosen) in SCOPES {
                @if most.contains(scope) {
                    @let name = scope.names().next().unwrap_or_default();
                    label.choice { input type="checkbox" name="scope" value=(name) checked[chosen]; span { b { (name) } ": " (text) } }
                }
            }
        }
        @if projects.is_some() { p.soft { "Never more than your own role allows." } }
        div.field { label for="days" { "For" }
            select #days name="days" { @for (name, days) in DAYS { @if days <= longest { option value=(days) selected[days == offered] { (name) } } } }
        }
    }
}
