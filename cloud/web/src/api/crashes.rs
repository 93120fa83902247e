//! Endpoint for failures of firmware in a project, grouped by release and place. Reads a bounded part of the histories.

use std::collections::BTreeMap;

use iottly_cloud::clock;
use iottly_core::model::UnixMs;
use iottly_protocol::{DeviceId, MessageKind};
use iottly_store::PageQuery;
use serde::Deserialize;

use super::Answer;
use super::dto::{CrashDevice, CrashDto, CrashList, OK};
use super::spaced::Spaced;
use crate::auth::ProjectAccess;

/// Maximum number of devices whose histories are read.
const DEVICES: usize = 100;
/// Number of the newest reports of the agent that are read of each device.
const ENTRIES: usize = 50;
/// Maximum number of groups of a response.
const GROUPS: usize = 50;

/// Release, function and error of a failure; an empty release for a failure that the firmware has survived.
type Place = (String, String, String);

#[derive(Default)]
struct Failures {
    count: u64,
    /// Ids and names of the devices.
    devices: BTreeMap<DeviceId, String>,
    last: UnixMs,
    description: String,
}

#[derive(Deserialize)]
struct Entry {
    process: Process,
}

#[derive(Deserialize)]
struct Process {
    status: Status,
    #[serde(default)]
    function: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    firmware: String,
}

#[derive(Deserialize)]
struct Status {
    error: String,
}

/// Lists failures of firmware by release and place, the latest first: the 50 latest places, in the newest 50 reports of the
/// 100 devices that changed last.
#[utoipa::path(
    get,
    path = "/crashes",
    tag = "devices",
    responses((status = 200, description = "The failures", body = CrashList))
)]
pub(crate) async fn crashes(access: ProjectAccess) -> Answer<CrashList> {
    let store = &access.services().store;
    // Those that were there last say most.
    let devices = store.latest_devices(access.id(), DEVICES).await?;
    let devices_total = if devices.len() < DEVICES {
        devices.len()
    } else {
        store.device_counts(access.id(), clock::now()).await?.total
    };
    let query = PageQuery {
        kind: Some(MessageKind::IottlyAgent),
        limit: ENTRIES,
        ..PageQuery::default()
    };
    let mut places: BTreeMap<Place, Failures> = BTreeMap::new();
    for device in &devices {
        for message in store.page(device.scope, &query).await? {
            // What the cloud itself wrote is no report of an agent.
            if message.origin.is_none() {
                continue;
            }
            let Ok(Entry { process }) = serde_json::from_str::<Entry>(message.payload.get()) else {
                continue;
            };
            let place = (process.firmware, process.function, process.status.error);
            let known = places.entry(place).or_default();
            known.count += 1;
            known.devices.insert(device.scope.device, device.name.clone());
            if message.timestamp >= known.last {
                (known.last, known.description) = (message.timestamp, process.description);
            }
        }
    }
    let mut places: Vec<_> = places.into_iter().collect();
    places.sort_by_key(|(_, failures)| std::cmp::Reverse(failures.last));
    places.truncate(GROUPS);
    Ok(Spaced(CrashList {
        crashes: places.into_iter().map(shown).collect(),
        devices_read: devices.len(),
        devices_total,
        reports_of_each: ENTRIES,
        status: OK,
    }))
}

fn shown(((firmware, function, error), failures): (Place, Failures)) -> CrashDto {
    let devices = failures.devices.into_iter();
    CrashDto {
        firmware: Some(firmware).filter(|digest| !digest.is_empty()),
        function,
        error,
        description: failures.description,
        count: failures.count,
        devices: devices
            .map(|(device, name)| CrashDevice { device, name })
            .collect(),
        last: failures.last.into(),
    }
}
