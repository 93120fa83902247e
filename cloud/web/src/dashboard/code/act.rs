//! Smaller forms of the code screen: drop a draft, end a lease, create a branch, restore a revision.

use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use iottly_core::code::CodeFile;
use iottly_core::model::{Change, Scopes, SnippetEdit};
use iottly_protocol::release::LeaseId;
use maud::html;

use super::super::forms::Fields;
use super::super::kit::question::{Question, question};
use super::super::kit::script::script;
use super::super::layout::failure;
use super::super::shell::{Screen, Section};
use super::super::text::escaped;
use super::super::visitor::Visitor;
use super::{FIRST_FILE, address, address_of};
use crate::api::{branches, checked_word, code_files};
use crate::error::ApiError;
use iottly_cloud::clock;

/// Deletes the visitor's draft of a file.
pub(in super::super) async fn discard(
    visitor: Visitor,
    Path((_, branch, name)): Path<(String, String, String)>,
) -> Response {
    let dropped = async {
        let open = code_files::open(&visitor.project, &branch, &name).await?;
        code_files::drop_draft(&visitor.project, &open).await?;
        Ok(Redirect::to(&format!("{}?done=discarded", address_of(&visitor, &open))).into_response())
    };
    dropped.await.unwrap_or_else(|error: ApiError| failure(&error))
}

/// Ends a developer lease.
pub(in super::super) async fn end_lease(
    visitor: Visitor,
    Path((_, id)): Path<(String, String)>,
    fields: Fields,
) -> Response {
    let Ok(id) = id.parse::<LeaseId>() else {
        return failure(&ApiError::missing("developer lease is unknown in this project"));
    };
    let access = &visitor.project;
    if let Err(error) = access.services().leases.end(access.principal(), id).await {
        return failure(&error.into());
    }
    // Only an address of the code screen of this project is followed.
    let home = format!("{}/code", visitor.base());
    let back = fields
        .get("back")
        .filter(|back| back.starts_with(&format!("{home}/")));
    Redirect::to(&format!("{}?done=ended", back.unwrap_or(&home))).into_response()
}

/// Creates a branch from the working copy of another, and shows it.
pub(in super::super) async fn create_branch(visitor: Visitor, fields: Fields) -> Response {
    let created = async {
        let name = checked_word("branch", fields.get("name").unwrap_or_default().trim())?;
        let from = fields
            .get("from")
            .filter(|from| !from.is_empty())
            .map(str::to_owned);
        visitor.project.services().rollouts.spare_disk().await?;
        let change = Change::CreateBranch {
            name: name.clone(),
            from,
        };
        visitor.project.change(change, clock::now()).await?;
        Ok(Redirect::to(&address(&visitor, &name, FIRST_FILE)).into_response())
    };
    created.await.unwrap_or_else(|error: ApiError| failure(&error))
}

/// Adds a file with a name of its own to the working copy of a branch, and shows it.
pub(in super::super) async fn add_file(
    visitor: Visitor,
    Path((_, branch)): Path<(String, String)>,
    fields: Fields,
) -> Response {
    let added = async {
        let name = typed_name(&fields);
        branches::add(&visitor.project, &branch, &name, String::new()).await?;
        Ok(Redirect::to(&address(&visitor, &branch, &name)).into_response())
    };
    added.await.unwrap_or_else(|error: ApiError| failure(&error))
}

/// Renames a file that has a name of its own, and shows it.
pub(in super::super) async fn rename(
    visitor: Visitor,
    Path((_, branch, name)): Path<(String, String, String)>,
    fields: Fields,
) -> Response {
    let renamed = async {
        let open = code_files::open(&visitor.project, &branch, &name).await?;
        let CodeFile::Snippet(id) = open.file else {
            return Err(ApiError::invalid(
                "invalid_form",
                "firmware.toml cannot be renamed",
            ));
        };
        let name = branches::file_name(&typed_name(&fields))?;
        let edit = SnippetEdit {
            id,
            name: Some(name.clone()),
            code: None,
            description: None,
            base: None,
        };
        let change = Change::SaveSnippets(branch.clone(), vec![edit]);
        visitor.project.change(change, clock::now()).await?;
        Ok(Redirect::to(&address(&visitor, &branch, &name)).into_response())
    };
    renamed.await.unwrap_or_else(|error: ApiError| failure(&error))
}

