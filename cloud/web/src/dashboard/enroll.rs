//! The page on which a person approves a board by the code on the board's screen. Works without JavaScript.

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use iottly_cloud::enrolment::{EnrolmentError, Placement, ShownBoard};
use iottly_protocol::GroupId;
use iottly_protocol::enroll::ShortCode;
use maud::{Markup, html};
use serde::Deserialize;

use super::forms::Fields;
use super::layout::{IntoHtml, Page, failure};
use super::short_code::{COOKIE_S, CodeForm, MALFORMED, sentence, with_cookie};
use super::visitor::{Refusal, Visitor};
use super::{arrival, login};
use crate::api;
use crate::app::App;
use crate::cookies::cookie;
use crate::error::ApiError;
use iottly_core::model::{Group, Scopes};

/// Name of the cookie that keeps the code of a board while its visitor logs in. It grants nothing.
const COOKIE: &str = "iottly-enroll";
/// Query of the page.
#[derive(Deserialize)]
pub(super) struct Asked {
    code: Option<String>,
    done: Option<String>,
}

/// Shows the same for the project of the address, to visitors who have logged in.
pub(super) async fn show_in_project(visitor: Visitor, app: State<App>, asked: Query<Asked>) -> Response {
    show(Ok(visitor), app, asked).await
}

/// Shows the form, or the board whose code is in the address. Without a login, the code is kept while the visitor logs in.
pub(super) async fn show(
    visitor: Result<Visitor, Refusal>,
    State(app): State<App>,
    Query(asked): Query<Asked>,
) -> Response {
    let code = asked.code.as_deref().map(str::parse::<ShortCode>);
    let visitor = match visitor {
        Ok(visitor) => visitor,
        Err(Refusal::LoggedOut) => {
            let Some(Ok(code)) = code else {
                return login::form(&app, None);
            };
            let form = login::form(&app, None);
            return with_cookie(form, COOKIE, &code.to_string(), COOKIE_S, app.services.https);
        }
        Err(refusal) => return refusal.into_response(),
    };
    let shown = match code {
        None => page(&visitor, form(&visitor, None, asked.done.as_deref())).await,
        Some(Err(_)) => page(&visitor, form(&visitor, Some(MALFORMED), None)).await,
        Some(Ok(code)) => match visitor
            .project
            .services()
            .enrolment
            .waiting_board(visitor.project.principal(), code)
        {
            Ok(board) => board_page(&visitor, &board).await,
            Err(error) => refused(&visitor, error).await,
        },
    };
    shown.unwrap_or_else(|error| failure(&error))
}

/// Redirects a visitor who has logged in to approve a board; the cookie ends.
pub(super) fn after_login(headers: &HeaderMap, https: bool) -> Option<Response> {
    let code: ShortCode = cookie(headers, COOKIE)?.parse().ok()?;
    let redirect = Redirect::to(&format!("/enroll?code={code}")).into_response();
    Some(with_cookie(redirect, COOKIE, "", 0, https))
}

/// Approves or rejects the board of the form.
pub(super) async fn decide(visitor: Visitor, fields: Fields) -> Response {
    let decided = async {
        let (enrolment, by) = (&visitor.project.services().enrolment, visitor.project.principal());
        let Ok(code) = fields.get("code").unwrap_or_default().parse::<ShortCode>() else {
            let page = page(&visitor, form(&visitor, Some(MALFORMED), None)).await?;
            return Ok((StatusCode::BAD_REQUEST, page).into_response());
        };
        let base = visitor.base();
        let decided = if fields.get("do") == Some("reject") {
            let rejected = enrolment.reject(by, code).await;
            rejected.map(|()| format!("{base}/enroll?done=rejected"))
        } else {
            let placement = placement(&fields)?;
            let approved = enrolment.approve(by, code, placement).await;
            approved.map(|device| arrival::path(&base, device.scope.device))
        };
        match decided {
            Ok(next) => Ok(Redirect::to(&next).into_response()),
            Err(error) => refused(&visitor, error).await,
        }
    };
    decided.await.unwrap_or_else(|error: ApiError| failure(&error))
}

fn placement(fields: &Fields) -> Result<Placement, ApiError> {
    let group = match fields.get("group").unwrap_or_default() {
        "" => None,
        id => Some(
            id.parse::<GroupId>()
                .map_err(|_| ApiError::invalid("invalid_form", "group is not an id"))?,
        ),
    };
    let name = fields.get("name").map(str::trim).filter(|name| !name.is_empty());
    Ok(Placement {
        name: name.map(api::device_name).transpose()?,
        group,
    })
}

/// Returns the form again if a person can do something about the error.
async fn refused(visitor: &Visitor, error: EnrolmentError) -> Result<Response, ApiError> {
    match error {
        EnrolmentError::UnknownBoard | EnrolmentError::TooManyGuesses { .. } => {
            let error = ApiError::from(error);
            let page = page(visitor, form(visitor, Some(&sentence(error.message())), None)).await?;
            Ok((error.status(), page).into_response())
        }
        other => Err(other.into()),
    }
}

async fn page(visitor: &Visitor, content: Markup) -> Result<Response, ApiError> {
    let project = visitor.project.project().await?;
    Ok(Page {
        title: "Approve a board",
        name: Some(&project.name),
        content,
    }
    .render()
    .into_response_html())
}

fn form(visitor: &Visitor, problem: Option<&str>, done: Option<&str>) -> Markup {
    let action = format!("{}/enroll", visitor.base());
    let note = html! {
        @match done {
            Some("rejected") => p.result role="status" { "The board was rejected." },
            _ => {}
        }
    };
    let form = CodeForm {
        heading: "Approve a board",
        action: &action,
        label: "Code on the board's screen",
        note,
        problem,
    };
    form.render()
}

async fn board_page(visitor: &Visitor, shown: &ShownBoard) -> Result<Response, ApiError> {
    let (board, groups) = (shown.request.board(), visitor.project.groups().await?);
    let may = visitor.project.principal().scopes.contains(Scopes::WRITE);
    let project = visitor.project.project().await?;
    let content = html! {
        section.card.narrow {
            h1 { "Approve this board?" }
            p { "Compare the code with the board's screen. The board becomes a device of " strong { (project.name) } "." }
            dl.facts {
                dt { "Code" } dd { code { (shown.code) } }
                dt { "Asks from" } dd { (shown.from) }
                dt { "MAC address" } dd { (board.mac.as_deref().unwrap_or("unknown")) }
                dt { "Profile" } dd { (board.profile) }
                dt { "Agent" } dd { (board.agent) }
            }
            @if may {
                form.stack method="post" action={ (visitor.base()) "/enroll" } {
                    input type="hidden" name="code" value=(shown.code);
                    label for="name" { "Name" }
                    input #name name="name" maxlength="128" value=(board.name.as_deref().unwrap_or_default());
                    label for="group" { "Group" }
                    (group_choice(&groups, shown.has_key))
                    button name="do" value="approve" { "Approve" }
                    button.quiet name="do" value="reject" { "Reject" }
                }
            } @else {
                p.field-problem role="alert" { "This login may not add devices." }
            }
        }
    };
    page(visitor, content).await
}

fn group_choice(groups: &[Group], has_key: bool) -> Markup {
    html! {
        select #group name="group" {
            @if has_key { option value="" { "as the enrolment key says" } }
            @for group in groups { option value=(group.id) { (group.name) } }
        }
    }
}
