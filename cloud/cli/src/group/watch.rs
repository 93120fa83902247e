//! The progress of a rollout, printed until it ends. Never changes the rollout.

use std::collections::HashMap;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use iottly_protocol::DeviceId;
use iottly_protocol::release::{Ending, Reason, UpdateState};
use iottly_web::answers::{OneRollout, RolloutDeviceDto, RolloutDevices, RolloutDto};
use serde_json::{Value, json};

use crate::answer::read;
use crate::exit::Failure;
use crate::interrupt::Following;
use crate::progress::Progress;
use crate::remote::Api;

/// Time for which the cloud holds a request while there is no news; shorter than proxies wait.
const HOLD: Duration = Duration::from_secs(20);

/// Number of devices of a page.
const PAGE: usize = 1000;

/// Prints the reports of the devices of a group's rollout until the rollout has ended.
///
/// # Errors
/// [`Failure::Devices`] when devices of it failed, [`Failure::Failed`] when it was halted or cancelled otherwise, and
/// [`Failure::Timeout`] when it has not ended by the deadline.
pub(super) fn watch(
    api: &Api,
    (group, rollout): (&str, &str),
    json: bool,
    deadline: Option<Instant>,
) -> Result<(), Failure> {
    // Number of printed steps of each device.
    let mut printed: HashMap<DeviceId, usize> = HashMap::new();
    let mut seen = String::new();
    let _following = Following::start(format!(
        "the rollout continues in the cloud: `iottly group watch {}` follows it again, `iottly rollout show {rollout}` shows \
         how far it is",
        quoted(group)
    ));
    let mut bar: Option<Progress> = None;
    loop {
        // The status first: then the devices' reports that led to it are complete.
        let OneRollout {
            rollout: state, mark, ..
        } = read(&api.get(&format!("/rollouts/{rollout}{seen}"))?)?;
        let devices = devices_of(api, rollout)?;
        let bar = bar.get_or_insert_with(|| Progress::of_items("devices", devices.len()));
        for device in &devices {
            let seen = printed.entry(device.device).or_default();
            for (number, step) in device.steps.iter().enumerate().skip(*seen) {
                let newest = (number + 1 == device.steps.len()).then_some(device);
                bar.beside(|| print(device.device, &step.state, newest, json))?;
            }
            *seen = device.steps.len();
        }
        let (done, failed) = counts(&devices);
        bar.set(done, &format!("{}, {failed} failed", state.status));
        match &*state.status {
            status @ ("deployed" | "rolled_back") => {
                bar.beside(|| line(&ended(status, &state, json)))?;
                return match failed {
                    0 => Ok(()),
                    _ => Err(Failure::Devices(format!(
                        "{status}, but {failed} of {} devices failed",
                        devices.len()
                    ))),
                };
            }
            status @ ("halted" | "cancelled") => {
                if json {
                    bar.beside(|| line(&ended(status, &state, json)))?;
                }
                let why = why(status, &state);
                return Err(match failed {
                    0 => Failure::Failed(anyhow!("{why}")),
                    _ => Failure::Devices(why),
                });
            }
            status => {
                let hold = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                    Some(left) if left.is_zero() => {
                        return Err(Failure::Timeout(format!(
                            "the rollout has not ended in time: it is {status}, {done} of {} devices are done; it continues",
                            devices.len()
                        )));
                    }
                    Some(left) => left.min(HOLD),
                    None => HOLD,
                };
                seen = format!("?seen={mark}&wait={}ms", hold.as_millis().max(1));
            }
        }
    }
}

/// Returns all devices of a rollout, which the cloud lists in pages. A cloud of release 0.1 lists them at once.
fn devices_of(api: &Api, rollout: &str) -> Result<Vec<RolloutDeviceDto>, Failure> {
    let (mut devices, mut after) = (Vec::new(), String::new());
    loop {
        let page: RolloutDevices =
            read(&api.get(&format!("/rollouts/{rollout}/devices?limit={PAGE}{after}"))?)?;
        devices.extend(page.devices);
        match page.next {
            Some(next) => after = format!("&after={next}"),
            None => return Ok(devices),
        }
    }
}

/// Returns the numbers of devices that have finished and that have failed.
fn counts(devices: &[RolloutDeviceDto]) -> (u64, u64) {
    let (mut done, mut failed) = (0, 0);
    for device in devices {
        match UpdateState::named(&device.state) {
            Some(UpdateState::Ended(Ending::Committed)) => done += 1,
            Some(UpdateState::Ended(_)) => (done, failed) = (done + 1, failed + 1),
            Some(UpdateState::Underway(_)) | None => {}
        }
    }
    (done, failed)
}

/// Prints a step; the newest one of a device with its reason.
fn print(id: DeviceId, state: &str, newest: Option<&RolloutDeviceDto>, json: bool) -> anyhow::Result<()> {
    let now = newest.filter(|device| device.state == state);
    let reason = now.and_then(|device| device.reason).map(Reason::as_str);
    let detail = now.and_then(|device| device.detail.as_deref());
    if json {
        let faults = newest.map(|device| device.faults);
        let step =
            json!({"device": id, "state": state, "reason": reason, "detail": detail, "faults": faults});
        return line(&step.to_string());
    }
    let mut text = format!("{id} {state}");
    for more in [reason, detail].into_iter().flatten() {
        text = format!("{text}: {more}");
    }
    if let Some(device) = newest.filter(|device| device.faults > 0) {
        let last = device.fault.as_deref().unwrap_or_default();
        text = format!(
            "{text} (failures in its trial: {}, the last: {last})",
            device.faults
        );
    }
    line(&text)
}

/// Returns a name as a word of a command line.
fn quoted(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !name.is_empty() && name.bytes().all(is_plain) {
        return name.to_owned();
    }
    format!("'{}'", name.replace('\'', "'\\''"))
}

fn ended(status: &str, state: &RolloutDto, json: bool) -> String {
    if json {
        json!({"status": status, "evidence": state.evidence, "reason": state.reason}).to_string()
    } else {
        status.to_owned()
    }
}

fn why(status: &str, state: &RolloutDto) -> String {
    if let Some(reason) = &state.reason {
        return format!("{status}: {reason}");
    }
    let evidence = state.evidence.as_ref().unwrap_or(&Value::Null);
    let Some(detail) = evidence["detail"].as_str() else {
        return status.to_owned();
    };
    let mut text = format!("{status}: {detail}");
    for failure in evidence["failures"].as_array().into_iter().flatten() {
        let field = |name: &str| failure[name].as_str().unwrap_or_default();
        text = format!("{text}\n  {}: {}", field("device"), field("reason"));
    }
    text
}

fn line(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{text}").context("cannot write to standard output")
}
