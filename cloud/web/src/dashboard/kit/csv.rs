//! The link by which a table is kept as a file of comma-separated values.

use maud::{Markup, html};

use super::icons::{Icon, icon};

/// Returns true if the query of a page asks for its table as CSV.
pub(in super::super) fn wants_csv(format: Option<&str>) -> bool {
    format == Some("csv")
}

/// Returns the link to a table as a file with this name.
pub(in super::super) fn csv_link(href: &str, name: &str) -> Markup {
    html! { a.button data-size="s" href=(href) download=(name) { (icon(Icon::Download)) "CSV" } }
}
