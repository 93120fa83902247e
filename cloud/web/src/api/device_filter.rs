//! Devices selected by a filter: the short form, or the filter language of histories.

use std::collections::HashMap;
use std::sync::Arc;

use iottly_cloud::{PresenceService, Turn, clock};
use iottly_core::model::{Device, UnixMs};
use iottly_core::presence::Shown;
use iottly_core::series::Latest;
use iottly_core::short_form::{DEVICES, DeviceFacts, DeviceFields, device_document, device_filter};
use iottly_filter::{Budget, Filter, Undecided};
use iottly_protocol::{DeviceId, GroupId, ProjectId};
use iottly_store::{DeviceNeeds, Store};

use super::device_list::by_place;
use crate::auth::ProjectAccess;
use crate::error::ApiError;

/// Maximum number of steps for which a filter examines the devices of a project.
const MAX_STEPS: u64 = 20_000_000;
/// Bytes of latest values that are searched in one step.
const BYTES_A_STEP: u64 = 64;
/// Number of devices whose latest values are in memory at the same time.
const PART: usize = 4000;
/// Number of devices up to which only their own latest values are read.
const FEW: usize = 500;

/// A device with its place among others.
type Placed = (usize, Device);

/// A valid filter over the devices of a project.
pub(crate) struct DeviceFilter {
    /// The filter as JSON text of the filter language.
    pub(crate) json: String,
    filter: Filter,
    /// Fields that the filter looks at.
    fields: DeviceFields,
    groups: HashMap<GroupId, String>,
    presence: Arc<PresenceService>,
    store: Arc<dyn Store>,
    project: ProjectId,
    now: UnixMs,
    /// Turn of the project among all filters, held until the evaluation has ended.
    _turn: Turn<ProjectId>,
}

impl DeviceFilter {
    /// Reads a filter, and waits for the project's turn to evaluate it: before its devices are read.
    ///
    /// # Errors
    /// 400 with the reason when the text is no filter, 429 when too many filters of the project wait, 500 when the store
    /// fails.
    pub(crate) async fn of(access: &ProjectAccess, text: &str) -> Result<Self, ApiError> {
        let invalid = |reason: String| ApiError::invalid("invalid_filter", reason);
        let json = DEVICES
            .translate(text)
            .map_err(|error| invalid(error.to_string()))?;
        let filter = device_filter(&json).map_err(|error| invalid(error.to_string()))?;
        let groups = access.groups().await?.into_iter();
        Ok(Self {
            fields: DeviceFields::of(&filter),
            json,
            filter,
            groups: groups.map(|group| (group.id, group.name)).collect(),
            presence: Arc::clone(&access.services().presence),
            store: Arc::clone(&access.services().store),
            project: access.id(),
            now: clock::now(),
            _turn: access.services().history_reader.filter_turn(access.id()).await?,
        })
    }

    /// Returns the devices of the project that match, by name, then id, without pair codes and without what the filter does
    /// not look at.
    ///
    /// # Errors
    /// 400 when the filter needs too many steps for that many devices, 500 when the store fails.
    pub(crate) async fn matching(self, access: &ProjectAccess) -> Result<Vec<Device>, ApiError> {
        let mut selected = self.unsorted(access).await?;
        selected.sort_unstable_by(by_place);
        Ok(selected)
    }

    /// Returns the same devices without sorting them.
    ///
    /// # Errors
    /// As [`matching`](Self::matching).
    pub(super) async fn unsorted(self, access: &ProjectAccess) -> Result<Vec<Device>, ApiError> {
        let has = |name| self.fields.has(name);
        let needs = DeviceNeeds {
            board: has("mac") || has("agent"),
            tags: has("tags"),
            presence: self.fields.has_presence(),
            firmware: has("firmware") || has("digest"),
            legacy: has("legacy"),
            pair_code: false,
            root: has("root"),
        };
        let devices = access.services().store.devices_with(access.id(), needs).await?;
        self.select(devices).await
    }

