//! Edits a file of a pushed script in the browser; what is saved is the next revision of its branch.

use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Redirect, Response};
use iottly_core::model::{MAX_MESSAGE_BYTES, Scopes};
use maud::{Markup, html};
use serde::Deserialize;

use super::super::forms::CodeFields;
use super::super::kit::notice::{Tone, notice};
use super::super::kit::script::script;
use super::super::layout::failure;
use super::super::shell::{Screen, Section};
use super::super::text::escaped;
use super::super::visitor::Visitor;
use crate::error::ApiError;

/// File that is shown when the address names none.
const MAIN: &str = "main.js";
/// Largest text that is edited in the browser, in bytes.
const MAX_EDITED_BYTES: usize = 256 << 10;

type OfRevision = Path<(String, String, u64)>;

/// Query of the address.
#[derive(Deserialize)]
pub(in super::super) struct Wanted {
    /// Path of the file in the script.
    file: Option<String>,
}

/// Returns the address of the page of a pushed revision.
pub(super) fn address(visitor: &Visitor, branch: &str, revision: u64) -> String {
    format!("{}/pushed/{}/{revision}", visitor.base(), escaped(branch))
}

/// Shows a file of a pushed script in a form.
pub(in super::super) async fn show(
    visitor: Visitor,
    Path((_, branch, revision)): OfRevision,
    Query(wanted): Query<Wanted>,
) -> Response {
    let file = wanted.file.as_deref().unwrap_or(MAIN);
    page(&visitor, &branch, revision, file)
        .await
        .unwrap_or_else(|error| failure(&error))
}

async fn page(visitor: &Visitor, branch: &str, revision: u64, file: &str) -> Result<Response, ApiError> {
    let (access, store) = (&visitor.project, &visitor.project.services().store);
    let unknown = || ApiError::missing("branch has no such pushed script");
    let (found, _) = store
        .revision(access.id(), branch, revision)
        .await?
        .ok_or_else(unknown)?;
    let sha256 = found.component.ok_or_else(unknown)?;
    let rollouts = &access.services().rollouts;
    let files = rollouts.pushed_files(access.id(), &sha256).await?;
    let files = files.ok_or_else(unknown)?;
    let text = files
        .get(file)
        .ok_or_else(|| ApiError::missing("script has no such file"))?;
    let newest = store.revisions(access.id(), branch, None, 1).await?.pop();
    let newest = newest.map_or(revision, |newest| newest.number);
    let here = address(visitor, branch, revision);
    let content = html! {
        div.head { div {
            h1 { "Pushed script " span.tag.mono.break { (branch) } " " span.tag.mono { "r" (revision) } }
            p.lede { "It was pushed from a folder. What you change here is saved as the next revision, and not in that folder." }
        } }
        @if newest > revision { (notice(Tone::Warn, &html! { p { "r" (newest) " is newer. A text that is saved here is based on r" (revision) "." } })) }
        nav aria-label="Files" { ul.meta { @for name in files.keys() {
            li { a.mono.break href={ (here) "?file=" (escaped(name)) } aria-current=[(name == file).then_some("page")] { (name) } }
        } } }
        (form(visitor, &here, file, text))
        (script(
            &format!("iottly push --branch {branch} FOLDER"),
            ("POST", &format!("/branches/{}/component", escaped(branch)), None),
        ))
    };
    let screen = Screen {
        section: Section::Code,
        title: file,
        crumbs: &[("Code", format!("{}/code/{}", visitor.base(), escaped(branch)))],
        events: None,
        scripts: &[],
        content,
    };
    screen.respond(visitor).await
}

fn form(visitor: &Visitor, here: &str, file: &str, text: &str) -> Markup {
    let is_short = text.len() <= MAX_EDITED_BYTES;
    html! {
        @if visitor.may(Scopes::WRITE) && is_short {
            form.card.stack method="post" action=(here) {
                input type="hidden" name="file" value=(file);
                div.field {
                    label for="text" { (file) }
                    textarea.mono #text name="text" rows="24" spellcheck="false" { "\n" (text) }
                }
                div.field { label for="message" { "Message of the revision" } input #message name="message" maxlength="2048" placeholder="What changes for the devices"; }
                div.actions { button data-kind="main" { "Save as revision" } }
            }
        } @else {
            section.card.stack aria-label=(file) {
                @if is_short { p.soft { "To change it you need the right “write”, which an owner of the organisation grants." } }
                @else { p.soft { "This file is too long to be changed in the browser." } }
                @if is_short { pre tabindex="0" { (text) } }
            }
        }
    }
}

/// Saves a pushed script with the text of the form as the next revision.
pub(in super::super) async fn save(
    visitor: Visitor,
    Path((_, branch, revision)): OfRevision,
    fields: CodeFields,
) -> Response {
    let saved = async {
        let access = &visitor.project;
        access.require(Scopes::WRITE)?;
        let field = |name| fields.get(name).unwrap_or_default();
        let (file, message) = (field("file"), field("message").trim().to_owned());
        // Browsers send line ends as CR LF.
        let text = field("text").replace("\r\n", "\n");
        if text.len() > MAX_EDITED_BYTES || message.len() > MAX_MESSAGE_BYTES || message.contains('\0') {
            let reason = "the text or the message is too long";
            return Err(ApiError::invalid("invalid_form", reason));
        }
        let rollouts = &access.services().rollouts;
        let changed = rollouts
            .edit_pushed(access.principal(), (&branch, revision), (file, text), message)
            .await?;
        let number = changed.revision.unwrap_or(revision);
        let address = address(&visitor, &branch, number);
        Ok(Redirect::to(&format!("{address}?file={}", escaped(file))).into_response())
    };
    saved.await.unwrap_or_else(|error: ApiError| failure(&error))
}
