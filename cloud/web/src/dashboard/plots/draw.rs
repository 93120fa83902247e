//! Drawing of a plot, as elements of SVG: the page renders them, and the script of the page builds them again from the same
//! data. Pure.

use std::fmt::Write as _;

use maud::{Markup, PreEscaped, Render, html};
use serde::Serialize;

use super::scale;
use iottly_cloud::series::{Plot, PlotLine};
use iottly_core::model::UnixMs;
use iottly_core::series::Range;

/// Number of colours of lines; a seventh line has the colour of the first.
const COLOURS: usize = 6;

/// Size of a drawing, in its own units, and the number of texts at its edges.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) name: &'static str,
    width: f64,
    height: f64,
    values: u32,
    times: UnixMs,
}

/// Shape for wide windows.
pub(super) const DESK: Shape = Shape {
    name: "desk",
    width: 960.0,
    height: 340.0,
    values: 6,
    times: 8,
};
/// Shape for phones.
pub(super) const PHONE: Shape = Shape {
    name: "phone",
    width: 358.0,
    height: 280.0,
    values: 5,
    times: 4,
};

const LEFT: f64 = 52.0;
const RIGHT: f64 = 4.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 28.0;

/// Element of a drawing.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Element {
    tag: &'static str,
    attributes: Vec<(&'static str, String)>,
    text: String,
}

impl Element {
    fn new<const N: usize>(tag: &'static str, attributes: [(&'static str, String); N]) -> Self {
        Self {
            tag,
            attributes: attributes.into(),
            text: String::new(),
        }
    }

    fn text(class: &str, (x, y): (f64, f64), anchor: &str, text: String) -> Self {
        let attributes = [
            ("class", class.to_owned()),
            ("x", rounded(x)),
            ("y", rounded(y)),
            ("text-anchor", anchor.to_owned()),
        ];
        Self {
            text,
            ..Self::new("text", attributes)
        }
    }

    fn path(class: String, d: String) -> Self {
        Self::new("path", [("class", class), ("d", d)])
    }
}

impl Render for Element {
    fn render(&self) -> Markup {
        let mut out = format!("<{}", self.tag);
        for (name, value) in &self.attributes {
            let value = html! { (value) }.into_string();
            write!(out, " {name}=\"{}\"", value.replace('"', "&quot;")).expect("a string takes all");
        }
        let text = html! { (self.text) }.into_string();
        write!(out, ">{text}</{}>", self.tag).expect("a string takes all");
        PreEscaped(out)
    }
}

/// A drawing in one shape, with what a script needs to find values in it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Drawing {
    pub(super) shape: &'static str,
    pub(super) width: f64,
    pub(super) height: f64,
    /// Place of the area of the lines: left, right, top, bottom.
    pub(super) area: [f64; 4],
    /// Values at the bottom and the top.
    pub(super) values: [f64; 2],
    /// Times at the left and the right.
    pub(super) times: [UnixMs; 2],
    pub(super) elements: Vec<Element>,
}

struct Scale {
    shape: Shape,
    range: Range,
    low: f64,
    high: f64,
}

