//! A session of `iottly dev`: what is done at a save, an event of a device, and the end. Runs on one thread.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Input;
use super::cloud::{Devices, Lease};
use super::line::{Line, Origin, Place};
use crate::build::{self, Project};
use crate::exit::Failure;
use crate::remote::Api;
use crate::say::say;

/// Longest wait for the devices to return to their release.
const GIVE_BACK: Duration = Duration::from_secs(3);
/// Length of a digest in lines, in hex digits.
const DIGEST: usize = 12;
/// Maximum number of saves whose time is kept for the line `running`.
const MAX_SAVES: usize = 64;

/// State of a session.
pub(super) struct Session {
    project: Project,
    api: Api,
    devices: Devices,
    lease: Lease,
    json: bool,
    /// Times at which saves were seen, by the digest of the code.
    saved: BTreeMap<String, Instant>,
    /// Digest of the code that was sent last.
    sent: String,
    /// Devices that run code of this session.
    developed: BTreeSet<String>,
    /// The session ends.
    ending: bool,
}

impl Session {
    pub(super) fn new(project: Project, api: Api, devices: Devices, lease: Lease, json: bool) -> Self {
        Self {
            project,
            api,
            devices,
            lease,
            json,
            saved: BTreeMap::new(),
            sent: String::new(),
            developed: BTreeSet::new(),
            ending: false,
        }
    }

    pub(super) fn api(&self) -> &Api {
        &self.api
    }

    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Runs until the user ends the session or the lease is over.
    ///
    /// # Errors
    /// The cloud refuses the session, or standard output is closed.
    pub(super) fn run(&mut self, inputs: &Receiver<Input>) -> Result<(), Failure> {
        let names: Vec<_> = self.devices.values().map(String::as_str).collect();
        say(&format!(
            "developing {} on {}; each save runs at once, Ctrl-C gives the devices their release back",
            self.project.name,
            names.join(", ")
        ));
        let result = self.serve(inputs);
        self.ending = true;
        self.give_back(inputs);
        result
    }

    fn serve(&mut self, inputs: &Receiver<Input>) -> Result<(), Failure> {
        for input in inputs {
            match input {
                Input::Saved(at) => self.saved(at)?,
                Input::Feed(kind, event) => self.event(&kind, &event)?,
                Input::FeedLost => {
                    self.check()?;
                    say("lost the connection to the cloud; connecting again");
                }
                Input::FeedBack => {
                    say("connected again; messages sent meanwhile are in the history");
                }
                Input::Refused(failure) => return Err(failure),
                Input::Stop => break,
            }
        }
        Ok(())
    }

    /// Returns an error if the lease has ended; a cloud that cannot be reached says nothing about it.
    fn check(&self) -> Result<(), Failure> {
        match self.lease.ending(&self.api) {
            Ok(Some(ending)) => Err(Failure::Failed(anyhow!("the lease has ended: {ending}"))),
            Ok(None) | Err(Failure::Failed(_)) => Ok(()),
            Err(refused) => Err(refused),
        }
    }

    /// Builds and sends the folder; after an error the devices keep what they run.
    fn saved(&mut self, at: Instant) -> Result<(), Failure> {
        let built = Project::open(&self.project.dir).and_then(|project| {
            let component = build::component(&project)?;
            self.project = project;
            Ok(component)
        });
        let component = match built {
            Ok(component) => component,
            Err(failure @ (Failure::Invalid(_) | Failure::NotFound(_))) => {
                let text = failure.to_string();
                return self.print(&Line::Error {
                    at: None,
                    place: Place::in_text(&text),
                    text,
                });
            }
            Err(other) => return Err(other),
        };
        let sha256: String = Sha256::digest(&component)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let digest = short(&sha256);
        if digest == self.sent {
            return Ok(());
        }
        while self.saved.len() >= MAX_SAVES {
            let oldest = self.saved.iter().min_by_key(|(_, at)| **at);
            let Some(oldest) = oldest.map(|(digest, _)| digest.clone()) else {
                break;
            };
            self.saved.remove(&oldest);
        }
        self.saved.insert(digest.clone(), at);
        match self.lease.run(&self.api, &component) {
            Ok(()) => {
                self.sent = digest;
                Ok(())
            }
            Err(Failure::Invalid(text)) => self.print(&Line::Error {
                at: None,
                place: Place::in_text(&text),
                text,
            }),
            Err(Failure::Failed(error)) => self.print(&Line::Error {
                at: None,
                place: None,
                text: format!("not sent: {error:#}; save again to repeat it"),
            }),
            Err(other) => Err(other),
        }
    }

