//! The calls of `iottly dev` to the cloud: devices, the lease, and the live feed. Prints nothing.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use anyhow::anyhow;
use iottly_web::answers::{AllProps, LeaseList, OneLease, Props};
use serde_json::{Value, json};

use super::Input;
use crate::answer;
use crate::exit::Failure;
use crate::named_device;
use crate::remote::Api;

/// Longest line of the feed, in bytes: a message with the fields around it.
const MAX_LINE: u64 = 4 << 20;
/// Number of devices that are listed when one has to be chosen.
const SHOWN: usize = 20;
/// Pause before the feed is opened again.
const REOPEN_AFTER: Duration = Duration::from_millis(500);

/// Devices by id, with their names.
pub(super) type Devices = BTreeMap<String, String>;

/// Returns the devices that are asked for by id or name; without any, the only device of the project.
///
/// # Errors
/// [`Failure::NotFound`] for a name that no device has, [`Failure::Invalid`] when one has to be chosen.
pub(super) fn choose(api: &Api, wanted: &[String]) -> Result<Devices, Failure> {
    let entry = |device: Props| (device.id.to_string(), device.name);
    if !wanted.is_empty() {
        let found = wanted.iter().map(|wanted| named_device::device(api, wanted));
        return found.map(|device| device.map(entry)).collect();
    }
    let found: AllProps = answer::read(&api.get(&format!("/devices/props?limit={SHOWN}"))?)?;
    let mut devices: Vec<_> = found.devices.into_iter().map(entry).collect();
    match &devices[..] {
        [] => Err(Failure::NotFound(
            "the project has no device; `iottly device enroll` creates one".to_owned(),
        )),
        [_] => Ok(devices.drain(..).collect()),
        many => {
            let mut names: Vec<_> = many.iter().map(|(id, name)| format!("  {name}  {id}")).collect();
            if found.next.is_some() {
                names.push("  … and others, which `iottly device list` shows".to_owned());
            }
            Err(Failure::Invalid(format!(
                "name the devices to develop on; the project has\n{}",
                names.join("\n")
            )))
        }
    }
}

/// Developer lease in the cloud.
pub(super) struct Lease {
    id: String,
}

impl Lease {
    /// Opens a lease.
    ///
    /// # Errors
    /// The cloud's refusal.
    pub(super) fn open(
        api: &Api,
        devices: &Devices,
        hours: u8,
        approve: &[String],
        take: bool,
    ) -> Result<Self, Failure> {
        Self::clear(api, devices, take)?;
        let devices: Vec<_> = devices.keys().collect();
        let body = json!({"devices": devices, "hours": hours, "approve": approve});
        let OneLease { lease, .. } = answer::read(&api.post("/leases", &body)?)?;
        Ok(Self {
            id: lease.id.to_string(),
        })
    }

    /// Ends other open leases on the devices, which allow no second one.
    ///
    /// # Errors
    /// [`Failure::Invalid`] if there is one and it is not to be taken.
    fn clear(api: &Api, devices: &Devices, take: bool) -> Result<(), Failure> {
        let LeaseList { leases, .. } = answer::read(&api.get("/leases")?)?;
        for lease in leases {
            let (id, author) = (lease.id, &lease.author);
            let mut of_lease = lease.devices.iter();
            let shared = of_lease.find_map(|known| devices.get(&known.device.to_string()));
            let Some(name) = shared.filter(|_| lease.state == "open") else {
                continue;
            };
            if !take {
                return Err(Failure::Invalid(format!(
                    "device {name} is under the developer lease {id} of {author:?}; `--take` ends it first"
                )));
            }
            api.delete(&format!("/leases/{id}"))?;
        }
        Ok(())
    }

    /// Returns how the lease has ended; `None` while it is open.
    ///
    /// # Errors
    /// The cloud cannot be reached or does not know the lease any more.
    pub(super) fn ending(&self, api: &Api) -> Result<Option<String>, Failure> {
        let OneLease { lease, .. } = answer::read(&api.get(&format!("/leases/{}", self.id))?)?;
        Ok((lease.state != "open").then(|| lease.state.into_owned()))
    }

    /// Returns true if an event of the feed is about this lease, or names none.
    pub(super) fn is(&self, event: &Value) -> bool {
        event["lease"].as_str().is_none_or(|lease| lease == self.id)
    }

    /// Sends code to the devices.
    ///
    /// # Errors
    /// The cloud's refusal.
    pub(super) fn run(&self, api: &Api, component: &[u8]) -> Result<(), Failure> {
        let path = format!("/leases/{}/script", self.id);
        api.put(&path, "application/wasm", component).map(drop)
    }

    /// Ends the lease.
    ///
    /// # Errors
    /// The cloud's refusal.
    pub(super) fn end(&self, api: &Api) -> Result<(), Failure> {
        api.delete(&format!("/leases/{}", self.id)).map(drop)
    }
}

/// Live feed of the devices, read in a thread that opens it again when it ends.
pub(super) struct Feed;

impl Feed {
    /// Opens the feed, so that what the devices do from now on is in it, then reads it in a thread.
    ///
    /// # Errors
    /// The cloud refuses the feed or cannot be reached.
    pub(super) fn open(api: &Api, lease: &Lease, inputs: SyncSender<Input>) -> Result<(), Failure> {
        let path = format!("/leases/{}/events", lease.id);
        let first = api.stream(&path)?;
        let api = api.clone();
        let read = move || {
            let mut body = Some(first);
            loop {
                if let Some(body) = body.take() {
                    let lost = read(BufReader::new(body), &inputs);
                    if lost.is_none() || inputs.send(Input::FeedLost).is_err() {
                        return;
                    }
                }
                thread::sleep(REOPEN_AFTER);
                match api.stream(&path) {
                    Ok(again) => {
                        body = Some(again);
                        if inputs.send(Input::FeedBack).is_err() {
                            return;
                        }
                    }
                    Err(Failure::Failed(_)) => {}
                    Err(refused) => {
                        // The receiver ends with the program.
                        let _ = inputs.send(Input::Refused(refused));
                        return;
                    }
                }
            }
        };
        let thread = thread::Builder::new().name("feed".to_owned());
        thread
            .spawn(read)
            .map_err(|error| Failure::Failed(anyhow!("cannot start a thread: {error}")))?;
        Ok(())
    }
}

/// Reads server-sent events until the stream ends; `None` when the receiver is gone.
fn read(mut body: impl BufRead, inputs: &SyncSender<Input>) -> Option<()> {
    let (mut kind, mut data, mut line) = (String::new(), String::new(), Vec::new());
    loop {
        line.clear();
        let count = std::io::Read::take(&mut body, MAX_LINE).read_until(b'\n', &mut line);
        if !matches!(count, Ok(count) if count > 0) {
            return Some(());
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\n', '\r']);
        if let Some(value) = text.strip_prefix("event:") {
            value.trim_start().clone_into(&mut kind);
        } else if let Some(value) = text.strip_prefix("data:") {
            data.push_str(value.trim_start());
            if data.len() as u64 > MAX_LINE {
                return Some(());
            }
        } else if text.is_empty() && !data.is_empty() {
            if let Ok(value) = serde_json::from_str::<Value>(&data) {
                inputs.send(Input::Feed(std::mem::take(&mut kind), value)).ok()?;
            }
            (kind, data) = (String::new(), String::new());
        }
    }
}
