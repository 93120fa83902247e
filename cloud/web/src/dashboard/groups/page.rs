//! The page of a group: its rollout, what its devices run, its branch and its policy.

use axum::extract::Path;
use axum::response::Response;
use iottly_core::model::{Group, ORPHANED, Rollout, RolloutStatus, Scopes, StoredRelease};
use iottly_store::DigestCount;
use maud::{Markup, html};

use super::super::kit::csv::csv_link;
use super::super::kit::empty::{broken, empty};
use super::super::kit::icons::{Icon, icon};
use super::super::kit::script::script_for;
use super::super::layout::failure;
use super::super::shell::{Screen, Section};
use super::super::text;
use super::super::visitor::Visitor;
use super::flash::quoted;
use super::list::status;
use super::{
    address, devices, devices_where, devices_with, find, find_rollout, of_devices, policy, rollout, size,
};
use crate::error::ApiError;

/// Number of earlier rollouts that the page lists, and of releases whose devices it names.
const SHOWN: usize = 20;
/// Number of digests whose devices the page counts: those of most devices.
const DIGESTS: usize = 50;

type OfGroup = Path<(String, String)>;
type OfRollout = Path<(String, String, String)>;

/// Shows a group with its newest rollout.
pub(in super::super) async fn show(visitor: Visitor, Path((_, id)): OfGroup) -> Response {
    let page = async {
        let group = find(&visitor, &id).await?;
        let rollouts = rollouts(&visitor, &group).await;
        let newest = rollouts
            .as_ref()
            .ok()
            .and_then(|rollouts| rollouts.first().cloned());
        page(&visitor, &group, newest, &rollouts).await
    };
    page.await.unwrap_or_else(|error: ApiError| failure(&error))
}

/// Shows a group with one of its rollouts.
pub(in super::super) async fn of_rollout(visitor: Visitor, Path((_, id, rollout)): OfRollout) -> Response {
    let page = async {
        let group = find(&visitor, &id).await?;
        let found = find_rollout(&visitor, &group, &rollout).await?;
        let rollouts = rollouts(&visitor, &group).await;
        page(&visitor, &group, Some(found), &rollouts).await
    };
    page.await.unwrap_or_else(|error: ApiError| failure(&error))
}

async fn rollouts(visitor: &Visitor, group: &Group) -> Result<Vec<Rollout>, ApiError> {
    let access = &visitor.project;
    Ok(access
        .services()
        .store
        .rollouts(access.id(), Some(group.id), SHOWN)
        .await?)
}

async fn page(
    visitor: &Visitor,
    group: &Group,
    rollout: Option<Rollout>,
    rollouts: &Result<Vec<Rollout>, ApiError>,
) -> Result<Response, ApiError> {
    let (access, store) = (&visitor.project, &visitor.project.services().store);
    // Parts that cannot be read leave the others.
    let count = size(visitor, group).await;
    let running = store.group_digests(access.id(), group.id, DIGESTS).await;
    let releases = store.releases(access.id(), None, 100).await.unwrap_or_default();
    let release = match &rollout {
        Some(rollout) => store
            .one_release(access.id(), rollout.release)
            .await
            .unwrap_or_default(),
        None => None,
    };
    let by_release = match (&running, &count) {
        (Ok(running), Ok(count)) => by_release(visitor, group, (running, *count), &releases),
        _ => failed("What the devices of the group run could not be read"),
    };
    let history = match rollouts {
        Ok(rollouts) => history(visitor, group, rollouts),
        Err(_) => failed("The rollouts of the group could not be read"),
    };
    let mut watched = "messages=none".to_owned();
    let progress = match &rollout {
        Some(rollout) => match rollout::Progress::of(access, rollout).await {
            Ok(progress) => {
                watched = progress.watched();
                progress.view(visitor, group, rollout, release.as_ref())
            }
            Err(_) => failed("The devices of the rollout could not be read"),
        },
        None if rollouts.is_err() => html! {},
        None => html! {
            section.card data-flush {
                (empty(
                    "Nothing was deployed yet",
                    "Save a revision of the group's branch, then flash it: the devices get it in steps, and go back by themselves if it fails.",
                    &html! { a.button data-kind="main" href={ (visitor.base()) "/code/" (group.branch.as_deref().unwrap_or("main")) } { "Open the code" } },
                ))
            }
        },
    };
    let content = html! {
        live-part #group-head data-on="group" { (head(visitor, group, rollout.as_ref(), release.as_ref(), count.as_ref().ok().copied())) }
        (progress)
        live-part #group-revisions data-on="group" data-least="2" { (by_release) }
        (settings(visitor, group).await)
        live-part #group-rollouts data-on="group" data-least="2" { (history) }
        (script_for("flash", &format!("iottly group flash {} --watch", quoted(&group.name)),
            ("POST", &format!("/deploymentgroups/{}/flashfw", group.id), Some("{}")),
        ))
        @for (action, verb) in [("cancel the rollout", "cancel"), ("go back to the release before", "rollback")] {
            (script_for(action, &format!("iottly group {verb} {}", quoted(&group.name)), ("POST", &format!("/deploymentgroups/{}/{verb}", group.id), None)))
        }
        (script_for("pause", &format!("iottly group pause {}", quoted(&group.name)), ("POST", &format!("/deploymentgroups/{}/pause", group.id), None)))
        (script_for("resume", &format!("iottly group resume {}", quoted(&group.name)), ("POST", &format!("/deploymentgroups/{}/resume", group.id), None)))
    };
    let crumbs = [("Groups", format!("{}/groups", visitor.base()))];
    let screen = Screen {
        section: Section::Groups,
        title: &group.name,
        crumbs: &crumbs,
        events: Some(format!("{}/events?{watched}", visitor.base())),
        scripts: &["rollout.js", "presence.js"],
        content,
    };
    screen.respond(visitor).await
}

