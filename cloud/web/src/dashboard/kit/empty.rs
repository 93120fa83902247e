//! States of a part of a page that has nothing to show.

use maud::{Markup, html};

use crate::error::ApiError;

/// Returns an empty state: a heading, a sentence on the purpose of the part, and its next step.
pub(in super::super) fn empty(heading: &str, text: &str, next: &Markup) -> Markup {
    html! {
        div.empty {
            svg viewBox="0 0 192 32" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="2" {
                path d="M8 22h52l12-12h26" {}
                path d="M106 10h18l12 12h40" stroke-dasharray="4 5" {}
                circle cx="8" cy="22" r="5" fill="var(--surface)" {}
                circle cx="184" cy="22" r="5" fill="var(--surface)" {}
            }
            h3 { (heading) }
            p { (text) }
            (next)
        }
    }
}

/// Returns the state of a list in which nothing matches a filter: the filter, the number of entries without it, and
/// the way to them.
pub(in super::super) fn nothing_matches(things: &str, filter: &str, of: usize, all: &str) -> Markup {
    html! {
        div.empty {
            h3 { "No " (things) " matches " code.break { (filter) } }
            p { "Without the filter there are " (of) "." }
            a.button href=(all) { "Show all " (of) }
        }
    }
}

/// Returns a part of a page if it could be read, or the error of the store to show in its place.
///
/// # Errors
/// The errors that are not the store's: they concern the whole page.
pub(in super::super) fn part<T>(read: Result<T, ApiError>) -> Result<Result<T, ApiError>, ApiError> {
    match read {
        Err(error) if !error.status().is_server_error() => Err(error),
        read => Ok(read),
    }
}

/// Returns a part of a page, or the reason for which it could not be read.
pub(in super::super) fn shown<T>(
    read: &Result<T, ApiError>,
    heading: &str,
    show: impl FnOnce(&T) -> Markup,
) -> Markup {
    match read {
        Ok(found) => show(found),
        Err(error) => broken(heading, error.message()),
    }
}

/// Returns the content of a page that could not be read at all.
pub(in super::super) fn whole(heading: &str, reason: &str) -> Markup {
    html! { div.empty role="alert" { h3 { (heading) } p.break { (reason) } p { "The other pages are not affected." } } }
}

/// Returns the state of a part that failed while the rest of its page stands.
pub(in super::super) fn broken(heading: &str, reason: &str) -> Markup {
    html! { div.empty role="alert" { h3 { (heading) } p.break { (reason) } p { "The rest of the page is not affected." } } }
}