    /// Prints an event of the live feed.
    fn event(&mut self, kind: &str, event: &Value) -> Result<(), Failure> {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        if kind == "lagged" {
            let skipped = event["count"].as_u64().unwrap_or_default();
            return self.print(&Line::Lagged { skipped });
        }
        let Some(at) = self.origin(event) else {
            return Ok(());
        };
        match kind {
            "message" if is_failure(event) => {
                let process = &event["payload"]["process"];
                let error = process["status"]["error"].as_str().unwrap_or_default();
                let description = process["description"].as_str().unwrap_or_default();
                let text = if description.is_empty() {
                    error.to_owned()
                } else {
                    format!("{error}: {description}")
                };
                self.print(&Line::Error {
                    place: Place::in_text(&text),
                    at: Some(at),
                    text,
                })
            }
            "message" => self.print(&Line::Message {
                at,
                payload: event["payload"].clone(),
            }),
            "log" => self.print(&Line::Log {
                at,
                level: text("level"),
                text: text("text"),
            }),
            "report" if self.lease.is(event) => self.report(at, event),
            _ => Ok(()),
        }
    }

    /// Prints a device's answer to an order.
    fn report(&mut self, at: Origin, event: &Value) -> Result<(), Failure> {
        let detail = || {
            let text = |name: &str| event[name].as_str().filter(|text| !text.is_empty());
            match (text("reason"), text("detail")) {
                (Some(reason), Some(detail)) => format!("{reason}: {detail}"),
                (one, other) => one.or(other).unwrap_or("no reason given").to_owned(),
            }
        };
        let at = Origin {
            digest: event["sha256"]
                .as_str()
                .filter(|sha256| !sha256.is_empty())
                .map(short),
            ..at
        };
        match event["state"].as_str().unwrap_or_default() {
            "running" => {
                self.developed.insert(at.device.clone());
                let digest = at.digest.clone().unwrap_or_default();
                let seen = self.saved.get(&digest).map(Instant::elapsed);
                let ms = seen.map(|seen| u64::try_from(seen.as_millis()).unwrap_or(u64::MAX));
                self.print(&Line::Running {
                    at,
                    ms: ms.or(event["ms"].as_u64()).unwrap_or_default(),
                })
            }
            "failed" | "refused" => {
                let number = |name: &str| event[name].as_u64().unwrap_or_default();
                let place = event["file"].as_str().map(|file| Place {
                    file: file.to_owned(),
                    line: number("line"),
                    column: number("column"),
                });
                // The same code may be saved again to try once more.
                self.sent.clear();
                self.print(&Line::Error {
                    at: Some(at),
                    place,
                    text: detail(),
                })
            }
            "ended" => {
                self.developed.remove(&at.device);
                self.sent.clear();
                // The digest in the report is the release's, which has a word of its own in lines.
                let at = Origin { digest: None, ..at };
                self.print(&Line::Ended { at, text: detail() })?;
                if self.ending { Ok(()) } else { self.check() }
            }
            _ => Ok(()),
        }
    }

    fn origin(&self, event: &Value) -> Option<Origin> {
        let device = event["device"].as_str()?;
        Some(Origin {
            name: self.devices.get(device)?.clone(),
            device: device.to_owned(),
            digest: event["firmware"].as_str().map(short),
        })
    }

    /// Ends the lease and waits a little until all devices run their release.
    pub(super) fn give_back(&mut self, inputs: &Receiver<Input>) {
        if let Err(failure) = self.lease.end(&self.api) {
            say(&format!(
                "the lease is not ended, the devices return to their release when its time is over: {failure}"
            ));
            return;
        }
        let until = Instant::now() + GIVE_BACK;
        while !self.developed.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            match inputs.recv_timeout(left) {
                Ok(Input::Feed(kind, event)) => {
                    if self.event(&kind, &event).is_err() {
                        return;
                    }
                }
                Ok(_) => {}
                Err(_) => {
                    say(
                        "the lease is ended; devices that are offline return to their release when they hear of it",
                    );
                    return;
                }
            }
        }
    }

    fn print(&self, line: &Line) -> Result<(), Failure> {
        let text = if self.json { line.json() } else { line.text() };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{text}")
            .and_then(|()| out.flush())
            .context("cannot write to standard output")
            .map_err(Failure::Failed)
    }
}

/// Returns true for the agent's message about a failed call of the firmware.
fn is_failure(event: &Value) -> bool {
    event["type"] == "iottlyagent" && event["payload"]["process"]["status"]["error"].is_string()
}

fn short(sha256: &str) -> String {
    sha256.chars().take(DIGEST).collect()
}
