//! Differences between the working copy and the revisions that the groups of its branch run, a part for each revision.

use std::collections::BTreeMap;

use iottly_core::code::{CodeFile, MANIFEST_FILE};
use iottly_core::model::{BranchCode, Group, Revision};
use maud::{Markup, html};

use super::super::kit::empty::broken;
use super::edit_pushed;
use super::page::{Facts, MAX_COMPARED_BYTES};
use super::pushed::pushed;
use super::stale::differences;

/// Maximum number of revisions with which the working copy is compared on the page.
const MAX_REVISIONS: usize = 5;

/// Returns the comparisons with each revision that a group of the branch runs.
pub(super) async fn parts(facts: &Facts<'_>) -> Markup {
    if let Err(error) = &facts.groups {
        return html! { section.card data-flush aria-label="Deployment groups" { (broken("The deployment groups could not be read", error.message())) } };
    }
    let mut running: BTreeMap<u64, Vec<&Group>> = BTreeMap::new();
    let mut nothing = Vec::new();
    for group in facts.followers() {
        let number = group
            .current_revision
            .as_ref()
            .and_then(|number| number.parse().ok());
        match number {
            Some(number) => running.entry(number).or_default().push(group),
            None => nothing.push(group),
        }
    }
    let more = running.len().saturating_sub(MAX_REVISIONS);
    let mut found = Vec::new();
    for (number, groups) in running.iter().rev().take(MAX_REVISIONS) {
        found.push(part(facts, *number, groups).await);
    }
    html! {
        @for part in &found { (part) }
        @if more > 0 { p.soft { "Groups run " (more) " older revisions as well; " code { "GET …/diff" } " compares them." } }
        @if !nothing.is_empty() {
            section.card aria-label="Groups without a release" { p.soft { "Nothing was deployed yet to " (names(&nothing)) "." } }
        }
    }
}

async fn part(facts: &Facts<'_>, number: u64, groups: &[&Group]) -> Markup {
    let (access, open) = (&facts.visitor.project, facts.open);
    let store = &access.services().store;
    let (changed, content) = match store.revision(access.id(), &open.branch.name, number).await {
        Ok(Some((
            Revision {
                component: Some(sha256),
                ..
            },
            _,
        ))) => (
            html! {},
            pushed(
                access,
                &sha256,
                &edit_pushed::address(facts.visitor, &open.branch.name, number),
            )
            .await,
        ),
        Ok(Some((_, old))) => {
            let (before, now) = (open.file.text(&old).unwrap_or_default(), open.text());
            let content = if before == now {
                html! { p.soft.pad { (open.name()) " is the same." } }
            } else if before.len() + now.len() > MAX_COMPARED_BYTES {
                html! { p.soft.pad { "Both versions are too long to compare here; " code { "GET …/diff" } " compares them." } }
            } else {
                differences(before, now)
            };
            (list(facts, &changes(&old, &open.code)), content)
        }
        Ok(None) => (
            html! {},
            html! { p.soft.pad { "That revision is of another branch, or is not kept any more." } },
        ),
        Err(_) => (
            html! {},
            broken("The differences could not be read", "The store did not answer."),
        ),
    };
    let id = format!("diff-{number}");
    html! {
        section.card data-flush aria-labelledby=(id) data-deployed=(number) {
            div.card-head { h2 id=(id) { (open.name()) " against what " (names(groups)) " " @if groups.len() == 1 { "runs " } @else { "run " } span.tag.mono { "r" (number) } } }
            (changed)
            (content)
        }
    }
}

/// Returns the files that differ, with links to them.
fn list(facts: &Facts<'_>, changes: &[(String, &'static str)]) -> Markup {
    html! {
        p.pad.soft {
            @if changes.is_empty() { "No file differs." } @else {
                "Changed since: "
                @for (index, (name, how)) in changes.iter().enumerate() {
                    @if index > 0 { ", " }
                    @if *how == "deleted" { span.mono.break { (name) } } @else { a.mono.break href=(facts.address(name)) { (name) } }
                    @if *how != "changed" { " (" (how) ")" }
                }
            }
        }
    }
}

/// Returns the names of the files that differ between two versions of a branch's code, and how.
fn changes(old: &BranchCode, new: &BranchCode) -> Vec<(String, &'static str)> {
    let files = |code: &BranchCode| {
        let snippets = code.snippets.iter().map(|snippet| {
            let file = CodeFile::Snippet(snippet.id);
            (file.key(), (snippet.name.clone(), snippet.code.clone()))
        });
        let manifest = code
            .manifest
            .iter()
            .map(|text| (MANIFEST_FILE.to_owned(), (MANIFEST_FILE.to_owned(), text.clone())));
        snippets.chain(manifest).collect::<BTreeMap<_, _>>()
    };
    let (old, new) = (files(old), files(new));
    let mut found: Vec<_> = new
        .iter()
        .filter_map(|(key, (name, text))| {
            let how = match old.get(key) {
                None => "new",
                Some((_, before)) if before != text => "changed",
                Some((before, _)) if before != name => "renamed",
                Some(_) => return None,
            };
            Some((name.clone(), how))
        })
        .collect();
    let gone = old.iter().filter(|(key, _)| !new.contains_key(*key));
    found.extend(gone.map(|(_, (name, _))| (name.clone(), "deleted")));
    found.sort();
    found
}

fn names(groups: &[&Group]) -> String {
    let names: Vec<_> = groups.iter().map(|group| group.name.as_str()).collect();
    names.join(", ")
}
