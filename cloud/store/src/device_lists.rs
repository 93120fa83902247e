//! Lists of devices for projects with many of them: pages, counts, and the devices of a filter.

use async_trait::async_trait;
use iottly_protocol::{DeviceId, GroupId, ProjectId};

use crate::error::Result;
use iottly_core::model::{Device, Group, UnixMs};

/// Place of a device in the order of lists: by name, then id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DevicePlace {
    /// Name of the device.
    pub name: String,
    /// Id of the device.
    pub id: DeviceId,
}

impl DevicePlace {
    /// Returns the place of a device.
    #[must_use]
    pub fn of(device: &Device) -> Self {
        Self {
            name: device.name.clone(),
            id: device.scope.device,
        }
    }
}

/// Numbers of devices of a project, as they are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeviceCounts {
    /// All devices.
    pub total: usize,
    /// Connected ones.
    pub online: usize,
    /// Ones that are not connected, as planned.
    pub absent: usize,
    /// Ones whose firmware failed too often.
    pub quarantined: usize,
    /// Ones that log in with a secret that does not expire.
    pub legacy: usize,
}

/// Facts of devices that are costly to read; the others are always there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceNeeds {
    /// Report of the firmware. Without it, `firmware` is empty.
    pub firmware: bool,
    /// Kind of the login. Without it, `legacy` is false.
    pub legacy: bool,
}

/// Numbers of devices of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupCounts {
    /// The group.
    pub group: GroupId,
    /// All devices.
    pub total: usize,
    /// Connected ones.
    pub online: usize,
}

/// Numbers of what needs a person in a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attention {
    /// Enabled webhooks whose deliveries fail.
    pub failing_webhooks: usize,
    /// Raised alerts.
    pub raised_alerts: usize,
}

/// Store operations for lists of devices.
#[async_trait]
pub trait DeviceListStore: Send + Sync + 'static {
    /// Returns the first `limit` devices of a project behind a place, by name, then id.
    async fn device_page(
        &self,
        project: ProjectId,
        after: Option<&DevicePlace>,
        limit: usize,
    ) -> Result<Vec<Device>>;
    /// Returns those of the given devices that the project has, by name, then id.
    async fn devices_with_ids(&self, project: ProjectId, ids: &[DeviceId]) -> Result<Vec<Device>>;
    /// Returns all devices of a project for a filter, by name, then id: without pair codes, and without what is not needed.
    async fn devices_for_filter(&self, project: ProjectId, needs: DeviceNeeds) -> Result<Vec<Device>>;
    /// Returns the numbers of devices of a project at `now`.
    async fn device_counts(&self, project: ProjectId, now: UnixMs) -> Result<DeviceCounts>;
    /// Returns the groups of a project without their devices; `_orphaned` first, then by name.
    async fn groups_alone(&self, project: ProjectId) -> Result<Vec<Group>>;
    /// Returns the numbers of devices of each group of a project that has any.
    async fn group_counts(&self, project: ProjectId) -> Result<Vec<GroupCounts>>;
    /// Returns the first `limit` devices of a project whose firmware failed too often, by id.
    async fn quarantined_devices(&self, project: ProjectId, limit: usize) -> Result<Vec<Device>>;
    /// Returns the number of devices of a project up to a place, including the one at the place.
    async fn devices_until(&self, project: ProjectId, place: &DevicePlace) -> Result<usize>;
    /// Returns the numbers of what needs a person.
    async fn attention(&self, project: ProjectId) -> Result<Attention>;
}
