//! JSON types for deployment groups.

use iottly_protocol::DeviceId;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{FilterBody, GroupDto};
use crate::api::device_search::DeviceSearch;

/// Deployment groups of a project.
#[derive(Serialize, ToSchema)]
pub(crate) struct GroupList {
    /// Groups, `_orphaned` first.
    pub(crate) deployment_groups: Vec<GroupDto>,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}

/// Deployment group.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct OneGroup {
    /// The group.
    pub deployment_group: GroupDto,
    /// Value of `after` for the page behind this one; only with `limit`, and only if there is one.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<DeviceId>,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Deployment group to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewGroup {
    /// Name, unique in the project: 1 to 128 bytes without control characters.
    pub(crate) name: String,
    /// Branch that the group follows; none by default.
    #[serde(default)]
    pub(crate) branch: String,
}

/// Settings of a deployment group to change.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GroupSettings {
    /// Name, unique in the project: 1 to 128 bytes without control characters.
    pub(crate) name: Option<String>,
    /// Branch that the group follows; empty for none.
    pub(crate) branch: Option<String>,
}

/// Devices to move: named, or found by a search.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Members {
    /// Ids of the devices: 5,000 at most.
    #[schema(value_type = Option<Vec<String>>)]
    pub(crate) devices: Option<Vec<DeviceId>>,
    /// Conditions that the devices meet.
    pub(crate) search: Option<DeviceSearch>,
    /// Filter that the devices match, such as `tag:attic offline<1h`.
    pub(crate) filter: Option<FilterBody>,
}

/// Devices that were moved, or would be.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct Moved {
    /// Number of devices that change their group.
    pub affected: usize,
    /// Ids of these devices.
    #[schema(value_type = Vec<String>)]
    pub devices: Vec<DeviceId>,
    /// MongoDB filter that the filter of the request stands for; null without one.
    #[schema(value_type = Option<Object>)]
    pub filter: Option<Box<RawValue>>,
    /// True if no device was moved.
    pub dry_run: bool,
    /// HTTP status: always 200.
    pub status: u16,
}