/// Returns a part of the page that the store did not answer for.
fn failed(heading: &str) -> Markup {
    html! { section.card data-flush { (broken(heading, "The store did not answer. Load the page again.")) } }
}

/// Returns the head of the page; `count` is the number of the group's devices, if it could be read.
fn head(
    visitor: &Visitor,
    group: &Group,
    rollout: Option<&Rollout>,
    release: Option<&StoredRelease>,
    count: Option<u64>,
) -> Markup {
    let here = address(visitor, group);
    let current = rollout.map(|rollout| rollout.status);
    html! {
        div.head {
            div {
                h1 { span.break { (group.name) } " " span data-rollout-status { (status(current)) } }
                ul.meta {
                    li { @match &group.branch { Some(branch) => { "follows " a.mono.break href={ (visitor.base()) "/code/" (text::escaped(branch)) } { (branch) } }, None => "follows no branch" } }
                    li { a href=(devices(visitor, group)) { (count.map_or("its devices".to_owned(), of_devices)) } }
                    @if let Some(rollout) = rollout { li { "started " b { (text::iso(rollout.created)) } " by " b.break { (rollout.author) } } }
                    @if let Some(release) = release {
                        li { "r" (release.revision) ", release " (release.seq) ", digest " b.mono data-digest=(release.sha256) { (release.sha256.get(..8).unwrap_or_default()) } }
                    }
                }
            }
            @if visitor.may(Scopes::DEPLOY) { (acts(group, rollout, &here, count)) }
        }
    }
}

fn acts(group: &Group, rollout: Option<&Rollout>, here: &str, count: Option<u64>) -> Markup {
    let devices = count.map_or("all devices".to_owned(), of_devices);
    let active = rollout
        .filter(|rollout| rollout.active)
        .map(|rollout| rollout.status);
    html! {
        div.actions {
            @match active {
                Some(RolloutStatus::Deploying) => a.button href={ (here) "/pause" } { (icon(Icon::Pause)) "Pause…" },
                Some(RolloutStatus::Paused | RolloutStatus::Halted) => a.button href={ (here) "/resume" } { "Resume…" },
                _ => {}
            }
            @if active.is_some() { a.button data-kind="danger" href={ (here) "/cancel" } { "Cancel…" } }
            @if rollout.is_some() { a.button data-kind="danger" href={ (here) "/rollback" } { "Roll back " (devices) "…" } }
            @if group.branch.is_some() { a.button data-kind="main" href={ (here) "/flash" } { "Flash " (devices) "…" } }
        }
    }
}