/// Returns the name of a file that was typed; `.js` may be left out.
fn typed_name(fields: &Fields) -> String {
    let typed = fields.get("name").unwrap_or_default().trim();
    if typed.contains('.') {
        typed.to_owned()
    } else {
        format!("{typed}.js")
    }
}

/// Replaces the working copy of a branch by a revision.
pub(in super::super) async fn restore(
    visitor: Visitor,
    Path((_, branch)): Path<(String, String)>,
    fields: Fields,
) -> Response {
    let restored = async {
        let number = fields.get("revision").and_then(|number| number.parse().ok());
        let number = number.ok_or_else(|| ApiError::invalid("invalid_form", "revision is not a number"))?;
        visitor.project.services().rollouts.spare_disk().await?;
        let change = Change::RestoreRevision {
            branch: branch.clone(),
            number,
        };
        visitor.project.change(change, clock::now()).await?;
        Ok(Redirect::to(&format!(
            "{}?done=restored",
            address(&visitor, &branch, FIRST_FILE)
        ))
        .into_response())
    };
    restored.await.unwrap_or_else(|error: ApiError| failure(&error))
}

/// Asks before a file is deleted from the working copy.
pub(in super::super) async fn ask_delete(
    visitor: Visitor,
    Path((_, branch, name)): Path<(String, String, String)>,
) -> Response {
    let page = async {
        let open = code_files::open(&visitor.project, &branch, &name).await?;
        let here = address_of(&visitor, &open);
        let text = html! { p { "The file goes from the working copy of " b.break { (open.branch.name) } ". Revisions keep it, and what devices run does not change before the next flash." } };
        let asked = Question {
            heading: &format!("Delete {}?", open.name()),
            text: &text,
            action: &format!("{here}/delete"),
            fields: &[],
            button: "Delete the file",
            back: ("Back, change nothing", &here),
        };
        let path = match open.file {
            CodeFile::Manifest => format!("/branches/{}/manifest", escaped(&branch)),
            CodeFile::Snippet(id) => format!("/branches/{}/snippets/{id}", escaped(&branch)),
        };
        let content = html! {
            @if !visitor.may(Scopes::WRITE) {
                div.dialog { h1 { "You may look, but not change the code" } p { "This needs the right “write”, which an owner of the organisation grants." } }
            } @else if open.is_deletable() {
                (question(&asked))
                (script(&format!("iottly code rm --branch {branch} {}", open.name()), ("DELETE", &path, None)))
            } @else {
                div.dialog { h1 { "This file belongs to the branch" } p { "Only " code { "firmware.toml" } ", files with names of their own, and handlers whose command is not defined any more can be deleted." } div.actions { a.button href=(here) { "Back" } } }
            }
        };
        let screen = Screen {
            section: Section::Code,
            title: "Delete a file",
            crumbs: &[("Code", format!("{}/code", visitor.base()))],
            events: None,
            scripts: &[],
            content,
        };
        screen.respond(&visitor).await
    };
    page.await.unwrap_or_else(|error: ApiError| failure(&error))
}

/// Deletes a file from the working copy.
pub(in super::super) async fn delete(
    visitor: Visitor,
    Path((_, branch, name)): Path<(String, String, String)>,
    fields: Fields,
) -> Response {
    let deleted = async {
        let open = code_files::open(&visitor.project, &branch, &name).await?;
        if fields.get("sure") != Some("yes") {
            return Err(ApiError::invalid(
                "invalid_form",
                "this deletes a file; the question before it was not answered",
            ));
        }
        let change = match open.file {
            CodeFile::Manifest => Change::SaveManifest {
                branch: branch.clone(),
                manifest: None,
                base: None,
            },
            CodeFile::Snippet(id) => Change::DeleteSnippet(branch.clone(), id),
        };
        visitor.project.change(change, clock::now()).await?;
        Ok(Redirect::to(&address(&visitor, &branch, FIRST_FILE)).into_response())
    };
    deleted.await.unwrap_or_else(|error: ApiError| failure(&error))
}
