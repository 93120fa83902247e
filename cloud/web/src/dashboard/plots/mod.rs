//! The screen of plots: a series over time, of all devices, groups or one device. The form is the address; the server draws,
//! and a script adds reading of values and renewal.

mod draw;
mod form;
mod saved;
mod scale;
mod words;

pub(super) use saved::{delete, save};

use axum::Json;
use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde_json::json;

use self::draw::{DESK, Drawing, PHONE, colour, draw, has_band};
pub(super) use self::scale::times;
use self::words::{cells, words};
use super::device::Tab;
use super::kit::empty::{broken, empty};
use super::kit::icons::{Icon, icon};
use super::kit::script::{quoted, script};
use super::layout::failure;
use super::shell::{Screen, Section};
use super::text;
use super::visitor::Visitor;
use crate::api::series::{Asked, Named, PlotQuery, read, table};
use crate::error::ApiError;
use iottly_cloud::clock;
use iottly_cloud::series::{Plot, PlotLine};
use iottly_core::model::{Group, SavedPlot};
use iottly_core::series::{Resolution, Split};
use iottly_store::{GroupCounts, SeriesList};

/// Spans that are offered: their texts and their names in the address.
const SPANS: [(&str, &str); 5] = [
    ("15 min", "15m"),
    ("1 h", "1h"),
    ("24 h", "24h"),
    ("7 d", "7d"),
    ("90 d", "90d"),
];
const DEFAULT_SPAN: &str = "24h";
/// Maximum number of points of a line on the page, and of each of several lines.
const POINTS: &str = "400";
const POINTS_OF_MANY: &str = "120";

/// Second group of the form, drawn beside the first.
#[derive(serde::Deserialize)]
pub(super) struct Beside {
    with: Option<String>,
}

pub(super) async fn show(
    visitor: Visitor,
    Query(query): Query<PlotQuery>,
    Query(beside): Query<Beside>,
) -> Response {
    let place = Place::Project;
    page(&visitor, place, joined(query, beside))
        .await
        .unwrap_or_else(|error| failure(&error))
}

pub(super) async fn of_device(
    visitor: Visitor,
    Path((_, id)): Path<(String, String)>,
    Query(query): Query<PlotQuery>,
    Query(paths): Query<Paths>,
) -> Response {
    let shown = async {
        let access = visitor.device(&id).await?;
        let all = paths.paths.as_deref() == Some("all");
        page(&visitor, Place::Device(Box::new(access), all), query).await
    };
    shown.await.unwrap_or_else(|error| failure(&error))
}

/// Returns the query of a plot of two groups: a line for each, unless each device gets one.
fn joined(mut query: PlotQuery, beside: Beside) -> PlotQuery {
    let Some(with) = beside.with.filter(|with| !with.trim().is_empty()) else {
        return query;
    };
    query.group = match query.group.take().filter(|group| !group.trim().is_empty()) {
        Some(group) => Some(format!("{group},{with}")),
        None => Some(with),
    };
    if query.by.as_deref() != Some(Split::Device.as_str()) {
        query.by = Some(Split::Group.as_str().to_owned());
    }
    query
}

/// Returns what the script of the page needs: values, and the drawings again.
pub(super) async fn data(visitor: Visitor, Query(query): Query<PlotQuery>) -> Result<Response, ApiError> {
    let (asked, plot, names) = plot(&visitor, &query).await?;
    let line = |(at, line): (usize, &PlotLine)| {
        let points = line.pieces.iter().flat_map(|piece| &piece.points);
        let points: Vec<_> = points.map(|point| (point.at, point.value)).collect();
        let (key, name) = (line.key.as_deref().unwrap_or_default(), names.of(line));
        json!({ "key": key, "name": name, "colour": colour(at), "points": points, "cells": cells(line) })
    };
    let lines: Vec<_> = plot.lines.iter().enumerate().map(line).collect();
    let drawings = drawings(&asked, &plot);
    Ok(Json(json!({ "lines": lines, "drawings": drawings })).into_response())
}

/// Returns the points as a table to keep.
pub(super) async fn csv(visitor: Visitor, Query(query): Query<PlotQuery>) -> Response {
    let made = async {
        let mut asked = Asked::of(&visitor.project, &query, clock::now()).await?;
        asked.request.whole = true;
        let (plot, names) = read(&visitor.project, &asked).await?;
        Ok::<_, ApiError>(table(&plot, &names).into_file("series.csv"))
    };
    made.await.unwrap_or_else(|error| failure(&error))
}