/// Returns what the group's devices run now, by what they have reported.
fn by_release(
    visitor: &Visitor,
    group: &Group,
    (running, count): (&[DigestCount], u64),
    releases: &[StoredRelease],
) -> Markup {
    let known = |digest: &str| {
        releases
            .iter()
            .find(|release| !digest.is_empty() && release.sha256 == digest)
    };
    let mut rows: Vec<_> = running
        .iter()
        .map(|count| (known(&count.digest), count.digest.as_str(), count.total))
        .collect();
    let others = count.saturating_sub(running.iter().map(|count| count.total).sum());
    // Without a report a device has no digest.
    let unreported = serde_json::json!({"$in": [null, ""]});
    let listed: Vec<_> = running.iter().map(|count| count.digest.as_str()).collect();
    let other = serde_json::json!({"$exists": true, "$nin": listed});
    rows.sort_by_key(|(release, ..)| std::cmp::Reverse(release.map(|release| release.seq)));
    html! {
        section.card data-flush aria-labelledby="by" {
            div.card-head { h2 #by { "By revision" } (csv_link(&format!("{}/csv/running?group={}", visitor.base(), group.id), "running.csv")) }
            @if rows.is_empty() { p.soft.pad { "The group has no device." } }
            table.table {
                thead.sr { tr { th { "Revision" } th { "Devices" } } }
                tbody { @for (release, digest, count) in rows {
                    tr {
                        td {
                            @match release {
                                Some(release) => {
                                    b.mono { "r" (release.revision) } " of " (release.branch) " " span.mono.soft { (digest.get(..8).unwrap_or_default()) }
                                    span.sub { "release " (release.seq) " by " (release.author) ", " (text::iso(release.created)) }
                                }
                                None if digest.is_empty() => "nothing reported",
                                None => { "no release of this project, or one that is not kept any more " span.mono.soft { (digest.get(..8).unwrap_or_default()) } }
                            }
                        }
                        td.num {
                            a href=(if digest.is_empty() { devices_where(visitor, group, &unreported) } else { devices_with(visitor, group, digest) }) { (of_devices(count)) }
                        }
                    }
                }
                @if others > 0 { tr { td.soft { "other firmware" } td.num { a href=(devices_where(visitor, group, &other)) { (of_devices(others)) } } } } }
            }
        }
    }
}

async fn settings(visitor: &Visitor, group: &Group) -> Markup {
    let access = &visitor.project;
    let branches = access.services().store.branches(access.id()).await;
    let here = address(visitor, group);
    html! {
        @if visitor.may(Scopes::DEPLOY) {
            details.card { summary { "Rules of the next rollout" }
                form.stack method="post" action={ (here) "/policy" } {
                    (policy::fields(&group.policy))
                    div.actions { button { "Save the rules" } }
                }
                (script_for("set the rules", &policy::command(&group.name, &group.policy),
                    ("PUT", &format!("/deploymentgroups/{}/policy", group.id), Some(&serde_json::json!(group.policy).to_string())),
                ))
            }
        } @else {
            section.card { p.soft { "You may look at this group. To deploy to it you need the right “deploy”, which an owner of the organisation grants." } }
        }
        @if visitor.may(Scopes::WRITE) {
            details.card { summary { "Name and branch" }
                form.stack method="post" action=(here) {
                    div.fields {
                        @if group.name != ORPHANED {
                            div.field { label for="name" { "Name" } input #name name="name" required maxlength="128" value=(group.name); }
                        }
                        div.field {
                            label for="branch" { "Branch that it follows" }
                            select #branch name="branch" {
                                @match &branches {
                                    Ok(branches) => @for branch in branches { option selected[group.branch.as_ref() == Some(&branch.name)] { (branch.name) } },
                                    // The others could not be read; the form must not take the group's own away.
                                    Err(_) => @if let Some(branch) = &group.branch { option selected { (branch) } },
                                }
                                option value="" selected[group.branch.is_none()] { "none" }
                            }
                        }
                    }
                    div.actions {
                        button { "Save" }
                        @if group.name != ORPHANED { a.button data-kind="danger" href={ (here) "/delete" } { "Delete the group…" } }
                    }
                }
                (script_for("rename", &format!("iottly group rename {0} {0}", quoted(&group.name)),
                    ("PUT", &format!("/deploymentgroups/{}", group.id), Some(&serde_json::json!({"name": group.name}).to_string())),
                ))
                (script_for("follow a branch", &format!("iottly group follow {} {}", quoted(&group.name), quoted(group.branch.as_deref().unwrap_or("main"))),
                    ("PUT", &format!("/deploymentgroups/{}", group.id), Some(&serde_json::json!({"branch": group.branch.as_deref().unwrap_or("main")}).to_string())),
                ))
            }
        }
    }
}

fn history(visitor: &Visitor, group: &Group, rollouts: &[Rollout]) -> Markup {
    let here = address(visitor, group);
    html! {
        @if !rollouts.is_empty() {
            section.card data-flush aria-labelledby="rollouts" {
                div.card-head { h2 #rollouts { "Rollouts" } (csv_link(&format!("{}/csv/rollouts?group={}", visitor.base(), group.id), "rollouts.csv")) }
                table.table data-rows="link" {
                    thead { tr { th { "Started" } th { "State" } th.p2 { "Release" } th.p2 { "By" } th.num { "Devices" } } }
                    tbody { @for rollout in rollouts {
                        tr {
                            td { a.row-link href={ (here) "/rollouts/" (rollout.id) } { (text::iso(rollout.created)) } }
                            td { (status(Some(rollout.status))) }
                            td.p2.mono { (rollout.release) }
                            td.p2.break { (rollout.author) }
                            td.num { (rollout.devices) }
                        }
                    } }
                }
            }
        }
    }
}
