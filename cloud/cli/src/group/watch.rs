//! The progress of a rollout, printed until it ends. Never changes the rollout.

use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;

use anyhow::{Context, anyhow};
use iottly_protocol::release::{Ending, UpdateState};
use serde_json::{Value, json};

use crate::exit::Failure;
use crate::progress::Progress;
use crate::remote::Api;

/// Time for which the cloud holds a request while there is no news, in seconds; shorter than proxies wait.
const HOLD_S: u64 = 20;
/// Pause between two requests to a cloud of release 0.1, which does not hold them.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Number of devices of a page.
const PAGE: usize = 1000;

/// Prints the reports of a rollout's devices until the rollout has ended.
///
/// # Errors
/// [`Failure::Failed`] when it was halted or cancelled.
pub(super) fn watch(api: &Api, rollout: &str, json: bool) -> Result<(), Failure> {
    // Number of printed steps of each device.
    let mut printed: HashMap<String, usize> = HashMap::new();
    let mut seen = String::new();
    let mut bar: Option<Progress> = None;
    loop {
        // The status first: then the devices' reports that led to it are complete.
        let mut news = api.get(&format!("/rollouts/{rollout}{seen}"))?;
        let state = news["rollout"].take();
        let devices = &devices_of(api, rollout)?;
        let bar = bar.get_or_insert_with(|| Progress::of_items("devices", devices.len()));
        for device in devices {
            let id = device["device"].as_str().unwrap_or_default();
            let seen = printed.entry(id.to_owned()).or_default();
            let steps = device["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
            for (at, step) in steps.iter().enumerate().skip(*seen) {
                let newest = (at + 1 == steps.len()).then_some(device);
                bar.beside(|| print(id, step, newest, json))?;
            }
            *seen = steps.len();
        }
        let (done, failed) = counts(devices);
        bar.set(
            done,
            &format!(
                "{}, {failed} failed",
                state["status"].as_str().unwrap_or_default()
            ),
        );
        match state["status"].as_str().unwrap_or_default() {
            status @ ("deployed" | "rolled_back") => {
                return Ok(bar.beside(|| line(&ended(status, &state, json)))?);
            }
            status @ ("halted" | "cancelled") => {
                if json {
                    bar.beside(|| line(&ended(status, &state, json)))?;
                }
                return Err(Failure::Failed(anyhow!("{}", why(status, &state))));
            }
            _ => match news["mark"].as_str() {
                Some(mark) => seen = format!("?seen={mark}&wait={HOLD_S}s"),
                None => std::thread::sleep(LOOK_EVERY),
            },
        }
    }
}

/// Returns all devices of a rollout, which the cloud lists in pages. A cloud of release 0.1 lists them at once.
fn devices_of(api: &Api, rollout: &str) -> Result<Vec<Value>, Failure> {
    let (mut devices, mut after) = (Vec::new(), String::new());
    loop {
        let mut page = api.get(&format!("/rollouts/{rollout}/devices?limit={PAGE}{after}"))?;
        if let Value::Array(more) = page["devices"].take() {
            devices.extend(more);
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return Ok(devices),
        }
    }
}

/// Returns the numbers of devices that have finished and that have failed.
fn counts(devices: &[Value]) -> (u64, u64) {
    let (mut done, mut failed) = (0, 0);
    for device in devices {
        match device["state"].as_str().and_then(UpdateState::named) {
            Some(UpdateState::Ended(Ending::Committed)) => done += 1,
            Some(UpdateState::Ended(_)) => (done, failed) = (done + 1, failed + 1),
            Some(UpdateState::Underway(_)) | None => {}
        }
    }
    (done, failed)
}

/// Prints a step; the newest one of a device with its reason.
fn print(id: &str, step: &Value, newest: Option<&Value>, json: bool) -> anyhow::Result<()> {
    let state = step["state"].as_str().unwrap_or_default();
    let more = |name: &str| {
        newest
            .filter(|device| device["state"] == state)
            .and_then(|device| device[name].as_str())
    };
    if json {
        let faults = newest.map(|device| &device["faults"]);
        let step = json!({"device": id, "state": state, "reason": more("reason"), "detail": more("detail"), "faults": faults});
        return line(&step.to_string());
    }
    let mut text = format!("{id} {state}");
    for name in ["reason", "detail"] {
        if let Some(more) = more(name) {
            text = format!("{text}: {more}");
        }
    }
    if let Some(faults) = newest
        .and_then(|device| device["faults"].as_u64())
        .filter(|faults| *faults > 0)
    {
        let last = newest
            .and_then(|device| device["fault"].as_str())
            .unwrap_or_default();
        text = format!("{text} (failures in its trial: {faults}, the last: {last})");
    }
    line(&text)
}

fn ended(status: &str, state: &Value, json: bool) -> String {
    if json {
        json!({"status": status, "evidence": state["evidence"], "reason": state["reason"]}).to_string()
    } else {
        status.to_owned()
    }
}

fn why(status: &str, state: &Value) -> String {
    if let Some(reason) = state["reason"].as_str() {
        return format!("{status}: {reason}");
    }
    let Some(detail) = state["evidence"]["detail"].as_str() else {
        return status.to_owned();
    };
    let mut text = format!("{status}: {detail}");
    for failure in state["evidence"]["failures"].as_array().into_iter().flatten() {
        let field = |name: &str| failure[name].as_str().unwrap_or_default();
        text = format!("{text}\n  {}: {}", field("device"), field("reason"));
    }
    text
}

fn line(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{text}").context("cannot write to standard output")
}