    /// Returns those of some devices that match, in their order.
    ///
    /// # Errors
    /// 400 when the filter needs too many steps for that many devices, 500 when the store fails.
    pub(crate) async fn select(self, devices: Vec<Device>) -> Result<Vec<Device>, ApiError> {
        let mut placed: Vec<Placed> = devices.into_iter().enumerate().collect();
        let filter = Arc::new(self);
        if !filter.fields.has_values() {
            let (selected, _) = filter.evaluate(placed, HashMap::new(), MAX_STEPS).await?;
            return Ok(selected.into_iter().map(|(_, device)| device).collect());
        }
        // Latest values come by id, a part of the devices after the other: those of all would not fit into memory.
        placed.sort_unstable_by_key(|(_, device)| device.scope.device);
        let ids: Vec<_> = placed.iter().map(|(_, device)| device.scope.device).collect();
        let (mut left, mut after, mut steps) = (placed.into_iter().peekable(), None, MAX_STEPS);
        let mut selected = Vec::new();
        loop {
            let (latest, last) = filter.latest(&ids, after).await?;
            let mut part = Vec::new();
            while let Some(next) =
                left.next_if(|(_, device)| last.is_none_or(|last| device.scope.device <= last))
            {
                part.push(next);
            }
            let (found, rest) = filter.evaluate(part, latest, steps).await?;
            selected.extend(found);
            (after, steps) = (last, rest);
            if last.is_none() {
                break;
            }
        }
        selected.sort_unstable_by_key(|(place, _)| *place);
        Ok(selected.into_iter().map(|(_, device)| device).collect())
    }

    /// Returns the latest values of a part of the devices, and the last device of the part; none for the end.
    async fn latest(
        &self,
        ids: &[DeviceId],
        after: Option<DeviceId>,
    ) -> Result<(HashMap<DeviceId, Latest>, Option<DeviceId>), ApiError> {
        if ids.len() <= FEW {
            let found = self.store.latest_of(self.project, ids).await?;
            return Ok((found.into_iter().collect(), None));
        }
        let found = self.store.latest_after(self.project, after, PART).await?;
        let last = found
            .last()
            .map(|(device, _)| *device)
            .filter(|_| found.len() == PART);
        Ok((found.into_iter().collect(), last))
    }

    /// Returns those of some devices that match, and the steps that are left.
    async fn evaluate(
        self: &Arc<Self>,
        devices: Vec<Placed>,
        latest: HashMap<DeviceId, Latest>,
        steps: u64,
    ) -> Result<(Vec<Placed>, u64), ApiError> {
        // A caller that goes away does not end the evaluation, so it has the turn.
        let filter = Arc::clone(self);
        let selected = tokio::task::spawn_blocking(move || {
            let mut budget = Budget::steps(steps);
            let mut selected = Vec::new();
            for (place, device) in devices {
                let latest = latest.get(&device.scope.device);
                if filter.matches(&device, latest, &mut budget)? {
                    selected.push((place, device));
                }
            }
            Ok((selected, budget.left()))
        });
        let selected = selected.await.expect("evaluation does not panic");
        selected.map_err(|error: Undecided| {
            ApiError::invalid("invalid_filter", format!("the filter was stopped: {error}"))
        })
    }

    fn matches(
        &self,
        device: &Device,
        latest: Option<&Latest>,
        budget: &mut Budget<'_>,
    ) -> Result<bool, Undecided> {
        let presence = if self.fields.has_presence() {
            self.presence.view(device).shown
        } else {
            Shown::Online { since: None }
        };
        if let Some(latest) = latest {
            budget.charge(latest.as_str().len() as u64 / BYTES_A_STEP);
        }
        let facts = DeviceFacts {
            presence: &presence,
            group: self.groups.get(&device.group).map_or("", String::as_str),
            latest,
            now: self.now,
        };
        self.filter
            .matches(&device_document(device, facts, &self.fields), budget)
    }
}
