//! Numbers in one row, each a link to the list that it counts.

use maud::{Markup, html};

/// A number with its name.
pub(in super::super) struct Figure<'a> {
    pub(in super::super) name: &'a str,
    pub(in super::super) value: String,
    /// Unit or total beside the value.
    pub(in super::super) unit: Markup,
    /// Text below the value.
    pub(in super::super) aside: Markup,
    /// Address of the list that the number counts.
    pub(in super::super) href: Option<String>,
    /// `warn` or `bad`; none for an ordinary number.
    pub(in super::super) tone: Option<&'static str>,
    /// Name under which scripts keep the value up to date.
    pub(in super::super) live: Option<&'static str>,
}

/// Returns figures in one row.
pub(in super::super) fn figures(figures: &[Figure<'_>]) -> Markup {
    html! { div.figures { @for figure in figures { (one(figure)) } } }
}

fn one(figure: &Figure<'_>) -> Markup {
    // Numbers of what waits or fails warn as soon as there is one.
    let warns = figure.live.filter(|name| matches!(*name, "boards" | "failing"));
    let inner = html! {
        span.name { (figure.name) }
        span.value { span data-live=[figure.live] { (figure.value) } @if !figure.unit.0.is_empty() { " " small { (figure.unit) } } }
        span.aside { (figure.aside) }
    };
    html! {
        @match &figure.href {
            Some(href) => a.figure href=(href) data-tone=[figure.tone] data-warns=[warns] { (inner) },
            None => div.figure data-tone=[figure.tone] { (inner) },
        }
    }
}
