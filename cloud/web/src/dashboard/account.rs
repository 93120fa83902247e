//! The page of a person's own account: projects, organisations, password and logins.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::forms::Fields;
use super::layout::{IntoHtml, Page, failure};
use super::person::{LoggedIn, new_project};
use super::text;
use super::visitor::{Refusal, Visitor};
use crate::api::machine_login::organization_of;
use crate::app::App;
use crate::error::ApiError;
use crate::sessions::PasswordError;
use iottly_cloud::clock;
use iottly_core::model::{LoginsOf, MachineLoginId, Membership, Role, UnixMs, UserName};
use iottly_store::PeopleChange;

/// Message to show on the page.
#[derive(Deserialize)]
pub(super) struct Notice {
    done: Option<String>,
}

pub(super) async fn show(
    person: Result<LoggedIn, Refusal>,
    visitor: Result<Visitor, Refusal>,
    State(app): State<App>,
    Query(notice): Query<Notice>,
) -> Response {
    let done = notice.done.is_some();
    let person = match (person, visitor) {
        (Ok(person), _) => person,
        (Err(_), Ok(visitor)) => return of_token(&visitor).await.unwrap_or_else(|error| failure(&error)),
        (Err(refusal), Err(_)) => return refusal.into_response(),
    };
    page(&app, &person, done, None)
        .await
        .unwrap_or_else(|error| failure(&error))
}

/// Shows what a login with a token can see of itself.
async fn of_token(visitor: &Visitor) -> Result<Response, ApiError> {
    let principal = visitor.project.principal();
    let project = visitor.project.project().await?;
    let scopes: Vec<_> = principal.scopes.names().collect();
    let content = html! {
        h1.break { (principal.name) }
        section.card {
            h2 { "Login with a token" }
            p { "This login has the rights of the token " b { (principal.name) } " in the project "
                a href={ (visitor.base()) "/" } { (project.name) } ": " (scopes.join(", ")) ". It ends with the token." }
        }
        (theme())
    };
    let page = Page {
        title: "Account",
        name: Some(&principal.name),
        content,
    };
    Ok(page.render().into_response_html())
}

fn theme() -> Markup {
    html! {
        section.card {
            h2 { "Theme" }
            form.actions method="post" action="/theme" {
                @for (value, name) in [("system", "As the system"), ("light", "Light"), ("dark", "Dark")] { button name="theme" value=(value) { (name) } }
            }
        }
    }
}

async fn page(app: &App, person: &LoggedIn, done: bool, problem: Option<&str>) -> Result<Response, ApiError> {
    let store = &app.services.store;
    let id = person.person.id;
    let (memberships, projects) = (store.memberships(id).await?, store.projects_of(id).await?);
    let has_password = store.user(id).await?.is_some_and(|user| user.has_password);
    let content = html! {
        h1 { (person.person.name) }
        section.card {
            h2 { "Projects" }
            @if projects.is_empty() { p.soft { "Your organisations have no projects." } }
            @for project in &projects {
                form.stack method="post" action="/project" {
                    input type="hidden" name="project" value=(project.id);
                    button { "Open " (project.name) }
                }
            }
            @if memberships.iter().any(|membership| membership.role == Role::Owner) { (new_project()) }
        }
        (theme())
        section.card {
            h2 { "Organisations" }
            ul {
                @for Membership { organization, role } in &memberships {
                    li { a href={ "/members/" (organization.id) } { (organization.name) } ", " (role) }
                }
            }
        }
        @if has_password {
            section.card {
                h2 { "Password" }
                @if done { p.result role="status" { "The password was changed. Other logins were ended." } }
                @if let Some(problem) = problem { p.field-problem role="alert" { (problem) } }
                form.stack method="post" action="/account" {
                    label for="old" { "Present password" }
                    input #old type="password" name="old" autocomplete="current-password" required;
                    label for="password" { "New password, at least 10 characters" }
                    input #password type="password" name="password" autocomplete="new-password" minlength="10" required;
                    button { "Change the password" }
                }
            }
        }
        (machines(app, person).await?)
        section.card {
            h2 { "Logins" }
            form.stack method="post" action="/account/logins" { button { "Log out everywhere" } }
        }
    };
    Ok(Page {
        title: "Account",
        name: Some(&person.person.name),
        content,
    }
    .render()
    .into_response_html())
}

