//! The tab with the timeline of a device: a picture with lanes, and the same events as a list.

mod draw;

use axum::extract::{Path, Query};
use axum::response::Response;
use iottly_core::model::UnixMs;
use iottly_core::series::Range;
use iottly_core::timeline::{Event, Lane, Place, Tone};
use maud::{Markup, html};
use serde::Deserialize;

use super::super::kit::csv::{csv_link, wants_csv};
use super::super::kit::empty::{broken, empty};
use super::super::kit::script::script;
use super::super::layout::failure;
use super::super::text;
use super::super::visitor::Visitor;
use super::Tab;
use crate::api::timeline as rest;
use crate::api::timeline::Timeline;
use crate::auth::DeviceAccess;
use crate::csv::Csv;
use crate::error::ApiError;
use iottly_cloud::clock;

/// Spans that are offered: their texts, their names in the address, and their lengths.
const SPANS: [(&str, &str, UnixMs); 5] = [
    ("1 h", "1h", HOUR_MS),
    ("6 h", "6h", 6 * HOUR_MS),
    ("24 h", "24h", 24 * HOUR_MS),
    ("7 d", "7d", 168 * HOUR_MS),
    ("30 d", "30d", 720 * HOUR_MS),
];
const HOUR_MS: UnixMs = 60 * 60 * 1000;
const DEFAULT_SPAN: &str = "24h";
/// Maximum number of events on a page.
const EVENTS: usize = 300;

/// Range of the page, as it stands in the address.
#[derive(Default, Deserialize)]
pub(in super::super) struct Asked {
    since: Option<String>,
    from: Option<String>,
    to: Option<String>,
    format: Option<String>,
}

impl Asked {
    fn range(&self, now: UnixMs) -> Result<Range, ApiError> {
        let moment = |text: &Option<String>, name: &str| {
            let text = text.as_deref().map(str::trim).filter(|text| !text.is_empty());
            let read = |written: &str| written.parse().or_else(|_| text::moment(written));
            text.map(read)
                .transpose()
                .map_err(|reason| ApiError::invalid("invalid_query", format!("{name}: {reason}")))
        };
        let since = self.since.as_deref().unwrap_or(DEFAULT_SPAN);
        rest::range(
            Some(since),
            moment(&self.from, "from")?,
            moment(&self.to, "to")?,
            now,
        )
    }
}

