//! The questions before acts that affect all devices of a group. What a flash would do is shown before anything is sent.

use std::time::Duration;

use axum::extract::{Path, Query};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use iottly_core::model::{Group, Scopes};
use iottly_core::rollout::Preflight;
use iottly_protocol::DeviceId;
use maud::{Markup, html};
use serde::Deserialize;
use tokio::time::timeout;

use super::super::forms::Fields;
use super::super::kit::notice::{Tone, notice};
use super::super::kit::question::{Question, question};
use super::super::kit::script::script;
use super::super::layout::failure;
use super::super::shell::{Screen, Section};
use super::super::visitor::Visitor;
use super::act::{rollout_address, sure};
use super::{address, find, of_devices, size};
use crate::error::ApiError;
use iottly_cloud::rollout::{FlashError, FlashRequest, Flashed};

/// Time after which the page says that the cloud builds.
const BUILD: Duration = Duration::from_secs(2);
/// Pause before that page is loaded again, in seconds.
const AGAIN_S: &str = "1";
/// Maximum number of refusing devices that the question lists.
const MAX_REFUSALS: usize = 200;

type OfGroup = Path<(String, String)>;

/// Query of the address of a flash.
#[derive(Deserialize)]
pub(in super::super) struct Wanted {
    /// Number of the revision; the newest of the branch by default.
    revision: Option<u64>,
}

/// Shows what a flash would do: the release, its capabilities, and the devices that would refuse it.
pub(in super::super) async fn ask(
    visitor: Visitor,
    Path((_, id)): OfGroup,
    Query(wanted): Query<Wanted>,
) -> Response {
    let page = async {
        let group = find(&visitor, &id).await?;
        // The build continues without this request; the next one finds its outcome.
        match timeout(BUILD, preview(&visitor, &group, wanted.revision)).await {
            Ok(content) => respond(&visitor, &group, "Flash", content?).await,
            Err(_) => {
                let content = building(&visitor, &group, wanted.revision);
                let mut response = respond(&visitor, &group, "Flash", content).await?;
                response
                    .headers_mut()
                    .insert(header::REFRESH, HeaderValue::from_static(AGAIN_S));
                Ok(response)
            }
        }
    };
    page.await.unwrap_or_else(|error: ApiError| failure(&error))
}

/// Returns the page that is shown while the cloud builds a revision; it is loaded again by itself.
fn building(visitor: &Visitor, group: &Group, revision: Option<u64>) -> Markup {
    let branch = group.branch.as_deref().unwrap_or_default();
    html! {
        div.dialog aria-busy="true" {
            h1.break { "Building " @match revision { Some(number) => { "r" (number) }, None => "the newest revision" } " of " (branch) "…" }
            p role="status" { "The cloud builds the code and runs its top level; other builds may be before it. This page continues by itself, and nothing is sent before you have agreed." }
            ol.route role="list" data-fold {
                li data-state="now" { b { "Build" } span { "now" } }
                li { b { "Check" } span { "what the devices would do" } }
                li { b { "Flash" } span { "after your consent" } }
            }
            div.actions { a.button href=(address(visitor, group)) { "Back, change nothing" } }
        }
    }
}

async fn preview(visitor: &Visitor, group: &Group, revision: Option<u64>) -> Result<Markup, ApiError> {
    if !visitor.may(Scopes::DEPLOY) {
        return Ok(no_right());
    }
    let outcome = try_flash(visitor, group, revision, Vec::new()).await;
    let (flashed, wider) = match outcome {
        Err(FlashError::Wider(wider)) => (try_flash(visitor, group, revision, wider.clone()).await, wider),
        other => (other, Vec::new()),
    };
    let back = address(visitor, group);
    Ok(match flashed {
        Ok(flashed) => asked(visitor, group, &flashed, &wider).await?,
        Err(FlashError::Code(reason)) => html! {
            div.dialog {
                h1 { "This revision does not build" }
                p.break { (reason) }
                div.actions {
                    a.button data-kind="main" href={ (visitor.base()) "/code/" (group.branch.as_deref().unwrap_or("main")) } { "Open the code" }
                    a.button href=(back) { "Back, change nothing" }
                }
            }
        },
        Err(FlashError::Store(error)) => return Err(error.into()),
        Err(error) => {
            let error = ApiError::from(error);
            html! {
                div.dialog { h1 { "This cannot be flashed" } p.break { (error.message()) } div.actions { a.button href=(back) { "Back, change nothing" } } }
            }
        }
    })
}

async fn try_flash(
    visitor: &Visitor,
    group: &Group,
    revision: Option<u64>,
    approve: Vec<String>,
) -> Result<Flashed, FlashError> {
    let request = FlashRequest {
        revision,
        approve,
        dry_run: true,
        ..FlashRequest::default()
    };
    let access = &visitor.project;
    access
        .services()
        .rollouts
        .flash(access.principal(), group, request)
        .await
}