/// Returns the list of the machines that act for the person.
async fn machines(app: &App, person: &LoggedIn) -> Result<Markup, ApiError> {
    let store = &app.services.store;
    let id = person.person.id;
    let round = store.user(id).await?.map_or(0, |user| user.logins);
    let now = clock::now();
    let logins = store.machine_logins(id).await?;
    let live: Vec<_> = logins.iter().filter(|login| login.is_live(round, now)).collect();
    let projects = store.projects_of(id).await?;
    Ok(html! {
        section.card data-flush[!live.is_empty()] aria-labelledby="machines" {
            @if live.is_empty() {
                h2 #machines { "Machines" }
                p.soft { "No machine acts for you. " code { "iottly login" } " on a terminal asks for it." }
            } @else {
                div.card-head { h2 #machines { "Machines" } }
                table.table data-fold {
                    thead { tr { th { "Machine" } th { "Reaches" } th.p2 { "Last used" } th.p2 { "Expires" } th { span.sr { "Action" } } } }
                    tbody { @for login in live { tr {
                        td { b.break { bdi { (login.machine) } } span.sub.mono { (login.prefix) "…" } @if let Some(address) = &login.address { span.sub { "asked from " (address) } } }
                        td {
                            @match login.project {
                                None => "all projects",
                                Some(only) => (projects.iter().find(|project| project.id == only).map_or("a project you left", |project| &project.name)),
                            }
                            " " @for scope in login.scopes.names() { span.tag { (scope) } " " }
                        }
                        td.p2.soft { (login.used.map_or("never".to_owned(), day)) }
                        td.p2.soft { (day(login.expires)) }
                        td { span.actions { form method="post" action={ "/account/machines/" (login.id) "/revoke" } { button data-size="s" data-kind="danger" { "Revoke" } } } }
                    } } }
                }
            }
        }
    })
}

fn day(at: UnixMs) -> String {
    text::iso(at)[..10].to_owned()
}

/// Revokes a machine login of the person.
pub(super) async fn revoke_machine(
    person: LoggedIn,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Response {
    let Ok(id) = id.parse::<MachineLoginId>() else {
        return failure(&ApiError::missing("you have no such machine login"));
    };
    let change = PeopleChange::RevokeMachineLogin(person.person.id, id);
    match apply(&app, &person, change).await {
        Ok(()) => Redirect::to("/account").into_response(),
        Err(error) => failure(&error),
    }
}

/// Replaces the password, ends the person's other logins and logs in again.
pub(super) async fn change_password(person: LoggedIn, State(app): State<App>, fields: Fields) -> Response {
    changed(&app, &person, &fields)
        .await
        .unwrap_or_else(|error| failure(&error))
}

async fn changed(app: &App, person: &LoggedIn, fields: &Fields) -> Result<Response, ApiError> {
    let services = &app.services;
    let refused = async |problem: &str| {
        let page = page(app, person, false, Some(problem)).await?;
        Ok((StatusCode::BAD_REQUEST, page).into_response())
    };
    let name: UserName = person
        .person
        .name
        .parse()
        .map_err(|_| ApiError::unauthenticated())?;
    let known = services.store.credentials(&name).await?;
    let (_, hash) = known.ok_or_else(ApiError::unauthenticated)?;
    if !services.passwords.matches(&fields.secret("old"), hash).await? {
        return refused("The present password is another one.").await;
    }
    let new = match services.passwords.hash(&fields.secret("password")).await {
        Ok(hash) => hash,
        Err(error @ PasswordError::Length) => return refused(&error.to_string()).await,
        Err(error) => return Err(error.into()),
    };
    let id = person.person.id;
    apply(app, person, PeopleChange::SetPassword(id, new)).await?;
    services.end_logins(LoginsOf::User(id)).await?;
    let user = services
        .store
        .user(id)
        .await?
        .ok_or_else(ApiError::unauthenticated)?;
    let entered = super::login::enter(app, user.into()).await?;
    let cookie = entered.headers().clone();
    let mut response = Redirect::to("/account?done=1").into_response();
    for value in cookie.get_all(axum::http::header::SET_COOKIE) {
        response
            .headers_mut()
            .append(axum::http::header::SET_COOKIE, value.clone());
    }
    Ok(response)
}

/// Ends all logins of the person.
pub(super) async fn end_logins(person: LoggedIn, State(app): State<App>) -> Response {
    let id = person.person.id;
    let ended = async {
        apply(&app, &person, PeopleChange::EndLogins(id)).await?;
        app.services.end_logins(LoginsOf::User(id)).await?;
        Ok::<_, ApiError>(Redirect::to("/").into_response())
    };
    ended.await.unwrap_or_else(|error| failure(&error))
}

/// Makes a change of the person's own account; the first of its organisations records it.
async fn apply(app: &App, person: &LoggedIn, change: PeopleChange) -> Result<(), ApiError> {
    let organization = organization_of(&app.services, person.person.id).await?;
    let store = &app.services.store;
    Ok(store
        .change_people(organization, &person.author(), change, clock::now())
        .await?)
}
