//! The questions before the rollout of a group is paused, resumed, withdrawn or turned back.

use axum::extract::Path;
use axum::response::Response;
use iottly_core::model::{Group, Rollout, RolloutStatus, Scopes};
use maud::{Markup, html};
use serde_json::Value;

use super::super::kit::notice::{Tone, notice};
use super::super::kit::question::{Question, question};
use super::super::kit::script::script;
use super::super::layout::failure;
use super::super::visitor::Visitor;
use super::flash::{no_right, quoted, respond, verdicts};
use super::{address, find, of_devices, size};
use crate::error::ApiError;
use iottly_cloud::rollout::FlashError;

type OfGroup = Path<(String, String)>;

/// A question about the rollout of a group.
struct Asked<'a> {
    /// Word of the action in addresses and on the command line.
    verb: &'a str,
    /// Title of the page.
    title: &'a str,
    heading: String,
    text: Markup,
    button: String,
}

/// Asks before a rollout is paused.
pub(in super::super) async fn ask_pause(visitor: Visitor, Path((_, id)): OfGroup) -> Response {
    let page = async {
        let group = find(&visitor, &id).await?;
        let count = of_devices(size(&visitor, &group).await?);
        let asked = Asked {
            verb: "pause",
            title: "Pause",
            heading: format!("Pause the rollout to {}?", group.name),
            text: html! { p { "The group has " b { (count) } ". No further device gets the release until the rollout is resumed; those that have started go on." } },
            button: "Pause the rollout".to_owned(),
        };
        ask(&visitor, &group, asked).await
    };
    page.await.unwrap_or_else(|error: ApiError| failure(&error))
}

/// Asks before a rollout is resumed: which devices get the release next, and why it had halted.
pub(in super::super) async fn ask_resume(visitor: Visitor, Path((_, id)): OfGroup) -> Response {
    let page = async {
        let group = find(&visitor, &id).await?;
        let rollout = newest(&visitor, &group).await?;
        let access = &visitor.project;
        let next = match rollout.active {
            true => {
                access
                    .services()
                    .rollouts
                    .next_if_resumed(access.id(), &rollout)
                    .await?
            }
            false => 0,
        };
        let asked = Asked {
            verb: "resume",
            title: "Resume",
            heading: format!("Resume the rollout to {}?", group.name),
            text: html! { div.stack {
                @if rollout.status == RolloutStatus::Halted { (why(&rollout)) }
                p { b { (of_devices(next as u64)) } @if next == 1 { " gets" } @else { " get" } " the release next; the others follow in the steps of the policy, and devices that are offline when they are back." }
                @if rollout.status == RolloutStatus::Halted { p { "Devices that failed try again, also those that have rolled this release back, and their failures so far do not count any more." } }
            } },
            button: format!("Resume, {} next", of_devices(next as u64)),
        };
        ask(&visitor, &group, asked).await
    };
    page.await.unwrap_or_else(|error: ApiError| failure(&error))
}

/// Asks before a rollout is withdrawn.
pub(in super::super) async fn ask_cancel(visitor: Visitor, Path((_, id)): OfGroup) -> Response {
    let page = async {
        let group = find(&visitor, &id).await?;
        let count = of_devices(size(&visitor, &group).await?);
        let asked = Asked {
            verb: "cancel",
            title: "Cancel",
            heading: format!("Cancel the rollout to {}?", group.name),
            text: html! { p { "This affects " b { (count) } ". Those that have not activated the release keep what they run; the others keep the release." } },
            button: format!("Cancel the rollout to {count}"),
        };
        ask(&visitor, &group, asked).await
    };
    page.await.unwrap_or_else(|error: ApiError| failure(&error))
}

/// Asks before a group goes back to its previous release, which is shown with the devices that would refuse it.
pub(in super::super) async fn ask_roll_back(visitor: Visitor, Path((_, id)): OfGroup) -> Response {
    let page = async {
        let group = find(&visitor, &id).await?;
        if !visitor.may(Scopes::DEPLOY) {
            return respond(&visitor, &group, "Roll back", no_right()).await;
        }
        let access = &visitor.project;
        let count = of_devices(size(&visitor, &group).await?);
        let rollouts = &access.services().rollouts;
        let back = address(&visitor, &group);
        let flashed = match rollouts.roll_back(access.principal(), &group, true).await {
            Ok(flashed) => flashed,
            Err(FlashError::Store(error)) => return Err(error.into()),
            Err(error) => {
                let error = ApiError::from(error);
                let content = html! {
                    div.dialog {
                        h1 { "There is no way back" }
                        p { "The group has " (count) "." }
                        p.break { (error.message()) }
                        div.actions { a.button href=(back) { "Back, change nothing" } }
                    }
                };
                return respond(&visitor, &group, "Roll back", content).await;
            }
        };
        let release = &flashed.release;
        let verdicts = verdicts(&visitor, &flashed.preflight).await?;
        let asked = Asked {
            verb: "rollback",
            title: "Roll back",
            heading: format!("Roll back {count} of {}?", group.name),
            text: html! { div.stack {
                p { "This affects " b { (count) } ". They go back to " b { "r" (release.revision) " of " (release.branch) } ", all at once. Devices that are offline follow when they are back." }
                dl.facts {
                    dt { "Release" } dd.mono { (release.seq) }
                    dt { "Digest" } dd.mono { (release.sha256.get(..16).unwrap_or(&release.sha256)) }
                    dt { "Size" } dd { (release.size) " bytes" }
                    dt { "Uses" } dd { @if release.capabilities.is_empty() { "nothing of a board" } @else { (release.capabilities.join(", ")) } }
                }
                (verdicts)
            } },
            button: format!("Roll back {count}"),
        };
        ask(&visitor, &group, asked).await
    };
    page.await.unwrap_or_else(|error: ApiError| failure(&error))
}

/// Returns why a rollout halted, with the devices that failed first.
fn why(rollout: &Rollout) -> Markup {
    let found: Option<Value> = rollout
        .evidence
        .as_ref()
        .and_then(|text| serde_json::from_str(text).ok());
    let Some(found) = found else { return html! {} };
    let failed = found["failures"]
        .as_array()
        .is_some_and(|failures| !failures.is_empty());
    notice(
        Tone::Bad,
        &html! {
            p { b { "It halted: " } span.break { (found["detail"].as_str().unwrap_or_default()) } }
            @if failed { p { "The page of the rollout names the first devices that failed." } }
        },
    )
}

async fn newest(visitor: &Visitor, group: &Group) -> Result<Rollout, ApiError> {
    let access = &visitor.project;
    let mut found = access
        .services()
        .store
        .rollouts(access.id(), Some(group.id), 1)
        .await?;
    found
        .pop()
        .ok_or_else(|| ApiError::missing("deployment group has no rollout yet"))
}

async fn ask(visitor: &Visitor, group: &Group, asked: Asked<'_>) -> Result<Response, ApiError> {
    let back = address(visitor, group);
    let content = if visitor.may(Scopes::DEPLOY) {
        let form = Question {
            heading: &asked.heading,
            text: &asked.text,
            action: &format!("{back}/{}", asked.verb),
            fields: &[],
            button: &asked.button,
            back: ("Back, change nothing", &back),
        };
        html! {
            (question(&form))
            (script(
                &format!("iottly group {} {}", asked.verb, quoted(&group.name)),
                ("POST", &format!("/deploymentgroups/{}/{}", group.id, asked.verb), None),
            ))
        }
    } else {
        no_right()
    };
    respond(visitor, group, asked.title, content).await
}
