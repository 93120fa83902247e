//! The devices of a rollout that a figure of its page counts, in pages.

use axum::extract::{Path, Query};
use axum::response::Response;
use iottly_core::model::{Group, Rollout, RolloutMember};
use iottly_core::rollout::{Place, Places};
use iottly_protocol::DeviceId;
use maud::{Markup, html};
use serde::Deserialize;

use super::super::kit::csv::csv_link;
use super::super::kit::empty::empty;
use super::super::kit::script::script;
use super::super::layout::failure;
use super::super::shell::{Screen, Section};
use super::super::visitor::Visitor;
use super::rollout::{exception, words};
use super::{address, find, find_rollout, of_devices};
use crate::api::rollouts::place_named;
use crate::error::ApiError;

/// Number of devices of a page.
const PAGE: usize = 100;

/// Query of the page.
#[derive(Deserialize)]
pub(in super::super) struct Asked {
    /// Place of the devices; all of them without it.
    place: Option<String>,
    /// Last device of the page before.
    after: Option<DeviceId>,
}

/// Shows the devices of a rollout at a place.
pub(in super::super) async fn show(
    visitor: Visitor,
    Path((_, id, rollout)): Path<(String, String, String)>,
    Query(asked): Query<Asked>,
) -> Response {
    let page = async {
        let group = find(&visitor, &id).await?;
        let rollout = find_rollout(&visitor, &group, &rollout).await?;
        page(&visitor, &group, &rollout, &asked).await
    };
    page.await.unwrap_or_else(|error: ApiError| failure(&error))
}

async fn page(
    visitor: &Visitor,
    group: &Group,
    rollout: &Rollout,
    asked: &Asked,
) -> Result<Response, ApiError> {
    let (store, project) = (&visitor.project.services().store, visitor.project.id());
    let wanted = asked.place.as_deref().filter(|place| !place.is_empty());
    let place = wanted.map(place_named).transpose()?;
    let places = Places::of(&store.rollout_counts(project, rollout, None).await?);
    let mut found = store
        .rollout_page(project, rollout, place, asked.after, PAGE + 1)
        .await?;
    let is_more = found.len() > PAGE;
    found.truncate(PAGE);
    let next = found.last().filter(|_| is_more).map(|last| last.device);
    let here = format!("{}/rollouts/{}", address(visitor, group), rollout.id);
    let query = place.map_or(String::new(), |place| format!("place={}", place.as_str()));
    let rest = format!("/rollouts/{}/devices?limit={PAGE}", rollout.id);
    let rest = if place.is_some() {
        format!("{rest}&{query}")
    } else {
        rest
    };
    let total = place.map_or(places.total(), |place| places.at(place));
    let content = html! {
        div.head {
            div {
                h1 { "Devices of the rollout " span.count { (total) } }
                p.lede { a href=(here) { "Rollout to " (group.name) } ": " @match place { Some(place) => { "devices that are " b { (words(place)) } }, None => "all of its devices" } }
            }
            div.actions { (csv_link(&format!("{}/csv/rollout?rollout={}&{query}", visitor.base(), rollout.id), "rollout.csv")) }
        }
        (choices(&here, place, &places))
        section.card data-flush aria-label="Devices of the rollout" {
            @if found.is_empty() {
                (empty(
                    "No device is here",
                    "Devices move on while the rollout continues; the page of the rollout shows where they are now.",
                    &html! { a.button data-kind="main" href=(here) { "Show the rollout" } },
                ))
            } @else { (table(visitor, &found)) }
        }
        @if asked.after.is_some() || next.is_some() {
            nav.actions aria-label="Pages" {
                @if asked.after.is_some() { a.button href={ (here) "/devices?" (query) } { "First page" } }
                @if let Some(next) = next { a.button href={ (here) "/devices?" (query) "&after=" (next) } rel="next" { "Next page" } }
            }
        }
        (script(
            &format!("iottly group watch {}", super::flash::quoted(&group.name)),
            ("GET", &rest, None),
        ))
    };
    let crumbs = [
        ("Groups", format!("{}/groups", visitor.base())),
        (group.name.as_str(), address(visitor, group)),
    ];
    let screen = Screen {
        section: Section::Groups,
        title: "Devices of the rollout",
        crumbs: &crumbs,
        events: None,
        scripts: &[],
        content,
    };
    screen.respond(visitor).await
}

/// Returns links to the other places, each with its number of devices.
fn choices(here: &str, chosen: Option<Place>, places: &Places) -> Markup {
    let link = |place: Option<Place>, name: &str, count: u64| {
        let query = place.map_or("", Place::as_str);
        html! {
            li { a href={ (here) "/devices?place=" (query) } aria-current=[(place == chosen).then_some("page")] { @if place == chosen { b { (name) } } @else { (name) } " " span.count { (count) } } }
        }
    };
    html! {
        nav aria-label="Places" {
            ul.meta {
                (link(None, "all", places.total()))
                @for place in Place::ALL { @if places.at(place) > 0 || chosen == Some(place) { (link(Some(place), words(place), places.at(place))) } }
            }
        }
        p.sr role="status" { (of_devices(chosen.map_or(places.total(), |place| places.at(place)))) }
    }
}

fn table(visitor: &Visitor, found: &[RolloutMember]) -> Markup {
    html! {
        table.table data-fold {
            thead { tr { th { "Device" } th { "State" } th { "Reason" } th.p2 { "What happened" } th.num.p2 { "When" } } }
            tbody { @for member in found { (exception(visitor, member)) } }
        }
    }
}
