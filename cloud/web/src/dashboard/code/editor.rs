//! The form with a file's text. A script paints over it; without one it is a plain form.

use iottly_core::code::Problem;
use maud::{Markup, html};

use super::super::text;
use super::page::{Facts, Shown};

/// Returns the form of a file: text, buttons, and the problems of the last check.
pub(super) fn editor(facts: &Facts<'_>, shown: &Shown) -> Markup {
    let name = facts.open.name();
    let lines = shown.text.matches('\n').count() + 1;
    let here = |problem: &&Problem| problem.file.as_deref() == Some(name);
    let marks: Vec<_> = shown
        .problems
        .iter()
        .filter(here)
        .filter_map(|problem| problem.line)
        .collect();
    let mark = |line: usize| {
        marks
            .iter()
            .any(|marked| *marked as usize == line)
            .then_some("error")
    };
    html! {
        div.pane-head {
            span.mono.break { (name) }
            span.soft data-saved role="status" {
                @match shown.drafted {
                    _ if shown.clash.is_some() => "not saved",
                    Some(at) => { "draft kept " (text::clock(at)) ", not saved" }
                    None => { "saved " (text::clock(facts.open.branch.changed)) }
                }
            }
            span.end.soft data-extent { (lines) " lines, " (shown.text.len()) " bytes" }
        }
        code-editor
            data-file=(name)
            data-kind=(if name == iottly_core::code::MANIFEST_FILE { "toml" } else { "js" })
            data-api={ "/v1.0/project/" (facts.visitor.project.id()) "/branches/" (text::escaped(&facts.open.branch.name)) }
            data-readonly[!facts.may_write] {
            div.finder data-finder hidden {
                label.sr for="find-code" { "Find in this file" }
                input #find-code type="search" placeholder="Find in this file";
                span.soft role="status" data-found {}
                button type="button" data-size="s" data-find="-1" { "Previous" }
                button type="button" data-size="s" data-find="1" { "Next" }
            }
            div.editor {
                ol.gutter aria-hidden="true" { @for line in 1..=lines { li data-mark=[mark(line)] { (line) } } }
                div.layers {
                    div.paint aria-hidden="true" {}
                    // A text area drops the first line break, so one is written before the text.
                    textarea #text name="text" rows=(lines) wrap="off" spellcheck="false" autocapitalize="off" autocomplete="off"
                        aria-label=(name) aria-describedby="problems" readonly[!facts.may_write] { "\n" (shown.text) }
                }
            }
            input type="hidden" name="base" value=(shown.base);
            input type="hidden" name="base_text" value=(shown.base_text);
            (problems(facts, shown))
        }
    }
}

/// Returns the list of problems, each with its place.
fn problems(facts: &Facts<'_>, shown: &Shown) -> Markup {
    html! {
        ol.problems #problems aria-label="Problems" {
            @for problem in &shown.problems {
                li {
                    span.tag data-tone="bad" { "error" }
                    div {
                        @if let Some(file) = &problem.file {
                            a.where.break href=(facts.address(file)) data-line=[problem.line] data-column=[problem.column] {
                                (file) @if let Some(line) = problem.line { ":" (line) @if let Some(column) = problem.column { ":" (column) } }
                            }
                            " "
                        }
                        span.break { (problem.message) }
                    }
                }
            }
        }
    }
}
