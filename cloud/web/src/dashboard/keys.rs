//! The list of keyboard shortcuts: a page of its own, and a dialog in every screen that its key opens.

use axum::response::Response;
use maud::{Markup, html};

use super::layout::failure;
use super::shell::{Screen, Section};
use super::shortcuts::switch;
use super::visitor::Visitor;

/// Keys, one after the other, and what they do.
type Shortcut = (&'static [&'static str], &'static str);

/// Shortcuts by their place.
const KEYS: [(&str, &[Shortcut]); 3] = [
    (
        "Go to",
        &[
            (&["g", "o"], "overview"),
            (&["g", "d"], "devices"),
            (&["g", "g"], "groups"),
            (&["g", "c"], "code"),
            (&["g", "s"], "stream"),
            (&["g", "p"], "plots"),
            (&["g", "a"], "alerts"),
            (&["g", "w"], "webhooks"),
            (&["g", "j"], "jobs"),
        ],
    ),
    (
        "On a page",
        &[
            (&["/"], "filter, or find a device"),
            (&["j"], "next row"),
            (&["k"], "previous row"),
            (&["Enter"], "open the row"),
            (&["x"], "select the row"),
            (&["["], "tab to the left"),
            (&["]"], "tab to the right"),
            (&["p"], "pause a stream"),
            (&["?"], "this list"),
        ],
    ),
    ("In the editor", &[(&["Ctrl", "S"], "save")]),
];

fn list() -> Markup {
    html! {
        @for (heading, keys) in KEYS {
            section.stack {
                h3 { (heading) }
                table.table { tbody { @for (keys, meaning) in keys { tr {
                    td.nowrap { @for key in *keys { kbd { (key) } " " } }
                    td { (meaning) }
                } } } }
            }
        }
        p.soft.small { "Single letters work outside of fields, and can be switched off on the page of the shortcuts. All of it is also a link or a button." }
    }
}

/// Returns the dialog, which a script opens.
pub(super) fn dialog() -> Markup {
    html! {
        dialog.dialog.keys #shortcuts aria-labelledby="shortcuts-h" {
            h2 #shortcuts-h { "Keyboard shortcuts" }
            (list())
            form.actions method="dialog" { button autofocus { "Close" } }
        }
    }
}

/// Shows the list as a page.
pub(super) async fn show(visitor: Visitor) -> Response {
    let content = html! {
        div.head { div { h1 { "Keyboard shortcuts" } p.lede { @if visitor.no_shortcuts { "They are off in this browser." } @else { "The key ? shows this list on every page." } } } }
        section.card.stack { (switch(visitor.no_shortcuts, visitor.project.id())) (list()) }
    };
    let screen = Screen {
        section: Section::Overview,
        title: "Keyboard shortcuts",
        crumbs: &[],
        events: None,
        scripts: &[],
        content,
    };
    screen
        .respond(&visitor)
        .await
        .unwrap_or_else(|error| failure(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the keys of an object of the script, from its name to its end.
    fn keys_of(script: &str, name: &str, end: &str) -> Vec<String> {
        let (_, rest) = script
            .split_once(&format!("const {name} = {{"))
            .expect("the object");
        let (body, _) = rest.split_once(end).expect("its end");
        let entries = body.split([',', '\n']).filter_map(|entry| entry.split_once(':'));
        entries
            .map(|(key, _)| key.trim().trim_matches('"').to_owned())
            .filter(|key| key.chars().count() == 1)
            .collect()
    }

    #[test]
    fn every_key_of_the_script_is_listed() {
        let script = include_str!("assets/keys.js");
        let listed = |keys: &[&str]| {
            KEYS.iter()
                .flat_map(|(_, rows)| rows.iter())
                .any(|(row, _)| *row == keys)
        };
        let (places, actions) = (keys_of(script, "PLACES", "};"), keys_of(script, "ACTIONS", "};"));
        assert!(places.len() >= 8 && actions.len() >= 7, "{places:?} {actions:?}");
        for place in places {
            assert!(listed(&["g", place.as_str()]), "g {place}");
        }
        for action in actions {
            assert!(listed(&[action.as_str()]), "{action}");
        }
    }
}
