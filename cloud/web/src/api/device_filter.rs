//! Devices selected by a filter: the short form, or the filter language of histories.

use std::collections::HashMap;
use std::sync::Arc;

use iottly_cloud::{PresenceService, Turn, clock};
use iottly_core::model::{Device, UnixMs};
use iottly_core::presence::Shown;
use iottly_core::short_form::{DEVICES, DeviceFacts, DeviceFields, device_document, device_filter};
use iottly_filter::{Budget, Filter, Undecided};
use iottly_protocol::{GroupId, ProjectId};
use iottly_store::DeviceNeeds;

use super::device_list::by_place;
use crate::auth::ProjectAccess;
use crate::error::ApiError;

/// Maximum number of steps for which a filter examines the devices of a project.
const MAX_STEPS: u64 = 20_000_000;

/// A valid filter over the devices of a project.
pub(crate) struct DeviceFilter {
    /// The filter as JSON text of the filter language.
    pub(crate) json: String,
    filter: Filter,
    /// Fields that the filter looks at.
    fields: DeviceFields,
    groups: HashMap<GroupId, String>,
    presence: Arc<PresenceService>,
    now: UnixMs,
    /// Turn of the project among all filters, held until the evaluation has ended.
    turn: Turn<ProjectId>,
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
            fields: DeviceFields::of(&json),
            json,
            filter,
            groups: groups.map(|group| (group.id, group.name)).collect(),
            presence: Arc::clone(&access.services().presence),
            now: clock::now(),
            turn: access.services().history_reader.filter_turn(access.id()).await?,
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
    /// 400 when the filter needs too many steps for that many devices.
    pub(crate) async fn select(self, devices: Vec<Device>) -> Result<Vec<Device>, ApiError> {
        let selected = tokio::task::spawn_blocking(move || {
            let mut budget = Budget::steps(MAX_STEPS);
            let mut selected = Vec::new();
            for device in devices {
                if self.matches(&device, &mut budget)? {
                    selected.push(device);
                }
            }
            // A caller that goes away does not end the evaluation, so it has the turn.
            drop(self.turn);
            Ok(selected)
        });
        let selected = selected.await.expect("evaluation does not panic");
        selected.map_err(|error: Undecided| {
            ApiError::invalid("invalid_filter", format!("the filter was stopped: {error}"))
        })
    }

    fn matches(&self, device: &Device, budget: &mut Budget<'_>) -> Result<bool, Undecided> {
        let presence = if self.fields.has_presence() {
            self.presence.view(device).shown
        } else {
            Shown::Online { since: None }
        };
        let facts = DeviceFacts {
            presence: &presence,
            group: self.groups.get(&device.group).map_or("", String::as_str),
            now: self.now,
        };
        self.filter
            .matches(&device_document(device, facts, &self.fields), budget)
    }
}
