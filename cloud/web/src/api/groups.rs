//! Endpoints for deployment groups. A device is in exactly one group; `_orphaned` has the devices of no
//! other.

use std::collections::HashSet;

use axum::extract::Path;
use iottly_protocol::{DeviceId, GroupId};
use serde_json::value::RawValue;

use super::body::JsonBody;
use super::device_list::by_place;
use super::dto::{Done, GroupList, GroupSettings, Members, Moved, NewGroup, OK, OneGroup};
use super::names;
use super::query::Params;
use super::spaced::Spaced;
use super::{Answer, DeviceFilter, group_members};
use crate::auth::ProjectAccess;
use crate::error::ApiError;
use iottly_cloud::clock;
use iottly_core::model::{Change, FollowedBranch, ORPHANED, Scope};
use iottly_store::DeviceNeeds;

/// Maximum number of devices that a request may name; a search may match more.
const MAX_NAMED: usize = 5000;

/// Lists the deployment groups of the project, `_orphaned` first.
#[utoipa::path(
    get,
    path = "/deploymentgroups",
    tag = "deployment groups",
    params(
        ("limit" = Option<u64>, Query, minimum = 1, description = "Maximum number of boards of each group, 1,000 at most; without it, all of them"),
    ),
    responses((status = 200, description = "The deployment groups", body = GroupList))
)]
pub(super) async fn all(access: ProjectAccess, params: Params) -> Answer<GroupList> {
    Ok(Spaced(GroupList {
        deployment_groups: group_members::all(&access, &params).await?,
        status: OK,
    }))
}

/// Returns a deployment group.
#[utoipa::path(
    get,
    path = "/deploymentgroups/{group}",
    tag = "deployment groups",
    params(
        ("limit" = Option<u64>, Query, minimum = 1, description = "Maximum number of boards, 1,000 at most; without it, all of them"),
        ("after" = Option<String>, Query, format = "uuid", description = "Value of `next` of the page before"),
    ),
    responses((status = 200, description = "The deployment group", body = OneGroup))
)]
pub(super) async fn show(
    access: ProjectAccess,
    Path((_, id)): Path<(String, String)>,
    params: Params,
) -> Answer<OneGroup> {
    let group = access.group(group_id(&id)?).await?;
    let (limit, after) = (group_members::page_size(&params)?, group_members::place(&params)?);
    Ok(Spaced(group_members::one(&access, group, limit, after).await?))
}

/// Creates a deployment group.
#[utoipa::path(
    post,
    path = "/deploymentgroups",
    tag = "deployment groups",
    request_body = NewGroup,
    responses((status = 200, description = "The new deployment group", body = OneGroup))
)]
pub(super) async fn create(access: ProjectAccess, JsonBody(body): JsonBody<NewGroup>) -> Answer<OneGroup> {
    let (id, name) = (GroupId::random(), names::name("name", &body.name)?);
    access
        .change(
            Change::CreateGroup {
                id,
                name,
                // An empty text stands for no branch in requests and answers.
                branch: Some(body.branch).filter(|branch| !branch.is_empty()),
            },
            clock::now(),
        )
        .await?;
    answer(&access, id).await
}

/// Changes the given properties of a deployment group; the others keep their values.
#[utoipa::path(
    put,
    path = "/deploymentgroups/{group}",
    tag = "deployment groups",
    request_body = GroupSettings,
    responses((status = 200, description = "The deployment group after the change", body = OneGroup))
)]
pub(super) async fn update(
    access: ProjectAccess,
    Path((_, id)): Path<(String, String)>,
    JsonBody(body): JsonBody<GroupSettings>,
) -> Answer<OneGroup> {
    let id = group_id(&id)?;
    let name = body.name.map(|name| names::name("name", &name)).transpose()?;
    access
        .change(
            Change::UpdateGroup {
                id,
                name,
                branch: body.branch.map(followed),
            },
            clock::now(),
        )
        .await?;
    answer(&access, id).await
}

fn followed(branch: String) -> FollowedBranch {
    if branch.is_empty() {
        FollowedBranch::Absent
    } else {
        FollowedBranch::Named(branch)
    }
}

/// Deletes a group.
///
/// Its devices move to `_orphaned`, and an active rollout to it is cancelled.
#[utoipa::path(
    delete,
    path = "/deploymentgroups/{group}",
    tag = "deployment groups",
    responses((status = 200, description = "The deployment group was deleted", body = Done))
)]
pub(super) async fn delete(access: ProjectAccess, Path((_, id)): Path<(String, String)>) -> Answer<Done> {
    access
        .change(Change::DeleteGroup(group_id(&id)?), clock::now())
        .await?;
    access.services().rollouts.wake();
    Ok(Done::answer())
}