/// Place of a plot.
enum Place {
    Project,
    /// A device; true if the paths of all devices are offered.
    Device(Box<crate::auth::DeviceAccess>, bool),
}

async fn plot(visitor: &Visitor, query: &PlotQuery) -> Result<(Asked, Plot, Named), ApiError> {
    let asked = Asked::of(&visitor.project, query, clock::now()).await?;
    let (plot, names) = read(&visitor.project, &asked).await?;
    Ok((asked, plot, names))
}

fn drawings(asked: &Asked, plot: &Plot) -> [Drawing; 2] {
    [DESK, PHONE].map(|shape| draw(plot, asked.request.range, shape))
}

async fn page(visitor: &Visitor, place: Place, mut query: PlotQuery) -> Result<Response, ApiError> {
    let access = &visitor.project;
    // Parts that cannot be read leave the others.
    let store = &access.services().store;
    let read = match (store.series(access.id()).await, &place) {
        (Ok(mut list), Place::Device(device, false)) => {
            let own = store.series_of(device.scope()).await;
            own.map(|paths| {
                list.paths = paths;
                list
            })
        }
        (list, _) => list,
    };
    let read = read.map_err(ApiError::from);
    let series = read.as_ref().cloned().unwrap_or_default();
    let groups = access.groups().await.unwrap_or_default();
    let counts = access.services().store.group_counts(access.id()).await;
    let counts = counts.unwrap_or_default();
    let kept = access
        .services()
        .store
        .saved_plots(access.id())
        .await
        .unwrap_or_default();
    let own = match &place {
        Place::Project => format!("{}/plots", visitor.base()),
        Place::Device(access, _) => {
            let device = access.scope().device;
            query.device = Some(device.to_string());
            query.group = None;
            query.by = None;
            format!("{}/devices/{device}/plots", visitor.base())
        }
    };
    let asks_for_path = query.path.as_deref().is_some_and(|path| !path.trim().is_empty());
    if !asks_for_path {
        query.path = series.paths.first().map(|series| series.path.clone());
    }
    if query.points.is_none() {
        let many = query
            .by
            .as_deref()
            .is_some_and(|by| !by.is_empty() && by != Split::None.as_str());
        query.points = Some(if many { POINTS_OF_MANY } else { POINTS }.to_owned());
    }
    let content = if let Err(error) = &read {
        html! {
            div.head { div { h1 { "Plots" } } }
            section.card data-flush { (broken("The numbers could not be read", error.message())) }
        }
    } else if series.paths.is_empty() && !asks_for_path {
        html! {
            @match &place {
                Place::Project => { div.head { div { h1 { "Plots" } } } section.card data-flush { (nothing(&series)) } }
                Place::Device(access, all) => section.card data-flush { (form::nothing_of_device(&series, access.device(), &own, *all)) },
            }
        }
    } else {
        let made = plot(visitor, &query).await;
        let view = View {
            visitor,
            own: &own,
            query: &query,
            groups: &groups,
            counts: &counts,
            series: &series,
            all: match &place {
                Place::Project => None,
                Place::Device(_, all) => Some(*all),
            },
            saved: &kept,
        };
        match made {
            Ok((asked, plot, names)) => view.drawn(&asked, &plot, &names),
            Err(error) => view.refused(&error),
        }
    };
    match place {
        Place::Project => {
            let screen = Screen {
                section: Section::Plots,
                title: "Plots",
                crumbs: &[],
                events: Some(format!("{}/events?messages=none&quiet=1", visitor.base())),
                scripts: &["plot.js"],
                content,
            };
            screen.respond(visitor).await
        }
        Place::Device(access, _) => {
            let tab = Tab {
                path: "/plots",
                events: None,
                scripts: &["plot.js"],
                content,
            };
            tab.respond(visitor, &access).await
        }
    }
}

/// Query of a device's plots: `paths=all` offers the paths of all devices.
#[derive(serde::Deserialize)]
pub(super) struct Paths {
    paths: Option<String>,
}

