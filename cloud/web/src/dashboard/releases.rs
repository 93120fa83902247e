//! Releases and the keys that sign them, and the revisions of a branch.

use axum::extract::Query;
use axum::response::Response;
use iottly_core::model::{Group, MAIN_BRANCH, Revision, Scopes, StoredRelease};
use iottly_store::DigestCount;
use maud::{Markup, html};
use serde::Deserialize;

use super::kit::csv::csv_link;
use super::kit::empty::{broken, empty};
use super::kit::script::script_for;
use super::layout::failure;
use super::shell::{Screen, Section};
use super::text::{self, escaped};
use super::visitor::Visitor;
use crate::api::release_keys::{KeyList, RootDto};
use crate::error::ApiError;

/// Number of releases and of revisions on a page.
const PAGE: usize = 50;

/// Query of the page.
#[derive(Deserialize)]
pub(super) struct Wanted {
    /// Branch whose revisions are listed.
    branch: Option<String>,
    /// Number of the release above the first that is listed.
    before: Option<u64>,
}

pub(super) async fn show(visitor: Visitor, Query(wanted): Query<Wanted>) -> Response {
    page(&visitor, wanted)
        .await
        .unwrap_or_else(|error| failure(&error))
}

async fn page(visitor: &Visitor, wanted: Wanted) -> Result<Response, ApiError> {
    let (access, store) = (&visitor.project, &visitor.project.services().store);
    // Parts that cannot be read leave the others.
    let read = store.releases(access.id(), wanted.before, PAGE + 1).await;
    let read = read.map_err(ApiError::from);
    let mut releases = read.as_ref().cloned().unwrap_or_default();
    let more = releases.len() > PAGE;
    releases.truncate(PAGE);
    let digests: Vec<&str> = releases.iter().map(|release| release.sha256.as_str()).collect();
    let running = store
        .digest_counts(access.id(), &digests)
        .await
        .unwrap_or_default();
    let groups = access.groups().await.unwrap_or_default();
    let branches = store.branches(access.id()).await.unwrap_or_default();
    let named = wanted.branch.as_deref().unwrap_or(MAIN_BRANCH);
    let branch = branches
        .iter()
        .find(|branch| branch.name == named)
        .or(branches.first());
    let revisions = match branch {
        Some(branch) => store.revisions(access.id(), &branch.name, None, PAGE).await,
        None => Ok(Vec::new()),
    };
    let revisions = revisions.map_err(ApiError::from);
    let keys = crate::api::release_keys::of(access).await;
    let base = visitor.base();
    let content = html! {
        div.head { div { h1 { "Releases and keys" } p.lede { "A release is a revision that was built and signed. Devices run nothing that these keys have not signed." } } }
        section.card data-flush aria-labelledby="releases" {
            div.card-head { h2 #releases { "Releases" } (csv_link(&format!("{base}/csv/releases"), "releases.csv")) @if wanted.before.is_some() { a.small href={ (base) "/releases" } { "Newest" } } }
            @if let Err(error) = &read {
                (broken("The releases could not be read", error.message()))
            } @else if releases.is_empty() {
                (empty("No release yet", "Flashing a deployment group builds and signs one.", &html! { a.button href={ (base) "/groups" } { "Deployment groups" } }))
            } @else {
                table.table {
                    thead { tr { th { "Release" } th { "Digest" } th.p2 { "By" } th.p2 { "Size" } th.p3 { "Uses of a board" } th.p3 { "Signed by" } th { "Runs on" } } }
                    tbody { @for release in &releases { (row(visitor, release, &groups, &running, keys.as_ref().ok().map(|keys| &keys.root))) } }
                }
                @if more { @if let Some(last) = releases.last() { div.card-foot { span {} a.button data-size="s" href={ (base) "/releases?before=" (last.seq) } { "Older" } } } }
            }
        }
        (script_for("list releases", "iottly code releases", ("GET", "/releases", None)))
        @match &revisions {
            Ok(revisions) => (revisions_of(visitor, branch.map(|branch| branch.name.as_str()), revisions, branches.iter().map(|branch| branch.name.as_str()))),
            Err(error) => section.card data-flush { (broken("The revisions could not be read", error.message())) },
        }
        (match &keys {
            Ok(keys) => signing(keys, &base),
            Err(error) => html! { section.card data-flush { (broken("The keys could not be read", error.message())) } },
        })
    };
    let screen = Screen {
        section: Section::Releases,
        title: "Releases",
        crumbs: &[],
        events: None,
        scripts: &[],
        content,
    };
    screen.respond(visitor).await
}

fn row(
    visitor: &Visitor,
    release: &StoredRelease,
    groups: &[Group],
    counts: &[DigestCount],
    root: Option<&RootDto>,
) -> Markup {
    let count = |group: &Group| {
        let own = counts
            .iter()
            .find(|count| count.group == group.id && count.digest == release.sha256);
        own.map_or(0, |own| own.total)
    };
    let running: Vec<_> = groups
        .iter()
        .map(|group| (group, count(group)))
        .filter(|(_, count)| *count > 0)
        .collect();
    html! {
        tr {
            td { b.mono { (release.seq) } " " span.soft.break { "r" (release.revision) " of " (release.branch) } span.sub { (text::iso(release.created)) } }
            td.mono { span title=(release.sha256) { (release.sha256.get(..12).unwrap_or(&release.sha256)) } }
            td.p2.break { (release.author) }
            td.p2.num { (release.size) " B" }
            td.p3.break { @if release.capabilities.is_empty() { span.soft { "nothing" } } @else { (release.capabilities.join(", ")) } }
            td.p3.mono { @for id in root.into_iter().flat_map(RootDto::release_keys) { span title=(id) { (id.get(..8).unwrap_or(id)) " " } } }
            td {
                @if running.is_empty() { span.soft { "no device" } }
                @for (group, count) in running { a href={ (visitor.base()) "/groups/" (group.id) } { (group.name) ": " (count) } " " }
            }
        }
    }
}

fn revisions_of<'a>(
    visitor: &Visitor,
    branch: Option<&str>,
    revisions: &[Revision],
    branches: impl Iterator<Item = &'a str>,
) -> Markup {
    let Some(branch) = branch else {
        return html! { section.card data-flush { (empty("No branch", "A branch has code and its revisions.", &html! {})) } };
    };
    let may = visitor.may(Scopes::WRITE);
    let base = visitor.base();
    html! {
        section.card data-flush aria-labelledby="revisions" {
            div.card-head {
                h2 #revisions { "Revisions of " a.mono.break href={ (base) "/code/" (escaped(branch)) } { (branch) } }
                (csv_link(&format!("{base}/csv/revisions?branch={}", escaped(branch)), "revisions.csv"))
                nav.seg aria-label="Branch" { @for name in branches { a href={ (base) "/releases?branch=" (escaped(name)) } aria-current=[(name == branch).then_some("true")] { (name) } } }
            }
            @if revisions.is_empty() {
                (empty("No revision yet", "Save the working copy as a revision to deploy it.", &html! { a.button href={ (base) "/code/" (escaped(branch)) } { "Open the code" } }))
            } @else {
                table.table {
                    thead { tr { th { "Revision" } th.p2 { "Message" } th { "By" } th.p2 { "Digest" } th.num { "Next" } } }
                    tbody { @for revision in revisions {
                        tr {
                            td { b.mono { "r" (revision.number) } span.sub { (text::iso(revision.created)) } }
                            td.p2.break { (revision.message) }
                            td.break { (revision.author) }
                            td.p2.mono { (revision.digest.get(..12).unwrap_or(&revision.digest)) @if revision.component.is_some() { span.sub { "component" } } }
                            td { @if may && revision.component.is_none() {
                                form.actions method="post" action={ (base) "/code/" (escaped(branch)) "/restore" } {
                                    input type="hidden" name="revision" value=(revision.number);
                                    button data-size="s" { "Restore" span.sr { " revision " (revision.number) } }
                                }
                            } }
                        }
                    } }
                }
            }
        }
        (script_for("restore a revision", &format!("iottly code restore --branch {branch} NUMBER"), ("POST", &format!("/branches/{}/restore", escaped(branch)), Some("{\"revision\":1}"))))
        @if may {
            section.card aria-labelledby="new-branch" {
                h2 #new-branch { "New branch" }
                form.stack method="post" action={ (base) "/code" } {
                    input type="hidden" name="from" value=(branch);
                    div.field { label for="branch-name" { "Name" } input #branch-name name="name" required maxlength="64" pattern="[A-Za-z0-9_][A-Za-z0-9._\\-]*"; p.hint { "It begins with the working copy of " (branch) "." } }
                    div.actions { button { "Create the branch" } }
                }
                (script_for("create a branch", &format!("iottly code branch NAME --branch {branch}"), ("POST", "/branches", Some(&format!("{{\"name\":\"next\",\"from\":\"{branch}\"}}")))))
            }
        }
    }
}

fn signing(keys: &KeyList, base: &str) -> Markup {
    html! {
        section.card data-flush aria-labelledby="keys" {
            div.card-head { h2 #keys { a href={ (base) "/releases/keys" } { "Keys" } } span.soft.small { "root " (keys.root.version) ", devices not trusting it yet: " (keys.behind) } }
            table.table {
                thead { tr { th { "Key" } th { "Signs" } th.p2 { "Kind" } } }
                tbody { @for key in &keys.root.keys { tr { td.mono.break { (key.key) } td { (key.roles.join(", ")) } td.p2.mono { (key.scheme) } } } }
            }
        }
        (script_for("list keys", "iottly signing-key list", ("GET", "/keys", None)))
    }
}
