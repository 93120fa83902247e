//! The page with the members of an organisation, for its owners to invite, promote and remove.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use serde::Deserialize;

use super::forms::Fields;
use super::kit::csv::csv_link;
use super::layout::{IntoHtml, Page, failure};
use super::person::LoggedIn;
use crate::app::App;
use crate::auth::hash_secret;
use crate::csv::Csv;
use crate::error::ApiError;
use crate::random;
use iottly_cloud::clock;
use iottly_core::model::{Invitation, LoginsOf, Member, OrganizationId, Role, UnixMs, UserId};
use iottly_store::PeopleChange;

/// Validity of an invitation: three days, in milliseconds.
const VALID_MS: UnixMs = 72 * 60 * 60 * 1000;

/// Message to show on the page.
#[derive(Deserialize)]
pub(super) struct Notice {
    done: Option<String>,
}

/// Organisation of the page and the person's role in it.
pub(super) struct Place {
    pub(super) id: OrganizationId,
    pub(super) name: String,
    role: Role,
}

pub(super) async fn place(app: &App, person: &LoggedIn, named: &str) -> Result<Place, ApiError> {
    let denied = || ApiError::forbidden("no permission for this organization");
    let id: OrganizationId = named.parse().map_err(|_| denied())?;
    let memberships = app.services.store.memberships(person.person.id).await?;
    memberships
        .into_iter()
        .find(|membership| membership.organization.id == id)
        .map(|membership| Place {
            id,
            name: membership.organization.name,
            role: membership.role,
        })
        .ok_or_else(denied)
}

async fn owned(app: &App, person: &LoggedIn, named: &str) -> Result<Place, ApiError> {
    let place = place(app, person, named).await?;
    if place.role == Role::Owner {
        Ok(place)
    } else {
        Err(ApiError::forbidden("only owners change an organization"))
    }
}

pub(super) async fn show(
    person: LoggedIn,
    State(app): State<App>,
    Path(organization): Path<String>,
    Query(notice): Query<Notice>,
) -> Response {
    let shown = async {
        let place = place(&app, &person, &organization).await?;
        page(&app, &person, &place, None, notice.done.is_some()).await
    };
    shown.await.unwrap_or_else(|error| failure(&error))
}

/// Returns the members as a file.
pub(super) async fn csv(
    person: LoggedIn,
    State(app): State<App>,
    Path(organization): Path<String>,
) -> Response {
    let file = async {
        let place = place(&app, &person, &organization).await?;
        let mut csv = Csv::new(&["id", "name", "role"]);
        for Member { user, role } in app.services.store.members(place.id).await? {
            csv.row(&[&user.id.to_string(), &user.name.to_string(), role.name()]);
        }
        Ok::<_, ApiError>(csv.into_file("members.csv"))
    };
    file.await.unwrap_or_else(|error| failure(&error))
}

async fn page(
    app: &App,
    person: &LoggedIn,
    place: &Place,
    link: Option<&str>,
    done: bool,
) -> Result<Response, ApiError> {
    let members = app.services.store.members(place.id).await?;
    let owner = place.role == Role::Owner;
    let content = html! {
        div.head { h1 { "Members of " (place.name) }
            div.actions { (csv_link(&format!("/members/{}/csv", place.id), "members.csv")) } }
        @if done { p.result role="status" { "Done." } }
        @if let Some(link) = link {
            section.card {
                h2 { "Invitation" }
                p { "Send this link to the new member. It works once, for three days, and is not shown again." }
                p { code #link { (link) } }
            }
        }
        section.card {
            ul.members {
                @for Member { user, role } in &members {
                    li {
                        strong { (user.name) } " " span.soft { (role) }
                        @if owner && user.id != person.person.id {
                            form.inline method="post" action={ "/members/" (place.id) "/change" } {
                                input type="hidden" name="user" value=(user.id);
                                select name="role" aria-label={ "Role of " (user.name) } {
                                    @for one in Role::ALL { option value=(one.name()) selected[one == *role] { (one.name()) } }
                                }
                                button name="do" value="role" { "Set role" }
                                button.quiet name="do" value="remove" { "Remove" }
                            }
                        }
                    }
                }
            }
        }
        p { a href={ "/members/" (place.id) "/audit" } { "Changes of the organisation" } }
        @if owner {
            section.card {
                h2 { "Invite" }
                form.stack method="post" action={ "/members/" (place.id) "/invite" } {
                    label for="role" { "Role" }
                    select #role name="role" { @for one in Role::ALL { option value=(one.name()) { (one.name()) } } }
                    button { "Create a link" }
                }
            }
        }
    };
    Ok(Page {
        title: "Members",
        name: Some(&person.person.name),
        content,
    }
    .render()
    .into_response_html())
}

fn role(fields: &Fields) -> Result<Role, ApiError> {
    fields
        .get("role")
        .and_then(Role::named)
        .ok_or_else(|| ApiError::invalid("invalid_form", "role is not viewer, operator, developer or owner"))
}

/// Creates an invitation and shows its link once.
pub(super) async fn invite(
    person: LoggedIn,
    State(app): State<App>,
    Path(organization): Path<String>,
    fields: Fields,
) -> Response {
    let made = async {
        let place = owned(&app, &person, &organization).await?;
        let (key, now) = (random::secret()?, clock::now());
        let invitation = Invitation {
            organization: place.id,
            role: role(&fields)?,
            user: None,
            by: person.person.name.clone(),
            created: now,
            expires: now.saturating_add(VALID_MS),
        };
        let change = PeopleChange::Invite(hash_secret(key.as_bytes()), invitation);
        let store = &app.services.store;
        store
            .change_people(place.id, &person.author(), change, now)
            .await?;
        page(&app, &person, &place, Some(&format!("/join?key={key}")), false).await
    };
    made.await.unwrap_or_else(|error| failure(&error))
}

/// Sets the role of a member, or removes the member.
pub(super) async fn change(
    person: LoggedIn,
    State(app): State<App>,
    Path(organization): Path<String>,
    fields: Fields,
) -> Response {
    let changed = async {
        let place = owned(&app, &person, &organization).await?;
        let user: UserId = fields
            .get("user")
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| ApiError::invalid("invalid_form", "user is not an id"))?;
        let remove = fields.get("do") == Some("remove");
        let change = if remove {
            PeopleChange::RemoveMember(user)
        } else {
            PeopleChange::SetRole(user, role(&fields)?)
        };
        let store = &app.services.store;
        store
            .change_people(place.id, &person.author(), change, clock::now())
            .await?;
        if remove {
            app.services.end_logins(LoginsOf::User(user)).await?;
        }
        Ok::<_, ApiError>(Redirect::to(&format!("/members/{}?done=1", place.id)).into_response())
    };
    changed.await.unwrap_or_else(|error| failure(&error))
}