fn nothing(series: &SeriesList) -> Markup {
    let next = html! {
        @if series.filling > 0 { p { "Older messages of " (series.filling) " devices are being added." } }
        @else { p { code { r#"send_msg({temperature: 21.5})"# } } }
    };
    empty(
        "No numbers yet",
        "Every number in a message of a device becomes a line here by itself.",
        &next,
    )
}

struct View<'a> {
    visitor: &'a Visitor,
    own: &'a str,
    query: &'a PlotQuery,
    groups: &'a [Group],
    /// Numbers of the groups' devices.
    counts: &'a [GroupCounts],
    series: &'a SeriesList,
    /// On the tab of a device: true if the paths of all devices are offered.
    all: Option<bool>,
    saved: &'a [SavedPlot],
}

impl View<'_> {
    fn drawn(&self, asked: &Asked, plot: &Plot, names: &Named) -> Markup {
        let (path, aggregate) = (&asked.request.path, asked.request.aggregate);
        let csv = format!("{}/plots/csv{}", self.visitor.base(), self.address(&[]));
        html! {
            (self.head(path, Some(&csv)))
            (self.saved_plots())
            (self.form())
            plot-view data-src={ (self.visitor.base()) "/plots/data" (self.address(&[])) } data-live[self.is_live()] {
                section.card.plot aria-labelledby="plot-h" {
                    div.section-head {
                        h2 #plot-h {
                            (words(aggregate)) " of " span.break { (path) } " "
                            @if has_band(plot) { span.soft.small { "with lowest and highest value" @if plot.lines.len() > 1 { " of " span.break { (names.of(&plot.lines[0])) } } } }
                        }
                        (self.spans())
                    }
                    @if plot.lines.is_empty() { (self.empty(path)) } @else {
                        @for drawing in drawings(asked, plot) { (picture(&drawing, asked, plot)) }
                        p.soft.small role="status" data-readout { "Times in UTC. Point at the plot, or use the arrow keys, to read values." }
                    }
                }
                @if !plot.lines.is_empty() { (self.values(plot, names)) }
            }
            (self.notes())
            (self.script(asked))
            (self.save_form(asked))
        }
    }

    fn refused(&self, error: &ApiError) -> Markup {
        html! {
            (self.head(self.query.path.as_deref().unwrap_or_default(), None))
            (self.saved_plots())
            (self.form())
            section.card.plot {
                div.section-head { h2 { "Plot" } (self.spans()) }
                (broken("This cannot be drawn", error.message()))
            }
            (self.notes())
        }
    }

    fn head(&self, path: &str, csv: Option<&str>) -> Markup {
        html! {
            div.head {
                // On the tab of a device the device's name is the heading.
                div { @if self.own.ends_with("/plots") && !self.own.contains("/devices/") { h1.break { (path) } } @else { h2.break { (path) } } }
                div.actions { @if let Some(csv) = csv { a.button href=(csv) download="series.csv" { (icon(Icon::Download)) "CSV" } } }
            }
        }
    }

    fn is_live(&self) -> bool {
        let empty = |text: &Option<String>| text.as_deref().is_none_or(str::is_empty);
        empty(&self.query.to) && empty(&self.query.from)
    }

    fn spans(&self) -> Markup {
        let here = self
            .query
            .since
            .as_deref()
            .filter(|since| !since.is_empty())
            .unwrap_or(DEFAULT_SPAN);
        html! {
            div.seg role="group" aria-label="Span" {
                @for (words, span) in SPANS {
                    a href={ (self.own) (self.address(&[("since", span), ("from", ""), ("to", "")])) } aria-current=[(self.is_live() && span == here).then_some("true")] { (words) }
                }
            }
        }
    }

    /// Returns the query string of the plot, with some fields replaced; empty ones are left out.
    fn address(&self, other: &[(&str, &str)]) -> String {
        let query = self.query;
        let paths = (self.all == Some(true)).then(|| "all".to_owned());
        let fields = [
            ("path", &query.path),
            ("agg", &query.agg),
            ("by", &query.by),
            ("group", &query.group),
            ("device", &query.device),
            ("since", &query.since),
            ("from", &query.from),
            ("to", &query.to),
            ("points", &query.points),
            ("paths", &paths),
        ];
        let fields = fields.into_iter().filter_map(|(name, value)| {
            let replaced = other
                .iter()
                .find(|(other, _)| *other == name)
                .map(|(_, value)| *value);
            let value = replaced.or(value.as_deref()).filter(|value| !value.is_empty())?;
            Some(format!("{name}={}", text::escaped(value)))
        });
        format!("?{}", fields.collect::<Vec<_>>().join("&"))
    }

    fn empty(&self, path: &str) -> Markup {
        let wider = SPANS
            .iter()
            .rev()
            .map(|(words, span)| (words, self.address(&[("since", span), ("from", ""), ("to", "")])))
            .next();
        let seen = self
            .series
            .paths
            .iter()
            .find(|series| series.path == path)
            .map(|series| series.seen);
        let next = html! {
            @if let Some((words, address)) = wider { a.button href={ (self.own) (address) } { "Show " (words) } }
        };
        let sentence = match seen {
            Some(seen) => format!(
                "The newest value of {path} {} is of the hour of {}.",
                if self.all == Some(false) {
                    "of this device"
                } else {
                    "in this project"
                },
                text::iso(seen)
            ),
            None if self.all == Some(false) => format!("This device has sent no number at {path}."),
            None => format!("No message of this project has a number at {path}."),
        };
        empty("No values in this time", &sentence, &next)
    }

    fn values(&self, plot: &Plot, names: &Named) -> Markup {
        let source = match plot.plan.resolution {
            Resolution::Raw => "from single messages".to_owned(),
            Resolution::Rollups(_) => format!(
                "from {} roll-ups, exact to the counted gaps",
                plot.plan.resolution.as_str()
            ),
        };
        html! {
            section.card data-flush aria-labelledby="values-h" {
                div.card-head { h2 #values-h { "Values" } span.soft.small { (text::counted(plot.devices, "device")) ", " (source) } }
                table.table {
                    thead { tr {
                        th { span.sr { "Line" } } th { "Of" } th.num { "Last" } th.num { "Average" } th.num.p2 { "Lowest" } th.num { "Highest" } th.num.p2 { "Values" } th.num.p2 { "Missing" }
                    } }
                    tbody { @for (at, line) in plot.lines.iter().enumerate() {
                        @let [last, average, lowest, highest, count, missing] = cells(line);
                        tr data-line=(line.key.as_deref().unwrap_or_default()) {
                            td { svg.key viewBox="0 0 28 12" aria-hidden="true" { path class={ "line line-" (colour(at)) } d="M0 6h28" {} } }
                            td { b.break { (names.of(line)) } span.sub.only-phone data-few { (count) " values, " (missing) " missing" } }
                            td.num { (last) } td.num { (average) } td.num.p2 { (lowest) } td.num { (highest) } td.num.p2 { (count) } td.num.p2 { (missing) }
                        }
                    } }
                }
            }
        }
    }

    /// Says what is left out of the plots, and why.
    fn notes(&self) -> Markup {
        let (skipped, refused) = (self.series.skipped, self.series.refused);
        html! {
            @if self.series.filling > 0 { p.soft.small { "Older messages of " (self.series.filling) " devices are being added." } }
            @if skipped.all() + refused > 0 {
                p.soft.small {
                    (skipped.all() + refused) " numbers are in no plot: "
                    (refused) " of paths beyond the project's first 500, " (skipped.many) " beyond the 64 of a message, "
                    (skipped.deep) " nested too deeply, " (skipped.named) " with a name that is too long, " (skipped.great) " too great."
                }
            }
        }
    }

    fn script(&self, asked: &Asked) -> Markup {
        let request = &asked.request;
        let mut command = format!(
            "iottly series points {} --agg {} --by {}",
            quoted(&request.path),
            request.aggregate.as_str(),
            request.split.as_str()
        );
        let mut add = |name: &str, value: &Option<String>| {
            if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
                command += &format!(" --{name} {}", quoted(value));
            }
        };
        for group in self.query.group.as_deref().unwrap_or_default().split(',') {
            add("group", &Some(group.trim().to_owned()));
        }
        for (name, value) in [
            ("device", &self.query.device),
            ("from", &self.query.from),
            ("to", &self.query.to),
        ] {
            add(name, value);
        }
        if self.is_live() {
            add(
                "since",
                &Some(
                    self.query
                        .since
                        .clone()
                        .unwrap_or_else(|| DEFAULT_SPAN.to_owned()),
                ),
            );
        }
        command += " --csv";
        script(
            &command,
            (
                "GET",
                &format!("/series/points{}&format=csv", self.address(&[])),
                None,
            ),
        )
    }
}

fn picture(drawing: &Drawing, asked: &Asked, plot: &Plot) -> Markup {
    let title = format!(
        "{} of {}, {} lines",
        words(asked.request.aggregate),
        asked.request.path,
        plot.lines.len()
    );
    html! {
        svg.plot-frame data-for=(drawing.shape) viewBox={ "0 0 " (drawing.width) " " (drawing.height) } role="img" aria-label=(title) tabindex="0" {
            @for element in &drawing.elements { (element) }
        }
    }
}
