//! The code of a branch: its files, an editor, what a test device does with it, and what differs from what is deployed.

mod act;
mod bench;
mod deployed;
mod edit_pushed;
mod editor;
mod page;
mod pushed;
mod save;
mod stale;

pub(super) use act::{add_file, ask_delete, create_branch, delete, discard, end_lease, rename, restore};
pub(super) use edit_pushed::{save as save_pushed, show as show_pushed};
pub(super) use save::{check, revision, run, save};

use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Redirect, Response};
use iottly_core::code::CodeFile;
use iottly_core::model::{BranchCode, MAIN_BRANCH};
use serde::Deserialize;

use super::layout::failure;
use super::text::escaped;
use super::visitor::Visitor;
use crate::api::code_files::{self, OpenFile};
use crate::error::ApiError;
use page::{Shown, page};
use stale::Clash;

/// File that is shown when the address names none.
const FIRST_FILE: &str = "loop";

/// Query of the address, beside the file.
#[derive(Deserialize)]
pub(super) struct Wanted {
    /// Id of the developer lease whose devices are shown beside the code.
    lease: Option<String>,
    /// Word for what was done on the page before.
    done: Option<String>,
}

/// Redirects to the first file of the main branch, or of the first branch without it.
pub(super) async fn home(visitor: Visitor) -> Response {
    match visitor
        .project
        .services()
        .store
        .branches(visitor.project.id())
        .await
    {
        Ok(branches) => {
            let main = branches.iter().find(|branch| branch.name == MAIN_BRANCH);
            let name = main
                .or(branches.first())
                .map_or(MAIN_BRANCH, |branch| &branch.name);
            Redirect::to(&address(&visitor, name, FIRST_FILE)).into_response()
        }
        Err(error) => failure(&error.into()),
    }
}

/// Redirects to the first file of a branch.
pub(super) async fn branch(visitor: Visitor, Path((_, name)): Path<(String, String)>) -> Response {
    match code_files::branch(&visitor.project, &name).await {
        Ok(branch) => Redirect::to(&address(&visitor, &branch.name, FIRST_FILE)).into_response(),
        Err(error) => failure(&error),
    }
}

/// Shows a file: the caller's draft of it if there is one, and both sides if someone else has saved meanwhile.
pub(super) async fn show(
    visitor: Visitor,
    Path((_, branch, name)): Path<(String, String, String)>,
    Query(wanted): Query<Wanted>,
) -> Response {
    file(&visitor, &branch, &name, wanted)
        .await
        .unwrap_or_else(|error| failure(&error))
}

async fn file(visitor: &Visitor, branch: &str, name: &str, wanted: Wanted) -> Result<Response, ApiError> {
    let open = code_files::open(&visitor.project, branch, name).await?;
    let draft = code_files::draft(&visitor.project, &open).await?;
    let mut shown = Shown {
        lease: wanted.lease,
        done: wanted.done,
        ..Shown::of(&open)
    };
    if let Some(draft) = draft.filter(|draft| draft.text != open.text()) {
        if draft.base == open.version() {
            shown.text = draft.text;
            shown.drafted = Some(draft.changed);
        } else {
            shown = shown.clashing(Clash::new(draft.base_text, draft.text, open.text()));
        }
    }
    page(visitor, &open, shown).await
}

/// Returns the address of a file.
fn address(visitor: &Visitor, branch: &str, file: &str) -> String {
    format!("{}/code/{}/{}", visitor.base(), escaped(branch), escaped(file))
}

/// Returns the address of an open file.
fn address_of(visitor: &Visitor, open: &OpenFile) -> String {
    address(visitor, &open.branch.name, &url_name(open))
}

/// Words in the place of a file's name in addresses that stand for actions.
const ACTIONS: [&str; 2] = ["add", "restore"];

/// Returns the name of a file in addresses: its name, or its id where another file or an action has the same name.
fn url_name(open: &OpenFile) -> String {
    url_name_of(&open.code, open.file, open.name())
}

fn url_name_of(code: &BranchCode, file: CodeFile, name: &str) -> String {
    if CodeFile::named(code, name) == Some(file) && !ACTIONS.contains(&name) {
        name.to_owned()
    } else {
        file.key()
    }
}
