//! Drawing of a timeline: a lane for each kind of event, as elements of SVG. Pure.

use iottly_core::model::UnixMs;
use iottly_core::series::Range;
use iottly_core::timeline::{Event, Lane, Tone};
use maud::{Markup, html};

use super::super::super::plots::times;
use super::super::super::text;
use super::{lane_name, sentence};
use crate::api::timeline::Timeline;

/// Size of a drawing, in its own units.
#[derive(Clone, Copy)]
struct Shape {
    name: &'static str,
    width: f64,
    left: f64,
    times: UnixMs,
}

/// Shapes for wide windows and for phones.
const SHAPES: [Shape; 2] = [
    Shape {
        name: "desk",
        width: 960.0,
        left: 88.0,
        times: 8,
    },
    Shape {
        name: "phone",
        width: 358.0,
        left: 72.0,
        times: 4,
    },
];
const RIGHT: f64 = 8.0;
const TOP: f64 = 8.0;
const LANE: f64 = 30.0;
const BAR: f64 = 14.0;
const FOOT: f64 = 24.0;
/// Minimum width of a mark, so that a short event can be seen.
const MARK: f64 = 3.0;
/// Minimum width of a span with a text in it, for each letter and at all.
const LETTER: f64 = 7.0;

struct Scale {
    shape: Shape,
    range: Range,
}

impl Scale {
    fn x(&self, at: UnixMs) -> f64 {
        let at = at.clamp(self.range.from, self.range.to);
        let part = (at - self.range.from) as f64 / (self.range.to - self.range.from).max(1) as f64;
        self.shape.left + part * (self.shape.width - self.shape.left - RIGHT)
    }
}

/// Returns the drawings of a timeline; `range` is what was asked for, of which the beginning may be missing.
pub(super) fn pictures(timeline: &Timeline, range: Range, now: UnixMs, name: &str) -> Markup {
    let label = format!(
        "Timeline of {name} from {} to {}: {} events in {} lanes; the same events are listed below",
        text::iso(range.from),
        text::iso(range.to.min(now)),
        timeline.events.len(),
        Lane::ALL.len()
    );
    html! { @for shape in SHAPES { (picture(timeline, &Scale { shape, range }, now, &label)) } }
}
fn picture(timeline: &Timeline, scale: &Scale, now: UnixMs, label: &str) -> Markup {
    let shape = scale.shape;
    let bottom = TOP + LANE * Lane::ALL.len() as f64;
    let missing = timeline.range.from > scale.range.from;
    html! {
        svg.plot-frame.lanes data-for=(shape.name) viewBox={ "0 0 " (shape.width) " " (bottom + FOOT) } role="img" aria-label=(label) {
            @for (at, words) in times(scale.range.from, scale.range.to, shape.times) {
                @let x = scale.x(at);
                path.grid d={ "M" (short(x)) " " (TOP) "V" (bottom) } {}
                text x=(short(x)) y=(bottom + 18.0) text-anchor="middle" { (words) }
            }
            @if missing {
                rect.lane-off x=(short(shape.left)) y=(TOP) width=(width(shape.left, scale.x(timeline.range.from))) height=(bottom - TOP) { title { "Older events are on the page before this one." } }
            }
            @for (number, lane) in Lane::ALL.into_iter().enumerate() {
                @let y = TOP + LANE * number as f64 + (LANE - BAR) / 2.0;
                text x="0" y=(y + 11.0) { (lane_name(lane)) }
                @match lane {
                    Lane::Presence => (presence(timeline, scale, y)),
                    Lane::Release => (releases(timeline, scale, y)),
                    Lane::Settings | Lane::Commands | Lane::Gaps | Lane::Failures | Lane::Alerts => {},
                }
                @for event in timeline.events.iter().filter(|event| event.lane == lane && lane != Lane::Presence) { (mark(event, scale, y, now)) }
            }
        }
    }
}

fn presence(timeline: &Timeline, scale: &Scale, y: f64) -> Markup {
    html! {
        @for span in &timeline.presence {
            @let (left, right) = (scale.x(span.from), scale.x(span.to));
            rect class=(if span.state { "lane-on" } else { "lane-off" }) x=(short(left)) y=(y) width=(width(left, right)) height=(BAR) rx="2" {
                title { (if span.state { "online" } else { "offline" }) " " (text::iso(span.from)) " to " (text::iso(span.to)) }
            }
        }
    }
}
fn releases(timeline: &Timeline, scale: &Scale, y: f64) -> Markup {
    html! {
        @for (at, span) in timeline.releases.iter().enumerate() {
            @let (left, right) = (scale.x(span.from), scale.x(span.to));
            @let (class, words) = (if at + 1 == timeline.releases.len() { "lane-a" } else { "lane-b" }, format!("r{}", span.state.0));
            rect class=(class) x=(short(left)) y=(y) width=(width(left, right)) height=(BAR) rx="2" { title { (text::straight(&span.state.1)) } }
            @if right - left > LETTER * (words.len() as f64 + 2.0) { text.lane-text x=(short(left + 7.0)) y=(y + 11.0) { (words) } }
        }
    }
}

/// Draws an event: a bar for one that lasted, or a pad. Those that need attention have a shape of their own.
fn mark(event: &Event, scale: &Scale, y: f64, now: UnixMs) -> Markup {
    let left = scale.x(event.at);
    let until = event.until.or_else(|| event.lasts.then_some(now));
    // In the lane of releases the spans show what ran; an update is a moment there.
    let until = until.filter(|_| event.lane != Lane::Release);
    let words = sentence(event);
    let middle = y + BAR / 2.0;
    html! {
        @match (until, event.tone) {
            (Some(until), tone) if scale.x(until) - left > 2.0 * MARK => {
                @let class = if tone == Tone::Bad { "lane-alert" } else { "lane-a" };
                rect class=(class) x=(short(left)) y=(y) width=(width(left, scale.x(until))) height=(BAR) rx="2" { title { (words) } }
            },
            (_, Tone::Bad) => rect.lane-bad x=(short(left - 4.0)) y=(middle - 4.0) width="8" height="8" rx="1" { title { (words) } },
            (_, Tone::Warn) => path.lane-warn d={ "M" (short(left)) " " (middle - 6.0) "l6 11h-12z" } { title { (words) } },
            (_, Tone::Good) => circle.lane-good cx=(short(left)) cy=(middle) r="5" { title { (words) } },
            (_, Tone::Plain) => circle.lane-tick cx=(short(left)) cy=(middle) r="5" { title { (words) } },
        }
    }
}

fn width(left: f64, right: f64) -> String {
    short((right - left).max(MARK))
}

fn short(number: f64) -> String {
    format!("{number:.1}")
}
