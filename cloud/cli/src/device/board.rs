//! `iottly device board|press|sensor`: shows a virtual board, presses its buttons and sets what its sensors measure.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::BufReader;

use clap::Args;
use iottly_web::answers::BoardDto;
use serde_json::{Value, json};

use crate::answer::read;
use crate::call::Call;
use crate::exit::Failure;
use crate::named_device::device_id;
use crate::remote::escaped;
use crate::say::say;
use crate::table::plain;
use crate::tail;
use crate::time_text::at;

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
        options.call.print_as(&answer, text)?;
        return live(&read(&answer)?);
    }
    let path = format!("{path}/events");
    let mut body = api.stream(&path)?;
    loop {
        let last = RefCell::new(String::new());
        let lost = tail::read(BufReader::new(body), &mut |_, data| {
            let text = text(&read(data)?);
            options.call.print(data, |_| {
                // Signs of life change nothing that is shown.
                if text == *last.borrow() {
                    return String::new();
                }
                last.replace(text.clone());
                format!("{text}\n")
            })
        })?;
        say(&format!("{lost}; opening the stream again"));
        body = tail::reopen(&api, &path)?;
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
    call.print_as(&answer, text)
}

/// Returns an error unless the device sends the state of its board.
fn live(answer: &BoardDto) -> Result<(), Failure> {
    if answer.state == "live" {
        return Ok(());
    }
    Err(Failure::Failed(anyhow::anyhow!("{}", answer.reason)))
}

/// Returns the lines for a board.
fn text(answer: &BoardDto) -> String {
    let mut out = answer.state.to_string();
    if let Some(time) = answer.at.filter(|_| answer.state != "live") {
        write!(out, ", as of {}", at(time)).expect("a string takes all");
    }
    out.push('\n');
    let Some(board) = &answer.board else {
        return out;
    };
    for pin in &board.pins {
        let level = if pin.high { "high" } else { "low" };
        let (fitting, direction) = (&pin.fitting, &pin.direction);
        writeln!(out, "{:14} {fitting:8} {direction:7} {level}", plain(&pin.label))
            .expect("a string takes all");
    }
    for output in &board.pwm {
        let percent = output.duty * 100.0;
        writeln!(
            out,
            "{:14} pwm      {} Hz  {percent:.0} %",
            plain(&output.label),
            output.hertz
        )
        .expect("a string takes all");
    }
    for sensor in &board.sensors {
        let value = (sensor.value * 100.0).round() / 100.0;
        writeln!(
            out,
            "{:14} sensor   {value} {}  ({:?} to {:?}, {})",
            plain(&sensor.name),
            plain(&sensor.unit),
            sensor.min,
            sensor.max,
            plain(&sensor.part)
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
        let board = read(&json!({
            "status": 200, "state": "silent", "reason": "It does not answer.", "at": {"$date": 0},
            "board": {
                "header": [],
                "pins": [{"label": "led", "fitting": "led", "direction": "output", "high": true}],
                "pwm": [{"label": "fan", "hertz": 25000, "duty": 0.5}],
                "sensors": [{"name": "temperature", "part": "i2c sensors", "unit": "°C", "value": -7.504, "min": -40.0, "max": 85.0}],
            },
        }))
        .expect("a board");
        assert_eq!(
            text(&board),
            "silent, as of 1970-01-01T00:00:00.000Z\n\
             led            led      output  high\n\
             fan            pwm      25000 Hz  50 %\n\
             temperature    sensor   -7.5 °C  (-40.0 to 85.0, i2c sensors)\n"
        );
        assert!(live(&board).is_err());
        assert_eq!(
            text(
                &read(&json!({"status": 200, "state": "away", "reason": "", "at": null, "board": null}))
                    .expect("a board")
            ),
            "away\n"
        );
    }
}
