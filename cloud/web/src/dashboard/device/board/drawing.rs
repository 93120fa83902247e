//! Drawing of a board: the header with its pins, and what is wired to them. The page's script changes the marks by their
//! labels.

use iottly_protocol::board::{BoardState, PinFitting};
use maud::{Markup, html};

/// Distance between two pins of the header, and between the header's rows.
const PITCH: usize = 24;
/// Size of the place of a part.
const CELL: (usize, usize) = (148, 112);
/// Space between the board's edge and the parts.
const EDGE: usize = 24;
/// Height of the header with its names, and of the lanes of the wires below it.
const HEAD: usize = 104;
const LANES: usize = 56;
/// Maximum number of parts that are drawn; further ones are in the list only.
const MAX_DRAWN: usize = 16;

/// Part on the drawing.
struct Part<'a> {
    label: &'a str,
    /// Position of its pin on the header, from 0 on.
    pin: Option<usize>,
    shape: Shape<'a>,
}

enum Shape<'a> {
    Led(bool),
    Button(bool),
    Load(bool),
    Pwm(u16),
    /// Names of values, the values and their units.
    Sensor(Vec<(&'a str, f64, &'a str)>),
}

/// Returns the drawings of a board: one for wide screens, one for phones.
pub(super) fn drawings(state: &BoardState, name: &str) -> Markup {
    let parts = parts(state);
    html! {
        div.board {
            (drawing(state, &parts, name, 4, "desk"))
            (drawing(state, &parts, name, 2, "phone"))
        }
    }
}

fn parts(state: &BoardState) -> Vec<Part<'_>> {
    let on_header = |label: &str| state.header.iter().position(|name| name == label);
    let pins = state.pins.iter().filter_map(|pin| {
        let shape = match pin.fitting {
            PinFitting::Led => Shape::Led(pin.high),
            PinFitting::Button => Shape::Button(pin.high),
            PinFitting::Load => Shape::Load(pin.high),
            PinFitting::Nothing => return None,
        };
        Some(Part {
            label: &pin.label,
            pin: on_header(&pin.label),
            shape,
        })
    });
    let pwm = state.pwm.iter().map(|output| Part {
        label: &output.label,
        pin: on_header(&output.label),
        shape: Shape::Pwm(output.duty),
    });
    let mut parts: Vec<Part<'_>> = pins.chain(pwm).collect();
    for sensor in &state.sensors {
        let value = (sensor.name.as_str(), sensor.value, sensor.unit.as_str());
        let known = parts.iter_mut().find_map(|part| match &mut part.shape {
            Shape::Sensor(values) if part.label == sensor.part => Some(values),
            _ => None,
        });
        if let Some(values) = known {
            values.push(value);
            continue;
        }
        let line = sensor.part.rsplit(' ').next().unwrap_or_default();
        parts.push(Part {
            label: &sensor.part,
            pin: on_header(line).or_else(|| on_header("SDA")),
            shape: Shape::Sensor(vec![value]),
        });
    }
    parts.truncate(MAX_DRAWN);
    parts
}

