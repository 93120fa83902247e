//! Devices of deployment groups as the API shows them: all of them, or a page.

use std::collections::HashMap;

use iottly_core::model::Group;
use iottly_protocol::{DeviceId, GroupId};

use super::dto::{GroupDto, OK, OneGroup};
use super::query::Params;
use crate::auth::ProjectAccess;
use crate::error::ApiError;

/// Maximum number of devices of a page.
const MAX_PAGE: usize = 1000;

/// Reads the size of a page; none for all devices.
pub(super) fn page_size(params: &Params) -> Result<Option<usize>, ApiError> {
    if params.get("limit").is_none() {
        return Ok(None);
    }
    params.count("limit", MAX_PAGE, MAX_PAGE).map(Some)
}

/// Reads the id behind which a page begins.
pub(super) fn place(params: &Params) -> Result<Option<DeviceId>, ApiError> {
    let invalid = |_| ApiError::invalid("invalid_query", "after is not the id of a device".to_owned());
    params
        .get("after")
        .map(|text| text.parse().map_err(invalid))
        .transpose()
}

/// Returns all groups of a project, each with its devices; with a limit, with as many of them, and their number.
pub(super) async fn all(access: &ProjectAccess, params: &Params) -> Result<Vec<GroupDto>, ApiError> {
    let (store, project) = (&access.services().store, access.id());
    let Some(limit) = page_size(params)? else {
        let mut members: HashMap<GroupId, Vec<DeviceId>> = HashMap::new();
        for (group, device) in store.all_members(project).await? {
            members.entry(group).or_default().push(device);
        }
        let groups = access.groups().await?.into_iter();
        let shown = groups.map(|group| {
            let devices = members.remove(&group.id).unwrap_or_default();
            GroupDto::new(group, devices, None)
        });
        return Ok(shown.collect());
    };
    let counts: HashMap<GroupId, u64> = store
        .group_counts(project)
        .await?
        .into_iter()
        .map(|counts| (counts.group, counts.total as u64))
        .collect();
    let mut shown = Vec::new();
    for group in access.groups().await? {
        let count = counts.get(&group.id).copied().unwrap_or_default();
        let devices = match count {
            0 => Vec::new(),
            _ => store.group_members(project, group.id, None, limit).await?,
        };
        shown.push(GroupDto::new(group, devices, Some(count)));
    }
    Ok(shown)
}

/// Returns a group with a page of its devices, or with all of them.
pub(super) async fn one(
    access: &ProjectAccess,
    group: Group,
    limit: Option<usize>,
    after: Option<DeviceId>,
) -> Result<OneGroup, ApiError> {
    let (store, project) = (&access.services().store, access.id());
    let wanted = limit.map_or(usize::MAX, |limit| limit + 1);
    let mut devices = store.group_members(project, group.id, after, wanted).await?;
    let (mut next, mut count) = (None, None);
    if let Some(limit) = limit {
        count = Some(store.group_size(project, group.id).await?);
        if devices.len() > limit {
            devices.truncate(limit);
            next = devices.last().copied();
        }
    }
    Ok(OneGroup {
        deployment_group: GroupDto::new(group, devices, count),
        next,
        status: OK,
    })
}
