//! The tab with a virtual board: drawn, live, and with parts that a person presses and sets.

mod drawing;

use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use iottly_cloud::boards::Seen;
use iottly_core::board::Standing;
use iottly_core::model::Scopes;
use iottly_protocol::board::{BoardInput, BoardPin, BoardSensor, BoardState, PinDirection, PinFitting};
use maud::{Markup, html};

use self::drawing::{drawings, percent, rounded};
use super::super::forms::Fields;
use super::super::kit::empty::empty;
use super::super::kit::script::script_for;
use super::super::layout::failure;
use super::super::visitor::Visitor;
use super::{Tab, live};
use crate::api;
use crate::api::board::{apply, look};
use crate::auth::DeviceAccess;
use crate::error::ApiError;

/// Time for which a form presses a button, in milliseconds.
const PRESS_MS: u64 = 200;
/// Number of messages that the server renders.
const MESSAGES: usize = 10;

pub(in super::super) async fn show(visitor: Visitor, Path((_, id)): Path<(String, String)>) -> Response {
    let shown = async {
        let access = visitor.device(&id).await?;
        page(&visitor, &access).await
    };
    shown.await.unwrap_or_else(|error| failure(&error))
}

/// Presses the button or sets the value of the form.
pub(in super::super) async fn touch(
    visitor: Visitor,
    Path((_, id)): Path<(String, String)>,
    fields: Fields,
) -> Response {
    let touched = async {
        let access = visitor.device(&id).await?;
        apply(&access, vec![input(&fields)?]).await?;
        let own = format!("{}/devices/{}/board", visitor.base(), access.scope().device);
        Ok::<_, ApiError>(Redirect::to(&own).into_response())
    };
    touched.await.unwrap_or_else(|error| failure(&error))
}

fn input(fields: &Fields) -> Result<BoardInput, ApiError> {
    if let Some(button) = fields.get("button") {
        return Ok(BoardInput::Press {
            button: button.to_owned(),
            hold_ms: PRESS_MS,
        });
    }
    let name = fields.get("sensor").unwrap_or_default().to_owned();
    let text = fields.get("value").unwrap_or_default();
    let value = text
        .trim()
        .parse()
        .map_err(|_| ApiError::invalid("invalid_form", format!("{text:?} is not a number")))?;
    Ok(BoardInput::Sensor { name, value })
}

async fn page(visitor: &Visitor, access: &DeviceAccess) -> Result<Response, ApiError> {
    let seen = look(access).await?;
    let asked = api::Page {
        limit: MESSAGES,
        filter: None,
        before: None,
    };
    let messages = api::page(access.services(), access.scope(), &asked)
        .await?
        .messages;
    let newest = messages
        .first()
        .map(super::super::events::event_id)
        .unwrap_or_default();
    let (project, device) = (visitor.project.id(), access.device());
    let id = device.scope.device;
    let own = format!("{}/devices/{id}", visitor.base());
    let content = html! {
        board-view data-api={ "/v1.0/project/" (project) "/device/" (id) "/board" } data-drawn[seen.state.is_some()]
            data-stale[seen.standing != Standing::Live] {
            (board(visitor, &seen, (&device.name, &own), &live::feed(&messages, &format!("Messages of {}", device.name), &own, ("", None, 0))))
        }
        (scripts(&id.to_string(), seen.state.as_deref()))
    };
    let tab = Tab {
        path: "/board",
        events: Some(format!("&after={newest}")),
        scripts: &["feed.js", "board.js"],
        content,
    };
    tab.respond(visitor, access).await
}

