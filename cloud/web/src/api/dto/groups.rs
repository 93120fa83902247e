//! JSON types for deployment groups.

use iottly_protocol::DeviceId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::GroupDto;
use crate::api::device_search::DeviceSearch;

#[derive(Serialize, ToSchema)]
pub(crate) struct GroupList {
    pub(crate) deployment_groups: Vec<GroupDto>,
    pub(crate) status: u16,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct OneGroup {
    pub(crate) deployment_group: GroupDto,
    pub(crate) status: u16,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewGroup {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) branch: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GroupSettings {
    pub(crate) name: Option<String>,
    pub(crate) branch: Option<String>,
}

/// Devices to move: named, or found by a search.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Members {
    #[schema(value_type = Option<Vec<String>>)]
    pub(crate) devices: Option<Vec<DeviceId>>,
    pub(crate) search: Option<DeviceSearch>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Moved {
    /// Number of devices that change their group.
    pub(crate) affected: usize,
    #[schema(value_type = Vec<String>)]
    pub(crate) devices: Vec<DeviceId>,
    pub(crate) dry_run: bool,
    pub(crate) status: u16,
}
