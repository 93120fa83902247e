//! The pane of the test device: a developer lease runs the working copy, and what its devices send stands beside the code.

use std::collections::HashSet;

use iottly_core::model::{Device, Lease, UnixMs};
use iottly_store::DevicePlace;
use maud::{Markup, html};

use super::super::kit::empty::broken;
use super::super::kit::presence::presence;
use super::super::text;
use super::page::{Facts, Shown};
use crate::auth::ProjectAccess;
use crate::error::ApiError;

/// Maximum number of devices in the choice of a test device.
const MAX_CHOICE: usize = 50;

/// Open leases, and devices that can run the code.
pub(super) struct Bench {
    pub(super) leases: Vec<Lease>,
    /// Devices of the leases, and some that may become test devices.
    pub(super) devices: Vec<Device>,
}

impl Bench {
    /// Reads both.
    ///
    /// # Errors
    /// If the store fails.
    pub(super) async fn of(access: &ProjectAccess, now: UnixMs) -> Result<Self, ApiError> {
        let mut leases = access.services().store.leases(access.id()).await?;
        leases.retain(|lease| lease.is_open(now));
        let devices = devices(access, &leases).await?;
        Ok(Self { leases, devices })
    }
}

/// Returns the devices of some leases, and others for the choice of a test device: connected ones, and the first by name.
async fn devices(access: &ProjectAccess, leases: &[Lease]) -> Result<Vec<Device>, ApiError> {
    let (store, project) = (&access.services().store, access.id());
    let mut ids = store.connected_devices(project, MAX_CHOICE).await?;
    ids.extend(
        leases
            .iter()
            .flat_map(|lease| lease.devices.iter().map(|known| known.device)),
    );
    let mut devices = store.devices_with_ids(project, &ids).await?;
    let known: HashSet<_> = devices.iter().map(|device| device.scope.device).collect();
    let first = store.device_page(project, None, MAX_CHOICE).await?;
    devices.extend(
        first
            .into_iter()
            .filter(|device| !known.contains(&device.scope.device)),
    );
    devices.sort_by_cached_key(DevicePlace::of);
    Ok(devices)
}

/// Returns the pane.
pub(super) fn pane(facts: &Facts<'_>, shown: &Shown, here: &str) -> Markup {
    let bench = match &facts.bench {
        Ok(bench) => bench,
        Err(error) => {
            return html! { div.pane-head { "Test device" } (broken("The test devices could not be read", error.message())) };
        }
    };
    let wanted = shown.lease.as_deref();
    let lease = bench
        .leases
        .iter()
        .find(|lease| Some(lease.id.to_string().as_str()) == wanted)
        .or(bench.leases.first());
    html! {
        div.pane-head { "Test device" @if let Some(lease) = lease { (state(bench, lease, facts.now)) span.link data-link data-state="wait" role="status" { "not live" } } }
        @if facts.may_deploy && facts.may_write { (choice(bench, lease, here)) }
        @match lease {
            Some(lease) => (running(facts, lease, here)),
            None => div.empty {
                h3 { "No script runs on a test device" }
                p { "“Save and run” sends this code to one device for an hour, without a release. The device returns to its release by itself." }
            },
        }
    }
}

fn choice(bench: &Bench, lease: Option<&Lease>, here: &str) -> Markup {
    let leased = |device| lease.is_some_and(|lease| lease.devices.iter().any(|known| known.device == device));
    let mut devices: Vec<_> = bench.devices.iter().collect();
    devices.sort_by_key(|device| (!leased(device.scope.device), !device.online));
    html! {
        div.bench {
            div.field {
                label for="device" { "Device" }
                select #device name="device" {
                    @for device in devices.iter().take(MAX_CHOICE) {
                        option value=(device.scope.device) selected[leased(device.scope.device)] {
                            (device.name) @if !device.online { " (offline)" }
                        }
                    }
                }
            }
            button formaction={ (here) "/run" } data-key="run" disabled[devices.is_empty()] { "Save and run" }
        }
    }
}

fn state(bench: &Bench, lease: &Lease, now: UnixMs) -> Markup {
    let mut known = lease.devices.iter();
    let device = known.next().and_then(|known| {
        bench
            .devices
            .iter()
            .find(|device| device.scope.device == known.device)
    });
    html! {
        @if let Some(device) = device { span.break { (device.name) } (presence(device, now)) }
        @if lease.devices.len() > 1 { span.soft { "and " (lease.devices.len() - 1) " more" } }
        @if let Some(order) = &lease.order { span.end.mono.soft data-sha256=(order.sha256) { (order.sha256.get(..8).unwrap_or_default()) } }
    }
}

fn running(facts: &Facts<'_>, lease: &Lease, here: &str) -> Markup {
    html! {
        lease-feed data-src={ "/v1.0/project/" (facts.visitor.project.id()) "/leases/" (lease.id) "/events" } {
            p.soft.small.bench {
                "Until " (text::iso(lease.expires)) ", by " (lease.author) ". "
                span role="status" data-report {
                    @for known in &lease.devices {
                        @if let Some(report) = &known.report { (report.state.as_str()) @if let Some(detail) = &report.detail { ": " (detail) } " " }
                    }
                }
            }
            ol.stream aria-label="Live messages of the test device" {}
            p.soft.small.bench data-empty { "What the device sends and logs from now on appears here." }
        }
        @if facts.may_deploy {
            p.bench { button formaction={ (facts.visitor.base()) "/leases/" (lease.id) "/end" } formnovalidate name="back" value=(here) data-size="s" { "End the lease" } }
        }
    }
}
