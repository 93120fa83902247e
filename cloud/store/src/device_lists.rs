//! Lists of devices for projects with many of them: pages, counts, and the devices of a filter.

use std::cmp::Ordering;

use async_trait::async_trait;
use iottly_protocol::{DeviceId, GroupId, ProjectId};

use crate::error::Result;
use iottly_core::model::{Device, UnixMs};
use iottly_core::natural_order;

/// Place of a device in the order of lists: by name in [natural order](natural_order), then id.
#[derive(Debug, Clone, PartialEq, Eq)]
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

impl Ord for DevicePlace {
    fn cmp(&self, other: &Self) -> Ordering {
        natural_order::compare(&self.name, &other.name)
            .then_with(|| self.id.cmp(&other.id))
            .then_with(|| self.name.cmp(&other.name))
    }
}

impl PartialOrd for DevicePlace {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
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

/// Facts of devices that a reader of many needs; their ids, names and groups are always there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeviceNeeds {
    /// MAC address and version of the agent. Without it, both are none.
    pub board: bool,
    /// Tags. Without it, there are none.
    pub tags: bool,
    /// Connection, last proof and planned absence. Without it, a device is offline.
    pub presence: bool,
    /// Report of the firmware. Without it, `firmware` is none.
    pub firmware: bool,
    /// Kind of the login. Without it, `legacy` is false.
    pub legacy: bool,
    /// Pair code that the device has used. Without it, there is none.
    pub pair_code: bool,
    /// Version of the trusted root. Without it, there is none.
    pub root: bool,
}

impl DeviceNeeds {
    /// Everything.
    pub const ALL: Self = Self {
        board: true,
        tags: true,
        presence: true,
        firmware: true,
        legacy: true,
        pair_code: true,
        root: true,
    };
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

/// Number of devices of a group that report the same digest of their firmware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestCount {
    /// The group.
    pub group: GroupId,
    /// Digest of the firmware.
    pub digest: String,
    /// Number of the devices.
    pub total: u64,
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
    /// Returns all devices of a project in no useful order, without pair codes and without what is not needed.
    async fn devices_with(&self, project: ProjectId, needs: DeviceNeeds) -> Result<Vec<Device>>;
    /// Returns the numbers of devices of a project at `now`.
    async fn device_counts(&self, project: ProjectId, now: UnixMs) -> Result<DeviceCounts>;
    /// Returns the numbers of devices of each group of a project that has any.
    async fn group_counts(&self, project: ProjectId) -> Result<Vec<GroupCounts>>;
    /// Returns the number of devices of a group.
    async fn group_size(&self, project: ProjectId, group: GroupId) -> Result<u64>;
    /// Returns all devices of a project with their groups, by group, then id.
    async fn all_members(&self, project: ProjectId) -> Result<Vec<(GroupId, DeviceId)>>;
    /// Returns the ids of the first `limit` devices of a group behind an id, sorted.
    async fn group_members(
        &self,
        project: ProjectId,
        group: GroupId,
        after: Option<DeviceId>,
        limit: usize,
    ) -> Result<Vec<DeviceId>>;
    /// Returns the numbers of devices of a group that report each digest, of the `limit` most frequent ones. The digest is
    /// empty for devices that have reported none.
    async fn group_digests(
        &self,
        project: ProjectId,
        group: GroupId,
        limit: usize,
    ) -> Result<Vec<DigestCount>>;
    /// Returns the numbers of devices of each group that report one of some digests.
    async fn digest_counts(&self, project: ProjectId, digests: &[&str]) -> Result<Vec<DigestCount>>;
    /// Returns the ids of the first `limit` connected devices of a project, in no useful order.
    async fn connected_devices(&self, project: ProjectId, limit: usize) -> Result<Vec<DeviceId>>;
    /// Returns the `limit` devices of a project whose connection changed last, the latest first.
    async fn latest_devices(&self, project: ProjectId, limit: usize) -> Result<Vec<Device>>;
    /// Returns the first `limit` devices of a project whose firmware failed too often, by id.
    async fn quarantined_devices(&self, project: ProjectId, limit: usize) -> Result<Vec<Device>>;
    /// Returns the number of devices of a project up to a place, including the one at the place.
    async fn devices_until(&self, project: ProjectId, place: &DevicePlace) -> Result<usize>;
    /// Returns tags of the devices of a project, with repetitions, of at most `limit` different lists of tags.
    async fn device_tags(&self, project: ProjectId, limit: usize) -> Result<Vec<String>>;
    /// Returns the numbers of what needs a person.
    async fn attention(&self, project: ProjectId) -> Result<Attention>;
}
