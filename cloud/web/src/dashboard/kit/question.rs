//! The question before an action that cannot be taken back or that affects many devices.

use maud::{Markup, html};

/// A question with its two answers.
pub(in super::super) struct Question<'a> {
    pub(in super::super) heading: &'a str,
    /// Consequences in one or two sentences.
    pub(in super::super) text: &'a Markup,
    /// Address that the form is posted to.
    pub(in super::super) action: &'a str,
    /// Hidden fields of the form.
    pub(in super::super) fields: &'a [(String, String)],
    /// Text of the button, with the number of affected objects.
    pub(in super::super) button: &'a str,
    /// Text and address of the way back.
    pub(in super::super) back: (&'a str, &'a str),
}

/// Returns the form of a question.
pub(in super::super) fn question(asked: &Question<'_>) -> Markup {
    html! {
        form.dialog method="post" action=(asked.action) {
            h2.break { (asked.heading) }
            div { (asked.text) }
            @for (name, value) in asked.fields { input type="hidden" name=(name) value=(value); }
            input type="hidden" name="sure" value="yes";
            div.actions {
                button data-kind="final" { (asked.button) }
                a.button href=(asked.back.1) { (asked.back.0) }
            }
        }
    }
}
