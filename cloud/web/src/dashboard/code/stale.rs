//! Two people have changed one file: what each of them did, and both together where that is possible.

use iottly_core::code::{self, Side};
use maud::{Markup, html};

/// Number of equal lines that are shown around a difference.
const CONTEXT: usize = 3;

/// A text that was typed on top of another version than the present one.
pub(super) struct Clash {
    /// Text that both began with; none if it is not known any more.
    base: Option<String>,
    yours: String,
    theirs: String,
    /// Both changes in one text; none if they touch the same lines.
    merged: Option<String>,
}

impl Clash {
    pub(super) fn new(base: Option<String>, yours: String, theirs: &str) -> Self {
        let merged = base.as_ref().and_then(|base| code::merge(base, &yours, theirs));
        Self {
            base,
            yours,
            theirs: theirs.to_owned(),
            merged,
        }
    }

    /// Returns the text to continue with: both changes together, or else what was typed.
    pub(super) fn text(&self) -> &str {
        self.merged.as_deref().unwrap_or(&self.yours)
    }

    /// Returns what happened, in a sentence or two.
    pub(super) fn notice(&self) -> Markup {
        html! {
            p {
                b { "Someone else saved this file after you began. " }
                @if self.merged.is_some() {
                    "Your changes and theirs touch different lines: the editor shows both together. Look at it, and save."
                } @else {
                    "Nothing was overwritten, and nothing of yours is lost: the editor shows your text. Saving it now replaces theirs."
                }
            }
        }
    }

    /// Returns both sides with what they began with.
    pub(super) fn view(&self) -> Markup {
        html! {
            section.card.stack aria-labelledby="clash" {
                div.card-head { h2 #clash { "Base, theirs and yours" } }
                @match &self.base {
                    Some(base) => {
                        h3 { "What they changed" }
                        (differences(base, &self.theirs))
                        h3 { "What you changed" }
                        (differences(base, &self.yours))
                        (whole("Base: the text that both began with", "clash-base", base))
                    }
                    None => {
                        p.soft { "The text that you began with is not kept any more. These are the differences from theirs to yours." }
                        (differences(&self.theirs, &self.yours))
                    }
                }
                (whole("Theirs: the saved text", "clash-theirs", &self.theirs))
                (whole("Yours: the text as you typed it", "clash-yours", &self.yours))
            }
        }
    }
}

fn whole(name: &str, id: &str, text: &str) -> Markup {
    html! {
        details {
            summary { (name) }
            textarea.mono id=(id) aria-label=(name) rows="12" readonly { "\n" (text) }
        }
    }
}

/// Returns the different lines of two texts, with some equal ones around them.
pub(super) fn differences(old: &str, new: &str) -> Markup {
    let lines = code::compare(old, new);
    let near = |at: usize| {
        let (from, to) = (at.saturating_sub(CONTEXT), (at + CONTEXT + 1).min(lines.len()));
        lines[from..to].iter().any(|(side, _)| *side != Side::Both)
    };
    if lines.iter().all(|(side, _)| *side == Side::Both) {
        return html! { p.soft { "Nothing." } };
    }
    html! {
        ol.diff {
            @for (at, (side, text)) in lines.iter().enumerate() {
                @if near(at) { (line(*side, text)) }
                @else if at > 0 && near(at - 1) { li.soft { span { "⋯" } span { span.sr { "equal lines" } } } }
            }
        }
    }
}

fn line(side: Side, text: &str) -> Markup {
    let (name, sign, word) = match side {
        Side::Both => (None, " ", ""),
        Side::Old => (Some("minus"), "−", "removed: "),
        Side::New => (Some("plus"), "+", "added: "),
    };
    html! { li data-side=[name] { span aria-hidden="true" { (sign) } span { span.sr { (word) } (text) } } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_changes_come_together_or_yours_stays() {
        let base = "a\nb\nc\nd\n";
        let apart = Clash::new(Some(base.into()), "A\nb\nc\nd\n".into(), "a\nb\nc\nD\n");
        assert_eq!(apart.text(), "A\nb\nc\nD\n");
        let same = Clash::new(Some(base.into()), "A\nb\nc\nd\n".into(), "x\nb\nc\nd\n");
        assert_eq!(same.text(), "A\nb\nc\nd\n");
        assert_eq!(Clash::new(None, "y".into(), "t").text(), "y");
    }

    #[test]
    fn lines_far_from_a_difference_are_left_out() {
        let old: String = (0..40).map(|n| format!("line {n}\n")).collect();
        let shown = differences(&old, &old.replace("line 20\n", "<b>\n")).into_string();
        assert!(
            shown.contains("&lt;b&gt;") && shown.contains("line 17") && !shown.contains("line 16"),
            "{shown}"
        );
    }
}
