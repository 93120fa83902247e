//! `iottly device board|press|sensor`: shows a virtual board, presses its buttons and sets what its sensors measure.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::BufReader;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::call::Call;
use crate::exit::Failure;
use crate::named_device::device_id;
use crate::remote::escaped;
use crate::say::say;
use crate::tail;
use crate::time_text::time;

/// Pause before the stream is opened again.
const REOPEN_AFTER: Duration = Duration::from_secs(1);

#[derive(Args)]
pub(super) struct BoardOptions {
    /// Device, by name or id
    device: String,
    /// Show each change, until it is interrupted
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    call: Call,
}

#[derive(Args)]
pub(super) struct PressOptions {
    /// Device, by name or id
    device: String,
    /// Button, as `device board` lists it
    button: String,
    /// Time after which the button is released, in milliseconds: 1 to 10000
    #[arg(long, value_name = "MS", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    hold: u64,
    #[command(flatten)]
    call: Call,
}

#[derive(Args)]
pub(super) struct SensorOptions {
    /// Device, by name or id
    device: String,
    /// Name of the value, as `device board` lists it
    name: String,
    /// New value, in the unit that `device board` shows
    #[arg(allow_negative_numbers = true)]
    value: f64,
    #[command(flatten)]
    call: Call,
}

pub(super) fn show(options: &BoardOptions) -> Result<(), Failure> {
    let api = options.call.api()?;
    let path = format!("/device/{}/board", escaped(&device_id(&api, &options.device)?));
    if !options.watch {
        let answer = api.get(&path)?;
        options.call.print(&answer, text)?;
        return live(&answer);
    }
    let path = format!("{path}/events");
    let mut body = api.stream(&path)?;
    loop {
        let last = RefCell::new(String::new());
        tail::read(BufReader::new(body), &mut |_, data| {
            options.call.print(data, |data| {
                let text = text(data);
                // Signs of life change nothing that is shown.
                if text == *last.borrow() {
                    return String::new();
                }
                last.replace(text.clone());
                text + "\n"
            })
        })?;
        say("lost the cloud; opening the stream again");
        body = loop {
            std::thread::sleep(REOPEN_AFTER);
            match api.stream(&path) {
                Ok(body) => break body,
                Err(Failure::Failed(_)) => {}
                Err(refused) => return Err(refused),
            }
        };
    }
}

pub(super) fn press(options: &PressOptions) -> Result<(), Failure> {
    let input = json!({"kind": "press", "button": options.button, "hold_ms": options.hold});
    touch(&options.call, &options.device, &input)
}

pub(super) fn sensor(options: &SensorOptions) -> Result<(), Failure> {
    let input = json!({"kind": "sensor", "name": options.name, "value": options.value});
    touch(&options.call, &options.device, &input)
}

fn touch(call: &Call, device: &str, input: &Value) -> Result<(), Failure> {
    let api = call.api()?;
    let path = format!("/device/{}/board/inputs", escaped(&device_id(&api, device)?));
    let answer = api.post(&path, &json!({"inputs": [input]}))?;
    call.print(&answer, text)
}

/// Returns an error unless the device sends the state of its board.
fn live(answer: &Value) -> Result<(), Failure> {
    if answer["state"] == "live" {
        return Ok(());
    }
    let reason = answer["reason"].as_str().unwrap_or("the board is not live");
    Err(Failure::Failed(anyhow::anyhow!("{reason}")))
}

/// Returns the lines for a board.
fn text(answer: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut out = word(&answer["state"]);
    if answer["state"] != "live" && !answer["at"].is_null() {
        write!(out, ", as of {}", time(&answer["at"])).expect("a string takes all");
    }
    out.push('\n');
    let list = |name: &str| answer["board"][name].as_array().cloned().unwrap_or_default();
    for pin in list("pins") {
        let level = if pin["high"] == true { "high" } else { "low" };
        let (label, fitting, direction) = (
            word(&pin["label"]),
            word(&pin["fitting"]),
            word(&pin["direction"]),
        );
        writeln!(out, "{label:14} {fitting:8} {direction:7} {level}").expect("a string takes all");
    }
    for output in list("pwm") {
        let percent = output["duty"].as_f64().unwrap_or_default() * 100.0;
        let label = word(&output["label"]);
        writeln!(out, "{label:14} pwm      {} Hz  {percent:.0} %", output["hertz"])
            .expect("a string takes all");
    }
    for sensor in list("sensors") {
        let (name, part, unit) = (
            word(&sensor["name"]),
            word(&sensor["part"]),
            word(&sensor["unit"]),
        );
        let value = sensor["value"].as_f64().unwrap_or_default();
        let value = (value * 100.0).round() / 100.0;
        writeln!(
            out,
            "{name:14} sensor   {value} {unit}  ({} to {}, {part})",
            sensor["min"], sensor["max"]
        )
        .expect("a string takes all");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_is_a_line_for_each_part() {
        let board = json!({
            "state": "silent", "reason": "It does not answer.", "at": {"$date": 0},
            "board": {
                "pins": [{"label": "led", "fitting": "led", "direction": "output", "high": true}],
                "pwm": [{"label": "fan", "hertz": 25000, "duty": 0.5}],
                "sensors": [{"name": "temperature", "part": "i2c sensors", "unit": "°C", "value": -7.504, "min": -40.0, "max": 85.0}],
            },
        });
        assert_eq!(
            text(&board),
            "silent, as of 1970-01-01T00:00:00.000Z\n\
             led            led      output  high\n\
             fan            pwm      25000 Hz  50 %\n\
             temperature    sensor   -7.5 °C  (-40.0 to 85.0, i2c sensors)\n"
        );
        assert!(live(&board).is_err());
        assert_eq!(
            text(&json!({"state": "away", "at": null, "board": null})),
            "away\n"
        );
    }
}
