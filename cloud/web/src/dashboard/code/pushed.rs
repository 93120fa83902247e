//! Code of a revision that was pushed from a folder, as it is shown on the page of the code.

use maud::{Markup, html};

use super::super::kit::empty::broken;
use super::page::MAX_COMPARED_BYTES;
use crate::auth::ProjectAccess;

/// Returns the files of a pushed script, `main.js` open; `edit` is the address of the form that changes it.
pub(super) async fn pushed(access: &ProjectAccess, sha256: &str, edit: &str) -> Markup {
    let files = match access.services().rollouts.pushed_files(access.id(), sha256).await {
        Ok(Some(files)) => files,
        Ok(None) => {
            return html! { p.soft { "It runs a component that was built elsewhere; its code is not here." } };
        }
        Err(error) => {
            tracing::warn!(project.id = %access.id(), %error, "failed to read a pushed component; the page is shown without it");
            return broken(
                "The pushed code could not be read",
                "The component is damaged, or its folder cannot be read.",
            );
        }
    };
    let mut room = MAX_COMPARED_BYTES;
    html! {
        div.pushed {
            p.soft { "It was pushed from a folder with " code { "iottly push" } ", so its code is not divided into the parts above. " a href=(edit) { "Edit it as a new revision" } }
            @for (path, text) in &files {
                @let shown = text.len() <= room;
                @if shown { @let () = room -= text.len(); }
                details open[path == "main.js"] {
                    summary.mono.break { (path) }
                    @if shown { pre tabindex="0" { (text) } } @else { p.soft { "Too long to show here." } }
                }
            }
        }
    }
}