/// Moves devices into a group, out of their current ones.
///
/// With `dry_run=true` it only returns which devices would move.
#[utoipa::path(
    post,
    path = "/deploymentgroups/{group}/devices",
    tag = "deployment groups",
    params(
        ("dry_run" = Option<bool>, Query, description = "Returns the affected devices without moving them"),
    ),
    request_body = Members,
    responses((status = 200, description = "The devices that were moved, or would be", body = Moved))
)]
pub(super) async fn move_devices(
    access: ProjectAccess,
    Path((_, id)): Path<(String, String)>,
    params: Params,
    JsonBody(body): JsonBody<Members>,
) -> Answer<Moved> {
    let (dry_run, group) = (params.flag("dry_run")?, group_id(&id)?);
    access.group(group).await?;
    let (devices, filter) = affected(&access, group, body).await?;
    if !dry_run && !devices.is_empty() {
        access
            .change(Change::MoveDevices(group, devices.clone()), clock::now())
            .await?;
    }
    Ok(Spaced(Moved {
        affected: devices.len(),
        devices,
        filter,
        dry_run,
        status: OK,
    }))
}

/// Removes a device from a group: it moves to `_orphaned`.
#[utoipa::path(
    delete,
    path = "/deploymentgroups/{group}/devices/{member}",
    tag = "deployment groups",
    responses((status = 200, description = "The device was moved to `_orphaned`", body = Done))
)]
pub(super) async fn remove_device(
    access: ProjectAccess,
    Path((_, id, device)): Path<(String, String, String)>,
) -> Answer<Done> {
    let (group, store) = (group_id(&id)?, &access.services().store);
    let scope = Scope {
        project: access.id(),
        device: device.parse().map_err(|_| not_in_it())?,
    };
    let known = store.device(scope).await?;
    known.filter(|known| known.group == group).ok_or_else(not_in_it)?;
    let groups = access.groups().await?;
    let orphaned = groups.iter().find(|known| known.name == ORPHANED);
    let orphaned = orphaned.ok_or_else(not_in_it)?.id;
    access
        .change(Change::MoveDevices(orphaned, vec![scope.device]), clock::now())
        .await?;
    Ok(Done::answer())
}

/// Returns the devices to move, and the filter of the request as JSON.
async fn affected(
    access: &ProjectAccess,
    group: GroupId,
    body: Members,
) -> Result<(Vec<DeviceId>, Option<Box<RawValue>>), ApiError> {
    let filter = match body.filter {
        Some(filter) if body.devices.is_none() && body.search.is_none() => {
            let filter = DeviceFilter::of(access, &filter.text()).await?;
            if filter.json == "{}" {
                return Err(invalid("filter has no condition".to_owned()));
            }
            Some(filter)
        }
        Some(_) => return Err(only_one()),
        None => None,
    };
    let (store, project) = (&access.services().store, access.id());
    let json = filter
        .as_ref()
        .and_then(|filter| RawValue::from_string(filter.json.clone()).ok());
    let wanted: Vec<_> = match (&body.devices, &body.search) {
        (None, None) => filter.ok_or_else(only_one)?.matching(access).await?,
        (Some(named), None) if named.len() <= MAX_NAMED => {
            let devices = store.devices_with_ids(project, named).await?;
            let known: HashSet<_> = devices.iter().map(|device| device.scope.device).collect();
            if let Some(unknown) = named.iter().filter(|id| !known.contains(id)).min() {
                return Err(ApiError::forbidden(format!(
                    "device \"{unknown}\" is unknown in this project"
                )));
            }
            devices
        }
        (None, Some(search)) if !search.is_everything() => {
            let needs = DeviceNeeds {
                board: true,
                tags: true,
                presence: true,
                ..DeviceNeeds::default()
            };
            let mut devices = store.devices_with(project, needs).await?;
            devices.retain(|device| search.matches(device));
            devices.sort_unstable_by(by_place);
            devices
        }
        (Some(_), None) => return Err(invalid(format!("devices has more than {MAX_NAMED} entries"))),
        (None, Some(_)) => return Err(invalid("search has no condition".to_owned())),
        _ => return Err(only_one()),
    };
    let moving = wanted.into_iter().filter(|device| device.group != group);
    Ok((moving.map(|device| device.scope.device).collect(), json))
}

fn only_one() -> ApiError {
    invalid("body needs one of devices, search and filter".to_owned())
}

fn invalid(message: String) -> ApiError {
    ApiError::invalid("invalid_body", message)
}

fn not_in_it() -> ApiError {
    ApiError::missing("deployment group has no such device")
}

fn unknown() -> ApiError {
    ApiError::missing("deployment group is unknown in this project")
}

fn group_id(text: &str) -> Result<GroupId, ApiError> {
    text.parse().map_err(|_| unknown())
}

/// Returns a group with all its devices.
async fn answer(access: &ProjectAccess, id: GroupId) -> Answer<OneGroup> {
    let group = access.group(id).await?;
    Ok(Spaced(group_members::one(access, group, None, None).await?))
}
