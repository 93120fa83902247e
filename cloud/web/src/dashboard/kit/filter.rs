//! The box for a filter, with the filter of the API that its short form stands for.

use iottly_core::short_form::MESSAGES;
use maud::{Markup, html};

use super::icons::{Icon, icon};

/// A filter of a page.
pub(in super::super) struct FilterBox<'a> {
    /// Address of the page without a filter.
    pub(in super::super) action: &'a str,
    /// Text of the filter, as in the address.
    pub(in super::super) text: &'a str,
    pub(in super::super) placeholder: &'a str,
    /// Number and kind of what is shown.
    pub(in super::super) result: Markup,
    /// The filter of the API; none without a filter.
    pub(in super::super) json: Option<&'a str>,
    /// Reason for which the text is no filter.
    pub(in super::super) problem: Option<&'a str>,
    /// Examples of conditions.
    pub(in super::super) examples: Vec<&'static str>,
}

/// Returns a field for a filter of messages in a form, which completes words and shows the filter of the API that its text
/// stands for.
pub(in super::super) fn message_filter_field(name: &str, placeholder: &str, value: &str) -> Markup {
    html! {
        filter-suggest data-of="messages" data-explain {
            input id=(name) name=(name) placeholder=(placeholder) value=(value) autocomplete="off" spellcheck="false" list={ (name) "-examples" };
            datalist id={ (name) "-examples" } { @for example in MESSAGES.suggestions("") { option value=(example) {} } }
        }
    }
}

/// Returns the box; `of` names what is filtered, for the suggestions: `devices`, `messages` or `audit`.
pub(in super::super) fn filter_box(of: &str, filter: &FilterBox<'_>) -> Markup {
    html! {
        form.filter #filter-form role="search" action=(filter.action) {
            div.filter-box {
                (icon(Icon::Filter))
                label.sr for="f" { "Filter" }
                filter-suggest data-of=(of) {
                    input #f name="filter" value=(filter.text) placeholder=(filter.placeholder) autocomplete="off" spellcheck="false"
                        list="f-examples" aria-invalid=[filter.problem.map(|_| "true")] aria-describedby="f-note";
                }
                datalist #f-examples { @for example in &filter.examples { option value=(example) {} } }
                button data-kind="plain" { "Apply" }
            }
            p.filter-note #f-note {
                @match filter.problem {
                    Some(problem) => span.field-problem role="alert" { (problem) },
                    None => {
                        span { (filter.result) }
                        @if let Some(json) = filter.json { span { "stands for" } " " code { (json) } }
                    }
                }
            }
        }
    }
}

/// A filter that is offered as a link.
pub(in super::super) struct Chip<'a> {
    pub(in super::super) name: &'a str,
    pub(in super::super) filter: &'a str,
    pub(in super::super) count: usize,
}

/// Returns links to common filters of a page.
pub(in super::super) fn chips(action: &str, text: &str, chips: &[Chip<'_>]) -> Markup {
    html! {
        nav.chips aria-label="Common filters" {
            @for chip in chips {
                @let href = if chip.filter.is_empty() { action.to_owned() } else { format!("{action}?filter={}", super::super::text::escaped(chip.filter)) };
                a.chip href=(href) aria-current=[(chip.filter == text).then_some("true")] { (chip.name) " " b data-count=(chip.name) { (chip.count) } }
            }
        }
    }
}