fn drawing(state: &BoardState, parts: &[Part<'_>], name: &str, columns: usize, screen: &str) -> Markup {
    let rows = parts.len().div_ceil(columns).max(1);
    let width = columns * CELL.0 + 2 * EDGE;
    let height = HEAD + LANES + rows * CELL.1 + 2 * EDGE;
    let pins = state.header.len().div_ceil(2);
    let pitch = PITCH.min((width - 4 * EDGE) / pins.max(1));
    let left = (width - pitch * pins.saturating_sub(1)) / 2;
    // Position 1 is at the lower left, 2 above it, as on the header of a Raspberry Pi.
    let place = |at: usize| {
        let row = if at.is_multiple_of(2) { PITCH } else { 0 };
        (left + at / 2 * pitch, EDGE + 36 + row)
    };
    // A wire from the upper row passes between two pins of the lower one.
    let from = |at: usize| {
        let (x, y) = place(at);
        let lower = at.is_multiple_of(2);
        format!("M{x} {y}H{}", if lower { x } else { x + pitch / 2 })
    };
    let cell = |index: usize| {
        let x = EDGE + index % columns * CELL.0 + CELL.0 / 2;
        (x, EDGE + HEAD + LANES + index / columns * CELL.1)
    };
    html! {
        svg data-for=(screen) viewBox={ "0 0 " (width) " " (height) } role="img" aria-label={ "Board of " (name) "; its parts are listed beside it" } {
            rect.pcb x="4" y="4" width=(width - 8) height=(height - 8) rx="20" {}
            @for (x, y) in [(24, 24), (width - 24, 24), (24, height - 24), (width - 24, height - 24)] {
                circle.hole cx=(x) cy=(y) r="8" {}
            }
            @if pins > 0 {
                rect.silk-line x=(left - 16) y=(EDGE + 20) width=(pitch * (pins - 1) + 32) height=(PITCH + 32) rx="4" {}
            }
            @for (index, part) in parts.iter().enumerate() {
                @if let Some(at) = part.pin {
                    path.copper-line d=(wire(&from(at), cell(index), (index, columns))) {}
                }
            }
            @for (at, pin) in state.header.iter().enumerate() {
                @let (x, y) = place(at);
                @let used = parts.iter().any(|part| part.pin == Some(at));
                circle.pin.pin-used[used] cx=(x) cy=(y) r=(if used { 7 } else { 5 }) { title { "pin " (at + 1) ": " (pin) } }
            }
            @for (index, part) in parts.iter().enumerate() { (part_at(part, cell(index))) }
        }
    }
}

/// Returns the way of a wire from its start at a pin to the top of a part: down to a lane of its own, across, and down beside the parts
/// above it.
fn wire(start: &str, (x, y): (usize, usize), (index, columns): (usize, usize)) -> String {
    let lane = EDGE + HEAD + 4 + index * 6 % LANES;
    if index < columns {
        return format!("{start}V{lane}H{x}V{y}");
    }
    let side = x - CELL.0 / 2 + 6;
    format!("{start}V{lane}H{side}V{}H{}", y + 28, x - 44)
}

fn part_at(part: &Part<'_>, (x, y): (usize, usize)) -> Markup {
    let label = match part.pin {
        Some(at) if !matches!(part.shape, Shape::Sensor(_)) => format!("{} · pin {}", part.label, at + 1),
        _ => part.label.to_owned(),
    };
    let middle = y + 28;
    html! {
        @match &part.shape {
            Shape::Led(on) => g data-part=(part.label) data-on=(on) {
                circle.led-glow cx=(x) cy=(middle) r="28" {}
                circle.led cx=(x) cy=(middle) r="13" {}
            },
            Shape::Button(on) => g.cap data-part=(part.label) data-on=(on) data-press=(part.label) {
                rect.chip-body x=(x - 36) y=(y) width="72" height="56" rx="5" {}
                circle.cap-rim cx=(x) cy=(middle) r="19" {}
                circle.cap-top cx=(x) cy=(middle) r="14" {}
            },
            Shape::Load(on) => g data-part=(part.label) data-on=(on) {
                rect.chip-body x=(x - 44) y=(y) width="88" height="56" rx="5" {}
                text.chip-text x=(x) y=(y + 24) text-anchor="middle" { "switched" }
                circle.lamp cx=(x) cy=(y + 40) r="6" {}
            },
            Shape::Pwm(duty) => g data-part=(part.label) data-on=(*duty > 0) {
                rect.chip-body x=(x - 44) y=(y) width="88" height="56" rx="5" {}
                text.chip-text x=(x) y=(y + 24) text-anchor="middle" { "pwm" }
                text.chip-text x=(x) y=(y + 42) text-anchor="middle" data-word { (percent(*duty)) " %" }
            },
            Shape::Sensor(values) => g {
                rect.chip-body x=(x - 52) y=(y) width="104" height="56" rx="5" {}
                @let first = middle + 4 - (values.len().min(3) - 1) * 8;
                @for (line, (name, value, unit)) in values.iter().take(3).enumerate() {
                    text.chip-text x=(x) y=(first + line * 16) text-anchor="middle" data-value=(name) { (rounded(*value)) " " (unit) }
                }
            },
        }
        text.silk x=(x) y=(y + 76) text-anchor="middle" { (label) }
    }
}

/// Returns the share of a duty in percent.
pub(super) fn percent(duty: u16) -> u32 {
    (u32::from(duty) * 100 + 32_767) / 65_535
}

/// Returns a value with two decimals at most.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