pub(in super::super) async fn show(
    visitor: Visitor,
    Path((_, id)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Response {
    page(&visitor, &id, &asked)
        .await
        .unwrap_or_else(|error| failure(&error))
}

async fn page(visitor: &Visitor, id: &str, asked: &Asked) -> Result<Response, ApiError> {
    let access = visitor.device(id).await?;
    let (now, id) = (clock::now(), access.scope().device);
    let own = format!("{}/devices/{id}/timeline", visitor.base());
    let range = asked.range(now);
    if wants_csv(asked.format.as_deref()) {
        let timeline = rest::read(&access, range?, rest::MAX_EVENTS).await?;
        return Ok(table(&timeline).into_file("timeline.csv"));
    }
    let content = match range {
        Ok(range) => {
            let read = rest::read(&access, range, EVENTS).await;
            let view = View {
                base: visitor.base(),
                own: &own,
                access: &access,
                range,
                now,
                // A range that ends now moves with the time; its links do as well.
                is_live: asked.to.as_deref().is_none_or(str::is_empty),
            };
            html! { (view.head()) @match &read {
                Ok(timeline) => (view.drawn(timeline)),
                Err(error) => section.card { (broken("The timeline could not be read", error.message())) },
            } (view.script()) }
        }
        Err(error) => html! {
            section.card { (broken("This is no range of time", error.message())) a.button href=(own) { "Show the last 24 hours" } }
        },
    };
    let tab = Tab {
        path: "/timeline",
        events: None,
        scripts: &[],
        content,
    };
    tab.respond(visitor, &access).await
}

struct View<'a> {
    base: String,
    own: &'a str,
    access: &'a DeviceAccess,
    range: Range,
    now: UnixMs,
    is_live: bool,
}

impl View<'_> {
    fn length(&self) -> UnixMs {
        self.range.to - self.range.from
    }

    /// Returns the address of a range.
    fn address(&self, from: UnixMs, to: UnixMs) -> String {
        format!("{}?from={from}&to={to}", self.own)
    }

    /// Returns the links to other ranges: longer, shorter, before and after.
    fn head(&self) -> Markup {
        let (length, Range { from, to }) = (self.length(), self.range);
        let middle = from + length / 2;
        let half = length / 2;
        html! {
            div.section-head {
                h2 #timeline-h { (text::minute(from)) " to " @if self.is_live { "now" } @else { (text::minute(to)) } span.soft.small { " UTC" } }
                div.actions {
                    a.button data-size="s" href=(self.address(from - half, to - half)) { "Earlier" }
                    @if !self.is_live { a.button data-size="s" href=(self.address(from + half, to + half)) { "Later" } }
                    @if length > HOUR_MS / 6 { a.button data-size="s" href=(self.address(middle - half / 2, middle + half / 2)) { "Zoom in" } }
                    @if length < 400 * 24 * HOUR_MS / 2 { a.button data-size="s" href=(self.address(from - half, (to + half).min(self.now.max(to)))) { "Zoom out" } }
                    (csv_link(&self.csv(), "timeline.csv"))
                    div.seg role="group" aria-label="Span" { @for (words, name, span) in SPANS {
                        a href={ (self.own) "?since=" (name) } aria-current=[(self.is_live && span == length).then_some("true")] { (words) }
                    } }
                }
            }
        }
    }

    fn csv(&self) -> String {
        format!(
            "{}?from={}&to={}&format=csv",
            self.own, self.range.from, self.range.to
        )
    }

    fn drawn(&self, timeline: &Timeline) -> Markup {
        let name = &self.access.device().name;
        html! {
            section.card.plot aria-labelledby="timeline-h" {
                (draw::pictures(timeline, self.range, self.now, name))
            }
            section.card data-flush aria-labelledby="events-h" {
                div.card-head { h2 #events-h { "Events " span.count { (timeline.events.len()) } } span.soft.small { "Newest first, times in UTC" } }
                @if timeline.events.is_empty() {
                    (empty("Nothing happened in this time", "Connections, releases, settings, commands, gaps, failures and alerts of the device are listed here.",
                        &html! { a.button href={ (self.own) "?since=30d" } { "Show 30 days" } }))
                } @else { (self.list(&timeline.events)) }
                @if timeline.more { div.card-foot {
                    span { "All events since " (text::minute(timeline.range.from)) }
                    a href=(self.address(self.range.from, timeline.range.from)) { "Older events of this range" }
                } }
            }
        }
    }

    fn list(&self, events: &[Event]) -> Markup {
        let mut day = String::new();
        let mut rows = Vec::with_capacity(events.len());
        for event in events {
            let of_event = text::day(event.at);
            let is_new = of_event != day;
            rows.push((is_new.then(|| of_event.clone()), event));
            day = of_event;
        }
        html! {
            ol.timeline { @for (day, event) in rows {
                @if let Some(day) = day { li.day { (day) } }
                li data-kind=(kind(event)) data-lane=(event.lane.as_str()) {
                    time datetime=(text::iso(event.at)) { (text::clock(event.at)) }
                    div.what {
                        a.row-link href=(self.place(event)) { (event.title) }
                        @if !event.detail.is_empty() { p.break { (event.detail) } }
                    }
                    span.who { (lane_name(event.lane)) @if let Some(lasted) = lasted(event, self.now) { ", " (lasted) } @if let Some(author) = &event.author { ", " span.break { (author) } } }
                }
            } }
        }
    }

    /// Returns the address of the page that shows the object of an event.
    fn place(&self, event: &Event) -> String {
        let (base, device) = (&self.base, self.access.scope().device);
        let own = format!("{base}/devices/{device}");
        match event.place {
            Place::Message(_) => {
                let at = text::iso(event.at);
                let filter = format!("at>={at} at<={at}");
                format!("{own}/history?filter={}", text::escaped(&filter))
            }
            Place::Command(id) => format!("{own}/commands?until={}#c-{id}", event.at),
            Place::Change(_) if event.lane == Lane::Settings => format!("{own}/settings"),
            Place::Settings => format!("{own}/settings"),
            Place::Change(_) => format!("{base}/audit"),
            Place::Rollout(group, rollout) => format!("{base}/groups/{group}/rollouts/{rollout}"),
            Place::Alert(_) => format!("{base}/alerts"),
        }
    }

    fn script(&self) -> Markup {
        let (id, Range { from, to }) = (self.access.scope().device, self.range);
        let (options, query) = match SPANS
            .iter()
            .find(|(_, _, span)| self.is_live && *span == self.length())
        {
            Some((_, name, _)) => (format!("--since {name}"), format!("since={name}")),
            None => (format!("--from {from} --to {to}"), format!("from={from}&to={to}")),
        };
        script(
            &format!("iottly device timeline {id} {options}"),
            ("GET", &format!("/device/{id}/timeline?{query}"), None),
        )
    }
}

/// Returns the name of a lane for people.
fn lane_name(lane: Lane) -> &'static str {
    match lane {
        Lane::Presence => "Presence",
        Lane::Release => "Release",
        Lane::Settings => "Settings",
        Lane::Commands => "Commands",
        Lane::Gaps => "Gaps",
        Lane::Failures => "Failures",
        Lane::Alerts => "Alerts",
    }
}

/// Returns the mark of an event in the list.
fn kind(event: &Event) -> &'static str {
    match (event.lane, event.tone) {
        (Lane::Gaps, _) => "gap",
        (Lane::Presence, Tone::Warn) => "offline",
        (_, Tone::Bad) => "bad",
        (_, Tone::Warn) => "warn",
        (_, Tone::Good) => "good",
        (Lane::Release, Tone::Plain) => "release",
        (_, Tone::Plain) => "plain",
    }
}

/// Returns how long an event lasted, in words; none for a moment.
fn lasted(event: &Event, now: UnixMs) -> Option<String> {
    match (event.until, event.lasts) {
        (Some(until), _) => Some(format!("for {}", text::ago(event.at, until))),
        (None, true) => Some(format!("since {}", text::ago(event.at, now))),
        (None, false) => None,
    }
}

/// Returns an event in one sentence, for a mark of the picture.
fn sentence(event: &Event) -> String {
    let detail = if event.detail.is_empty() {
        String::new()
    } else {
        format!(" ({})", event.detail)
    };
    text::straight(&format!("{}: {}{detail}", text::iso(event.at), event.title))
}

/// Returns a timeline as a table to keep.
fn table(timeline: &Timeline) -> Csv {
    let mut csv = Csv::new(&["time", "until", "lane", "tone", "event", "detail", "author"]);
    for event in &timeline.events {
        let until = event.until.map(text::iso).unwrap_or_default();
        csv.row(&[
            &text::iso(event.at),
            &until,
            event.lane.as_str(),
            event.tone.as_str(),
            &event.title,
            &event.detail,
            event.author.as_deref().unwrap_or_default(),
        ]);
    }
    csv
}
