//! The part of a webhook's page with its portals: links for people outside of the project.

use maud::{Markup, html};

use super::super::kit::empty::empty;
use super::super::kit::notice::{Tone, notice};
use super::super::kit::script::{script_for, snippet};
use super::super::text;
use crate::api::dto::PortalDto;
use iottly_cloud::clock;

/// Returns the list of open portals, with buttons for those who may open and close them.
pub(super) fn part(portals: &[PortalDto], own: &str, may: bool) -> Markup {
    let now = clock::now();
    html! {
        section.card data-flush #portals aria-labelledby="portals-h" {
            div.card-head {
                h2 #portals-h { "Links for people outside" }
                @if may { form method="post" action=(own) { button data-size="s" name="do" value="portal" { "Make a link" } } }
            }
            @if portals.is_empty() {
                (empty("No link is open", "A link shows the deliveries of this webhook, with bodies and answers, and sends them again: for a day, without a login, and nothing else of the project.", &html! {}))
            } @else {
                table.table data-fold {
                    thead { tr { th { "Made by" } th { "Ends" } th.p2 { "Last use" } th { span.sr { "Action" } } } }
                    tbody { @for portal in portals { tr {
                        td { b.break { (portal.author) } span.sub { (text::minute(portal.created.at())) " UTC" } }
                        td { "in " (text::ago(now, portal.expires.at())) }
                        td.p2 { @match portal.used { Some(used) => { (text::ago(used.at(), now)) " ago" }, None => span.soft { "not used yet" } } }
                        td { @if may { span.actions { form method="post" action=(own) {
                            input type="hidden" name="portal" value=(portal.id);
                            button data-size="s" name="do" value="close_portal" { "Close" }
                        } } } }
                    } } }
                }
            }
        }
    }
}

/// Returns the notice with a new link.
pub(super) fn new_link(path: &str, origin: Option<&str>) -> Markup {
    html! {
        (notice(Tone::Good, &html! { "Give this link to the person outside. It works for a day and is not shown again." }))
        (snippet(&format!("{}{path}", origin.unwrap_or_default())))
    }
}

/// Returns the box with the same from a script.
pub(super) fn script(id: &str) -> Markup {
    script_for(
        "a link for people outside",
        &format!("iottly webhook portal {id}"),
        ("POST", &format!("/webhooks/{id}/portals"), None),
    )
}