impl Scale {
    fn x(&self, at: UnixMs) -> f64 {
        let part = (at - self.range.from) as f64 / (self.range.to - self.range.from).max(1) as f64;
        LEFT + part * (self.shape.width - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let part = (value - self.low) / (self.high - self.low);
        self.bottom() - part * (self.bottom() - TOP)
    }

    fn bottom(&self) -> f64 {
        self.shape.height - BOTTOM
    }
}

/// Returns the class number of the line at a position.
pub(super) const fn colour(at: usize) -> usize {
    at % COLOURS + 1
}

/// Draws the lines of a plot over a range; the first line has a band from its lowest to its highest values.
pub(super) fn draw(plot: &Plot, range: Range, shape: Shape) -> Drawing {
    let points = || {
        plot.lines
            .iter()
            .flat_map(|line| &line.pieces)
            .flat_map(|piece| &piece.points)
    };
    let band = plot.lines.first().filter(|_| has_band(plot));
    let banded = || {
        band.into_iter()
            .flat_map(|line| &line.pieces)
            .flat_map(|piece| &piece.points)
    };
    let low = points()
        .map(|point| point.value)
        .chain(banded().map(|point| point.min))
        .fold(f64::INFINITY, f64::min);
    let high = points()
        .map(|point| point.value)
        .chain(banded().map(|point| point.max))
        .fold(f64::NEG_INFINITY, f64::max);
    let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
    let values = scale::values(low, high, shape.values);
    let scale = Scale {
        shape,
        range,
        low: values.low,
        high: values.high,
    };
    let mut elements = Vec::new();
    for tick in &values.ticks {
        let y = scale.y(*tick);
        elements.push(Element::path(
            "grid".into(),
            format!("M{LEFT} {y:.0}H{:.0}", shape.width - RIGHT),
        ));
        elements.push(Element::text(
            "",
            (LEFT - 8.0, y + 4.0),
            "end",
            scale::number(*tick),
        ));
    }
    for (at, text) in scale::times(range.from, range.to, shape.times) {
        elements.push(Element::text(
            "",
            (scale.x(at), shape.height - 8.0),
            "middle",
            text,
        ));
    }
    elements.push(Element::path(
        "axis".into(),
        format!("M{LEFT} {:.0}H{:.0}", scale.bottom(), shape.width - RIGHT),
    ));
    for line in &plot.lines {
        gaps(&mut elements, &scale, line, plot.plan.step_ms);
    }
    if let Some(line) = band {
        elements.push(Element::path("area area-1".into(), area(&scale, line)));
    }
    // The first line is drawn last, above the others.
    for (at, line) in plot.lines.iter().enumerate().rev() {
        elements.push(Element::path(
            format!("line line-{}", colour(at)),
            path(&scale, line),
        ));
        for piece in line.pieces.iter().filter(|piece| piece.points.len() == 1) {
            // A path of one point is not visible.
            let point = piece.points[0];
            elements.push(Element::new(
                "circle",
                [
                    ("class", format!("dot dot-{}", colour(at))),
                    ("cx", rounded(scale.x(point.at))),
                    ("cy", rounded(scale.y(point.value))),
                    ("r", "3".to_owned()),
                ],
            ));
        }
    }
    Drawing {
        shape: shape.name,
        width: shape.width,
        height: shape.height,
        area: [LEFT, shape.width - RIGHT, TOP, scale.bottom()],
        values: [values.low, values.high],
        times: [range.from, range.to],
        elements,
    }
}

/// Returns true if the steps of the first line have a lowest and a highest value beside their own.
pub(super) fn has_band(plot: &Plot) -> bool {
    plot.lines.first().is_some_and(|line| {
        let mut points = line.pieces.iter().flat_map(|piece| &piece.points);
        points.any(|point| point.min < point.value && point.value < point.max)
    })
}

/// Marks the pauses of a line, each with the number of messages that are missing there.
fn gaps(elements: &mut Vec<Element>, scale: &Scale, line: &PlotLine, step_ms: UnixMs) {
    for pair in line.pieces.windows(2) {
        let (Some(last), Some(next)) = (pair[0].points.last(), pair[1].points.first()) else {
            continue;
        };
        let (left, right) = (
            scale.x(last.at + step_ms.min(next.at - last.at)),
            scale.x(next.at),
        );
        let (top, bottom) = (TOP + 14.0, scale.bottom());
        if pair[1].missing > 0 {
            elements.push(Element::new(
                "rect",
                [
                    ("class", "gap".to_owned()),
                    ("x", rounded(left)),
                    ("y", rounded(top)),
                    ("width", rounded((right - left).max(1.0))),
                    ("height", rounded(bottom - top)),
                ],
            ));
            let middle = f64::midpoint(left, right).clamp(LEFT + 40.0, scale.shape.width - 44.0);
            let text = format!("{} missing", pair[1].missing);
            elements.push(Element::text("gap-text", (middle, TOP + 8.0), "middle", text));
        }
        let edges = format!("M{left:.1} {top:.0}V{bottom:.0}M{right:.1} {top:.0}V{bottom:.0}");
        elements.push(Element::path("gap-edge".into(), edges));
    }
}

/// Returns the path of a line, which starts again behind each pause.
fn path(scale: &Scale, line: &PlotLine) -> String {
    let mut d = String::new();
    for piece in &line.pieces {
        for (at, point) in piece.points.iter().enumerate() {
            let step = if at == 0 { 'M' } else { 'L' };
            write!(d, "{step}{:.1} {:.1}", scale.x(point.at), scale.y(point.value))
                .expect("a string takes all");
        }
    }
    d
}

/// Returns the outline of the band between the lowest and the highest values.
fn area(scale: &Scale, line: &PlotLine) -> String {
    let mut d = String::new();
    for piece in &line.pieces {
        let tops = piece.points.iter().map(|point| (point.at, point.max));
        let bottoms = piece.points.iter().rev().map(|point| (point.at, point.min));
        for (at, (time, value)) in tops.chain(bottoms).enumerate() {
            let step = if at == 0 { 'M' } else { 'L' };
            write!(d, "{step}{:.1} {:.1}", scale.x(time), scale.y(value)).expect("a string takes all");
        }
        d.push('Z');
    }
    d
}

fn rounded(number: f64) -> String {
    format!("{number:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_leave_their_element() {
        let element = Element::text("a\"><script>", (0.0, 0.0), "end", "<img onerror=x>&".into());
        let html = element.render().into_string();
        assert_eq!(html.matches('<').count(), 2, "{html}");
        assert!(html.contains("&lt;img onerror=x&gt;&amp;</text>"), "{html}");
    }

    #[test]
    fn colours_repeat() {
        assert_eq!([colour(0), colour(5), colour(6)], [1, 6, 1]);
    }
}