fn board(visitor: &Visitor, seen: &Seen, (name, own): (&str, &str), messages: &Markup) -> Markup {
    let (mark, text) = match seen.standing {
        Standing::Live => ("live", "live"),
        Standing::Hidden => ("off", "not shown"),
        Standing::Unknown => (
            "wait",
            "not known yet: the device has not connected since the cloud started",
        ),
        Standing::Waiting | Standing::Silent => ("wait", "reconnecting: the device is silent"),
        Standing::Away => ("wait", "reconnecting: the device is not connected"),
    };
    let hands = visitor.may(Scopes::COMMAND);
    html! {
        div.split {
            div.stack {
            section.card data-flush aria-labelledby="board" {
                div.card-head {
                    h2 #board { "Board" }
                    span.link data-standing data-state=(mark) role="status" { (text) }
                }
                @match seen.state.as_deref() {
                    Some(state) => (drawings(state, name)),
                    None => (empty("No board to show", seen.standing.text(),
                        &html! { a.button href={ (own) "/board" } { "Look again" } })),
                }
            }
            (messages)
            }
            section.card data-flush aria-labelledby="parts" {
                div.card-head { h2 #parts { "Parts" } span.soft.small { @if hands { "Yours to move" } @else { "Read only" } } }
                p.part.small data-problem role="status" {}
                @if !hands {
                    p.part.soft { "This login may look only. A person with the right to send commands can grant it." }
                }
                @match seen.state.as_deref() {
                    Some(state) => (parts(state, own, hands)),
                    None => p.part.soft { "Its parts are listed here as soon as the device has shown them." },
                }
            }
        }
    }
}

fn parts(state: &BoardState, own: &str, hands: bool) -> Markup {
    html! {
        div.parts {
            @for pin in state.pins.iter().filter(|pin| is_button(pin)) { (pin_part(pin, own, hands)) }
            @for sensor in &state.sensors { (sensor_part(sensor, own, hands)) }
            @for pin in state.pins.iter().filter(|pin| !is_button(pin)) { (pin_part(pin, own, hands)) }
            @for output in &state.pwm {
                div.part data-part=(output.label) data-on=(output.duty > 0) {
                    div.part-head {
                        span { b { (output.label) } " " span.soft { "PWM output, " (output.hertz) " Hz" } }
                        span.tag data-word { (percent(output.duty)) " %" }
                    }
                }
            }
        }
    }
}

fn is_button(pin: &BoardPin) -> bool {
    pin.fitting == PinFitting::Button
}

fn pin_part(pin: &BoardPin, own: &str, hands: bool) -> Markup {
    let (kind, word) = match (pin.fitting, pin.high) {
        (PinFitting::Led, true) => ("LED", "lit"),
        (PinFitting::Led, false) => ("LED", "dark"),
        (PinFitting::Load, true) => ("switched load", "on"),
        (PinFitting::Load, false) => ("switched load", "off"),
        (PinFitting::Button, high) => ("button", level(high)),
        (PinFitting::Nothing, high) => ("pin", level(high)),
    };
    let used = match pin.direction {
        PinDirection::Input => "read by the firmware",
        PinDirection::Output => "driven by the firmware",
        PinDirection::Free => "not used by the firmware",
    };
    html! {
        div.part data-part=(pin.label) data-on=(pin.high) {
            div.part-head {
                span { b { (pin.label) } " " span.soft { (kind) ", " (used) } }
                span.tag data-word { (word) }
            }
            @if hands && is_button(pin) {
                form method="post" action={ (own) "/board/inputs" } {
                    input type="hidden" name="button" value=(pin.label);
                    button data-size="s" data-hold=(pin.label) aria-label={ "Press " (pin.label) } { "Press for 200 ms" }
                }
            }
        }
    }
}

const fn level(high: bool) -> &'static str {
    if high { "high" } else { "low" }
}

fn sensor_part(sensor: &BoardSensor, own: &str, hands: bool) -> Markup {
    let (id, value) = (format!("sensor-{}", sensor.name), rounded(sensor.value));
    html! {
        div.part {
            div.part-head {
                label for=(id) { b { (sensor.name) } " " span.soft { (sensor.part) } }
                output.reading for=(id) data-value=(sensor.name) { (value) " " (sensor.unit) }
            }
            @if hands {
                form.stack method="post" action={ (own) "/board/inputs" } data-sensor=(sensor.name) {
                    input type="hidden" name="sensor" value=(sensor.name);
                    div hidden {
                        input type="range" min=(sensor.min) max=(sensor.max) step="0.01" value=(value) aria-label={ (sensor.name) ", slider" };
                        div.ticks aria-hidden="true" { span { (sensor.min) } span { (sensor.max) } }
                    }
                    div.actions {
                        input #(id) type="number" name="value" min=(sensor.min) max=(sensor.max) step="0.01" value=(value) required;
                        button { "Set" }
                    }
                }
            }
        }
    }
}

fn scripts(id: &str, state: Option<&BoardState>) -> Markup {
    let button = state.and_then(|state| state.pins.iter().find(|pin| is_button(pin)));
    let sensor = state.and_then(|state| state.sensors.first());
    let inputs = format!("/device/{id}/board/inputs");
    html! {
        (script_for("look", &format!("iottly device board {id} --watch"),
            ("GET", &format!("/device/{id}/board"), None)))
        @if let Some(button) = button {
            (script_for("press", &format!("iottly device press {id} {}", button.label),
                ("POST", &inputs, Some(&format!(r#"{{"inputs":[{{"kind":"press","button":"{}"}}]}}"#, button.label)))))
        }
        @if let Some(sensor) = sensor {
            (script_for("set", &format!("iottly device sensor {id} {} {}", sensor.name, rounded(sensor.value)),
                ("POST", &inputs, Some(&format!(r#"{{"inputs":[{{"kind":"sensor","name":"{}","value":{}}}]}}"#, sensor.name, rounded(sensor.value))))))
        }
    }
}
