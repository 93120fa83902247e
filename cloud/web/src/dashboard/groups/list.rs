//! The list of deployment groups, and the form that creates one.

use axum::response::Response;
use iottly_core::model::{Group, ORPHANED, RolloutStatus, Scopes};
use iottly_store::GroupCounts;
use maud::{Markup, html};

use super::super::kit::csv::csv_link;
use super::super::kit::empty::{empty, shown};
use super::super::kit::script::script;
use super::super::layout::failure;
use super::super::shell::{Screen, Section};
use super::super::visitor::Visitor;
use super::{address, of_devices};
use crate::error::ApiError;

pub(in super::super) async fn list(visitor: Visitor) -> Response {
    page(&visitor).await.unwrap_or_else(|error| failure(&error))
}

async fn page(visitor: &Visitor) -> Result<Response, ApiError> {
    let access = &visitor.project;
    // Parts that cannot be read leave the others.
    let read = access.groups().await;
    let groups = read.as_deref().unwrap_or_default();
    let counts = access.services().store.group_counts(access.id()).await;
    let counts = counts.unwrap_or_default();
    let branches = access.services().store.branches(access.id()).await;
    let branches = branches.unwrap_or_default();
    let content = html! {
        div.head { div { h1 { "Deployment groups" } p.lede { "A device is in one group and runs what the group's branch deploys." } }
            div.actions { (csv_link(&format!("{}/csv/groups", visitor.base()), "groups.csv")) } }
        @if read.is_ok() && groups.iter().all(|group| group.name == ORPHANED) {
            section.card data-flush {
                (empty(
                    "No group yet",
                    "Devices in no other group are in _orphaned. A group of your own follows a branch and gets its releases in steps.",
                    &html! { @if visitor.may(Scopes::WRITE) { a.button data-kind="main" href="#name" { "Create a group" } } },
                ))
            }
        }
        section.card data-flush aria-label="Deployment groups" {
            (shown(&read, "The groups could not be read", |groups| html! { table.table data-rows="link" {
                thead { tr { th { "Group" } th { "State" } th.p2 { "Branch" } th.p2 { "Revision" } th.num { "Devices" } } }
                tbody { @for group in groups { (row(visitor, group, counts_of(&counts, group))) } }
            } }))
        }
        @if visitor.may(Scopes::WRITE) {
            section.card aria-labelledby="new" {
                h2 #new { "New group" }
                form.stack method="post" action={ (visitor.base()) "/groups" } {
                    div.fields {
                        div.field { label for="name" { "Name" } input #name name="name" required maxlength="128"; }
                        div.field {
                            label for="branch" { "Branch that it follows" }
                            select #branch name="branch" {
                                @for branch in &branches { option { (branch.name) } }
                                option value="" { "none" }
                            }
                        }
                    }
                    div.actions { button { "Create the group" } }
                }
            }
        }
        (script(
            "iottly group create turin --branch main",
            ("POST", "/deploymentgroups", Some("{\"name\":\"turin\",\"branch\":\"main\"}")),
        ))
    };
    let screen = Screen {
        section: Section::Groups,
        title: "Groups",
        crumbs: &[],
        events: None,
        scripts: &[],
        content,
    };
    screen.respond(visitor).await
}

/// Returns the number of devices of a group among those of all groups.
pub(in super::super) fn counts_of(counts: &[GroupCounts], group: &Group) -> u64 {
    let own = counts.iter().find(|counts| counts.group == group.id);
    own.map_or(0, |own| own.total as u64)
}

fn row(visitor: &Visitor, group: &Group, devices: u64) -> Markup {
    html! {
        tr {
            td { a.row-link href=(address(visitor, group)) { (group.name) } span.sub.only-phone { (group.branch.as_deref().unwrap_or("no branch")) } }
            td { (status(group.status)) }
            td.p2.mono.break { (group.branch.as_deref().unwrap_or("–")) }
            td.p2.mono { @match &group.current_revision { Some(number) => { "r" (number) }, None => "–" } }
            td.num { a href=(super::devices(visitor, group)) { (of_devices(devices)) } }
        }
    }
}

/// Returns the status of a rollout as a word with its tone.
pub(super) fn status(status: Option<RolloutStatus>) -> Markup {
    let (word, tone) = match status {
        None => ("nothing deployed", "idle"),
        Some(RolloutStatus::Deploying) => ("deploying", "busy"),
        Some(RolloutStatus::Deployed) => ("deployed", "good"),
        Some(RolloutStatus::Paused) => ("paused", "warn"),
        Some(RolloutStatus::Halted) => ("halted", "bad"),
        Some(RolloutStatus::Cancelled) => ("cancelled", "idle"),
        Some(RolloutStatus::RolledBack) => ("rolled back", "warn"),
    };
    html! { span.tag data-tone=(tone) { (word) } }
}
