//! A sentence above the content of a page: the result of an action, or a warning.

use maud::{Markup, html};

use super::icons::{Icon, icon};

/// Kind of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Tone {
    Good,
    Warn,
    Bad,
}

/// Returns a notice that assistive technology announces; problems at once.
pub(in super::super) fn notice(tone: Tone, content: &Markup) -> Markup {
    let (name, role, sign) = match tone {
        Tone::Good => ("good", "status", Icon::Info),
        Tone::Warn => ("warn", "status", Icon::Warning),
        Tone::Bad => ("bad", "alert", Icon::Warning),
    };
    html! { div.notice role=(role) data-tone=(name) { (icon(sign)) div { (content) } } }
}