async fn asked(
    visitor: &Visitor,
    group: &Group,
    flashed: &Flashed,
    wider: &[String],
) -> Result<Markup, ApiError> {
    let (release, count) = (&flashed.release, of_devices(size(visitor, group).await?));
    let verdicts = verdicts(visitor, &flashed.preflight).await?;
    let path = format!("/deploymentgroups/{}/flashfw", group.id);
    let body = serde_json::json!({"revision": release.revision, "approve": wider}).to_string();
    Ok(html! {
        form.dialog method="post" action={ (address(visitor, group)) "/flashfw" } {
            h1.break { "Flash r" (release.revision) " of " (release.branch) " to " (group.name) "?" }
            p { "This affects " b { (count) } ". They go to release " b.mono { (release.seq) } " in the steps of the group's policy: "
                (group.policy.canary) " first, and the rest when these are healthy." }
            dl.facts {
                dt { "Digest" } dd.mono { (release.sha256.get(..16).unwrap_or(&release.sha256)) }
                dt { "Size" } dd { (release.size) " bytes" }
                dt { "Uses" } dd { @if release.capabilities.is_empty() { "nothing of a board" } @else { (release.capabilities.join(", ")) } }
            }
            (verdicts)
            @if !wider.is_empty() {
                fieldset.field {
                    legend { "The release asks for more than the one before it. Approve it to go on." }
                    @for capability in wider {
                        label.choice { input type="checkbox" name="approve" value=(capability) required; span.mono.break { (capability) } }
                    }
                }
            }
            label.choice { input type="checkbox" name="force" value="yes"; "Also on devices that have rolled back this very release" }
            input type="hidden" name="revision" value=(release.revision);
            input type="hidden" name="sure" value="yes";
            div.actions {
                button data-kind="main" { "Flash " (count) }
                a.button href=(address(visitor, group)) { "Back, change nothing" }
            }
        }
        (script(&format!("iottly group flash {} --revision {} --watch", quoted(&group.name), release.revision), ("POST", &path, Some(&body))))
    })
}

/// Returns what the devices would do with a release, by what they have reported.
pub(super) async fn verdicts(visitor: &Visitor, preflight: &Preflight) -> Result<Markup, ApiError> {
    let access = &visitor.project;
    let listed = preflight.refusals.iter().take(MAX_REFUSALS);
    let ids: Vec<_> = listed.map(|(device, _)| *device).collect();
    let names = access
        .services()
        .store
        .devices_with_ids(access.id(), &ids)
        .await?;
    let name = |id: &DeviceId| {
        let found = names.iter().find(|device| device.scope.device == *id);
        found.map_or_else(|| id.to_string(), |device| device.name.clone())
    };
    Ok(named_verdicts(preflight, name))
}

fn named_verdicts(preflight: &Preflight, name: impl Fn(&DeviceId) -> String) -> Markup {
    html! {
        @if !preflight.refusals.is_empty() {
            (notice(Tone::Warn, &html! {
                p { b { (of_devices(preflight.refusals.len() as u64)) " would refuse it." } " Nothing was sent to them yet." }
                ul { @for (device, refusal) in preflight.refusals.iter().take(MAX_REFUSALS) {
                    li { b.break { (name(device)) } " " span.tag data-tone="warn" data-reason { (refusal.reason.as_str()) } " " span.break { (refusal.detail) } }
                } }
            }))
        }
        p.soft {
            (of_devices(preflight.ready.len() as u64)) " would take it"
            @if !preflight.unknown.is_empty() { "; " (of_devices(preflight.unknown.len() as u64)) " have not said yet what they can run" }
            "."
        }
    }
}

/// Flashes a group, and shows the rollout.
pub(in super::super) async fn flash(visitor: Visitor, Path((_, id)): OfGroup, fields: Fields) -> Response {
    let done = async {
        sure(&fields)?;
        let group = find(&visitor, &id).await?;
        let revision = fields.get("revision").map(str::parse).transpose();
        let request = FlashRequest {
            revision: revision.map_err(|_| ApiError::invalid("invalid_form", "revision is not a number"))?,
            approve: fields.all("approve").map(str::to_owned).collect(),
            force: fields.get("force") == Some("yes"),
            ..FlashRequest::default()
        };
        let access = &visitor.project;
        let flashed = access
            .services()
            .rollouts
            .flash(access.principal(), &group, request)
            .await?;
        Ok(rollout_address(&visitor, &group, flashed.rollout))
    };
    match done.await {
        Ok(address) => Redirect::to(&address).into_response(),
        Err(error) => failure(&error),
    }
}

/// Asks before a group is deleted.
pub(in super::super) async fn ask_delete(visitor: Visitor, Path((_, id)): OfGroup) -> Response {
    let page = async {
        let group = find(&visitor, &id).await?;
        let count = of_devices(size(&visitor, &group).await?);
        let text = html! { p { "This affects " b { (count) } ": they move to _orphaned and keep what they run. An active rollout to the group is cancelled." } };
        let content = if visitor.may(Scopes::WRITE) {
            let asked = Question {
                heading: &format!("Delete the group {}?", group.name),
                text: &text,
                action: &format!("{}/delete", address(&visitor, &group)),
                fields: &[],
                button: "Delete the group",
                back: ("Back, change nothing", &address(&visitor, &group)),
            };
            html! { (question(&asked)) (script(&format!("iottly group delete {} --yes", quoted(&group.name)), ("DELETE", &format!("/deploymentgroups/{}", group.id), None))) }
        } else {
            no_right()
        };
        respond(&visitor, &group, "Delete", content).await
    };
    page.await.unwrap_or_else(|error: ApiError| failure(&error))
}

pub(super) fn no_right() -> Markup {
    html! { div.dialog { h1 { "You may look, but not deploy" } p { "This needs the right “deploy” (or “write” for the group itself), which an owner of the organisation grants." } } }
}

/// Returns a name as one word of a shell.
pub(super) fn quoted(name: &str) -> String {
    let plain = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if plain {
        name.to_owned()
    } else {
        format!("'{}'", name.replace('\'', "'\\''"))
    }
}

pub(super) async fn respond(
    visitor: &Visitor,
    group: &Group,
    title: &str,
    content: Markup,
) -> Result<Response, ApiError> {
    let crumbs = [
        ("Groups", format!("{}/groups", visitor.base())),
        (group.name.as_str(), address(visitor, group)),
    ];
    let screen = Screen {
        section: Section::Groups,
        title,
        crumbs: &crumbs,
        events: None,
        scripts: &[],
        content,
    };
    screen.respond(visitor).await
}
