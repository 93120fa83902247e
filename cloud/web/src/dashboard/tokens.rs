//! Tokens of a project: the list, a form for a new one, and its text, which is shown once.

use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use iottly_core::model::UnixMs;
use iottly_protocol::Secret;
use maud::{Markup, html};

use super::forms::Fields;
use super::kit::csv::csv_link;
use super::kit::empty::{empty, part, shown};
use super::kit::notice::{Tone, notice};
use super::kit::question::{Question, question};
use super::kit::script::{script, script_for, snippet};
use super::layout::failure;
use super::shell::{Screen, Section};
use super::text;
use super::visitor::Visitor;
use crate::api::body::JsonBody;
use crate::api::dto::{NewToken, TokenDto};
use crate::api::tokens as rest;
use crate::error::ApiError;
use iottly_cloud::clock;

/// Lengths of a token's validity that the form offers: their texts and days.
const DAYS: [(&str, i64); 4] = [
    ("never", 0),
    ("in 30 days", 30),
    ("in 90 days", 90),
    ("in a year", 365),
];
const DAY_MS: UnixMs = 86_400_000;

pub(super) async fn list(visitor: Visitor) -> Response {
    page(&visitor, None, None)
        .await
        .unwrap_or_else(|error| failure(&error))
}

async fn page(
    visitor: &Visitor,
    made: Option<(&str, &Secret)>,
    problem: Option<&ApiError>,
) -> Result<Response, ApiError> {
    let own = format!("{}/tokens", visitor.base());
    let tokens = match rest::all(visitor.project.clone()).await {
        Err(error) if error.status() == axum::http::StatusCode::FORBIDDEN => return no_right(visitor).await,
        read => part(read.map(|list| list.0.tokens))?,
    };
    let content = html! {
        div.head { div {
            h1 { "Tokens" @if let Ok(tokens) = &tokens { " " span.count { (tokens.len()) } } }
            p.lede { "A token is for programs: the command line, scripts, other services. Its text is shown once." }
        } }
        @if let Some((name, secret)) = made {
            (notice(Tone::Good, &html! { "Token " b { (name) } " was created. Copy its text now; it is not shown again." }))
            (snippet(secret.expose()))
        }
        @if let Some(problem) = problem { (notice(Tone::Bad, &html! { (problem.message()) })) }
        div.split {
            section.card data-flush aria-labelledby="all" {
                div.card-head { h2 #all { "Tokens" } (csv_link(&format!("{}/csv/tokens", visitor.base()), "tokens.csv")) }
                (shown(&tokens, "The tokens could not be read", |tokens| html! {
                    @if tokens.is_empty() { (empty("No tokens", "A token gives a program some of your rights.", &html! {})) }
                    @else { (table(tokens, &own)) }
                }))
            }
            (form(visitor, &own))
        }
        (script_for("revoke", "iottly token revoke ID", ("DELETE", "/tokens/$ID", None)))
        (script("iottly token create --name ci --scope read", ("POST", "/tokens", Some(r#"{"name":"ci","scopes":["read"]}"#))))
    };
    screen("Tokens", &[], content).respond(visitor).await
}

fn screen<'a>(title: &'a str, crumbs: &'a [(&'a str, String)], content: Markup) -> Screen<'a> {
    Screen {
        section: Section::Tokens,
        title,
        crumbs,
        events: None,
        scripts: &[],
        content,
    }
}

async fn no_right(visitor: &Visitor) -> Result<Response, ApiError> {
    let content = html! {
        div.head { div { h1 { "Tokens" } } }
        section.card data-flush { div.empty {
            h3 { "This login may not see the tokens" }
            p { "Owners and administrators of the organisation see and create them." }
        } }
    };
    screen("Tokens", &[], content).respond(visitor).await
}

fn table(tokens: &[TokenDto], own: &str) -> Markup {
    html! {
        table.table data-fold {
            thead { tr { th { "Name" } th { "Scopes" } th.p2 { "Last used" } th.p2 { "Expires" } th { span.sr { "Action" } } } }
            tbody { @for token in tokens { tr {
                td { b.break { (token.name) } span.sub.mono { (token.prefix) "…" } }
                td { @for scope in token.scopes.names() { span.tag { (scope) } " " } @if token.deployment_group.is_some() { span.tag { "one group" } } }
                td.p2.soft { (token.last_used.map_or("never".to_owned(), |at| day(at.at()))) }
                td.p2.soft { (token.expires.map_or("never".to_owned(), |at| day(at.at()))) }
                td { span.actions { form method="post" action={ (own) "/" (token.id) "/revoke" } { button data-size="s" data-kind="danger" { "Revoke…" } } } }
            } } }
        }
    }
}

fn day(at: UnixMs) -> String {
    text::iso(at)[..10].to_owned()
}

fn form(visitor: &Visitor, own: &str) -> Markup {
    let mine = visitor.project.principal().scopes;
    html! {
        form.card.stack method="post" action=(own) {
            h2 { "New token" }
            div.field { label for="name" { "Name" } input #name name="name" required maxlength="128" placeholder="ci"; }
            fieldset.field { legend { "Scopes" }
                @for scope in mine.names() {
                    label.choice { input type="checkbox" name="scope" value=(scope) checked[scope == "read"]; (scope) }
                }
            }
            div.field { label for="days" { "Expires" } select #days name="days" { @for (name, days) in DAYS { option value=(days) { (name) } } } }
            div.actions { button data-kind="main" { "Create the token" } }
        }
    }
}

/// Creates the token of the form and shows its text.
pub(super) async fn create(visitor: Visitor, fields: Fields) -> Response {
    let name = fields.get("name").unwrap_or_default().trim().to_owned();
    let days = fields
        .get("days")
        .and_then(|days| days.parse::<i64>().ok())
        .unwrap_or(0);
    let body = NewToken {
        name: name.clone(),
        scopes: fields.all("scope").map(str::to_owned).collect(),
        deployment_group: None,
        expires: (days > 0).then(|| clock::now().saturating_add(days.saturating_mul(DAY_MS))),
    };
    let shown = async {
        match rest::create(visitor.project.clone(), JsonBody(body)).await {
            Ok(made) => page(&visitor, Some((&name, &made.0.token)), None).await,
            Err(error) if error.status().is_client_error() => {
                let status = error.status();
                Ok((status, page(&visitor, None, Some(&error)).await?).into_response())
            }
            Err(error) => Err(error),
        }
    };
    shown.await.unwrap_or_else(|error| failure(&error))
}

/// Asks before a token is revoked, and revokes it once the visitor is sure.
pub(super) async fn revoke(
    visitor: Visitor,
    Path((project, id)): Path<(String, String)>,
    fields: Fields,
) -> Response {
    let own = format!("{}/tokens", visitor.base());
    let done = async {
        let known = rest::all(visitor.project.clone()).await?.0.tokens;
        let token = known.iter().find(|token| token.id.to_string() == id);
        let token = token.ok_or_else(|| ApiError::missing("project has no such token"))?;
        if fields.get("sure") == Some("yes") {
            rest::revoke(visitor.project.clone(), Path((project, id.clone()))).await?;
            return Ok(Redirect::to(&own).into_response());
        }
        let asked = Question {
            heading: &format!("Revoke the token {}?", token.name),
            text: &html! { p { "Programs that use it are refused from now on, and logins that were made with it end." } },
            action: &format!("{own}/{id}/revoke"),
            fields: &[],
            button: "Revoke the token",
            back: ("Keep it", &own),
        };
        let crumbs = [("Tokens", own.clone())];
        screen("Revoke a token", &crumbs, question(&asked))
            .respond(&visitor)
            .await
    };
    done.await.unwrap_or_else(|error: ApiError| failure(&error))
}
