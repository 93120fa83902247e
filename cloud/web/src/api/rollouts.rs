//! Endpoints that start, control and inspect rollouts.

use axum::extract::Path;
use iottly_protocol::GroupId;

use super::body::{JsonBody, MaybeJson};
use super::dto::{Done, Flash, FlashDto, OK, OnePolicy, OneRollout, RollBack, RolloutDevices, RolloutList};
use super::query::Params;
use super::spaced::Spaced;
use super::{Answer, group_members};
use crate::auth::ProjectAccess;
use crate::error::ApiError;
use iottly_cloud::clock;
use iottly_core::model::Policy;
use iottly_core::model::{Change, Group, Rollout, RolloutCommand};
use iottly_core::rollout::{Alike, Place, Places};

/// Default and largest number of rollouts in a response.
const DEFAULT_ROLLOUTS: usize = 20;
const MAX_ROLLOUTS: usize = 100;
/// Largest number of parts in a response.
pub(crate) const MAX_PARTS: usize = 100;
/// Default number of exceptions in a response.
const EXCEPTIONS: usize = 100;
/// Smallest number of devices of a part: most of them may have left the group.
const PART: u64 = 4;

/// Lists the project's rollouts, newest first.
#[utoipa::path(
    get,
    path = "/rollouts",
    tag = "rollouts",
    params(
        ("group" = Option<String>, Query, description = "Id of a deployment group: only its rollouts"),
        ("numRollouts" = Option<i64>, Query, minimum = 1, description = "Maximum number of rollouts; 20 by default, 100 at most"),
    ),
    responses((status = 200, description = "The rollouts, newest first", body = RolloutList))
)]
pub(super) async fn all(access: ProjectAccess, params: Params) -> Answer<RolloutList> {
    let group = params
        .get("group")
        .map(|text| text.parse::<GroupId>().map_err(|_| unknown_group()))
        .transpose()?;
    let limit = params.count("numRollouts", DEFAULT_ROLLOUTS, MAX_ROLLOUTS)?;
    let rollouts = access
        .services()
        .store
        .rollouts(access.id(), group, limit)
        .await?;
    Ok(Spaced(RolloutList {
        rollouts: rollouts.into_iter().map(Into::into).collect(),
        status: OK,
    }))
}

/// Returns a rollout.
///
/// With `seen` and `wait` the response comes as soon as the rollout or a device in it has made progress, at the
/// end of a rollout at once.
#[utoipa::path(
    get,
    path = "/rollouts/{rollout}",
    tag = "rollouts",
    params(
        ("seen" = Option<String>, Query, pattern = "^[0-9a-f]{16}$", description = "`mark` of an earlier response: waits until the mark is another one"),
        ("wait" = Option<String>, Query, pattern = "^[0-9]{1,6}(s|ms)?$", description = "Maximum time to wait, such as 5s or 500ms; 25 s at most"),
        ("parts" = Option<u64>, Query, minimum = 1, description = "Number of parts of about the same size for `parts` of the response, 100 at most; none by default"),
    ),
    responses((status = 200, description = "The rollout", body = OneRollout))
)]
pub(super) async fn show(
    access: ProjectAccess,
    Path((_, id)): Path<(String, String)>,
    params: Params,
) -> Answer<OneRollout> {
    let unknown = || ApiError::missing("rollout is unknown in this project");
    let id = id.parse().map_err(|_| unknown())?;
    let patience = params.patience("wait")?.unwrap_or_default();
    let parts = params.count("parts", 0, MAX_PARTS)?;
    let watched = access
        .services()
        .rollouts
        .progress(access.id(), id, params.get("seen"), patience)
        .await?
        .ok_or_else(unknown)?;
    let parts = match parts {
        0 => Vec::new(),
        parts => parts_of(&access, &watched.rollout, parts as u64).await?,
    };
    Ok(Spaced(OneRollout {
        rollout: watched.rollout.into(),
        counts: watched.places.into(),
        exceptions: watched.exceptions,
        parts: parts
            .chunk_by(|one, other| one.part == other.part)
            .map(|part| Places::of(part).into())
            .collect(),
        mark: watched.mark,
        status: OK,
    }))
}

/// Returns the devices of a rollout counted in about as many parts, in the order of ids. Devices that were notified and are in
/// another group now are in further parts.
///
/// # Errors
/// If the store fails.
pub(crate) async fn parts_of(
    access: &ProjectAccess,
    rollout: &Rollout,
    parts: u64,
) -> Result<Vec<Alike>, ApiError> {
    let (store, project) = (&access.services().store, access.id());
    let size = store.group_size(project, rollout.group).await?;
    let part = size.div_ceil(parts.max(1)).max(PART);
    Ok(store.rollout_counts(project, rollout, Some(part)).await?)
}

/// Cancels a rollout, even if its deployment group was deleted.
///
/// Devices that have not activated the release keep their current one.
#[utoipa::path(
    post,
    path = "/rollouts/{rollout}/cancel",
    tag = "rollouts",
    responses((status = 200, description = "The rollout is cancelled", body = Done))
)]
pub(super) async fn end(access: ProjectAccess, Path((_, id)): Path<(String, String)>) -> Answer<Done> {
    let rollout = find(&access, &id).await?;
    access
        .change(Change::CancelRollout(rollout.id), clock::now())
        .await?;
    access.services().rollouts.wake();
    Ok(Done::answer())
}

/// Lists the devices of a rollout with their progress.
///
/// These are the devices of its group, and those that it has notified, wherever they are now.
#[utoipa::path(
    get,
    path = "/rollouts/{rollout}/devices",
    tag = "rollouts",
    params(
        ("limit" = Option<u64>, Query, minimum = 1, description = "Maximum number of devices, 1,000 at most; without it, all of them"),
        ("after" = Option<String>, Query, format = "uuid", description = "Value of `next` of the page before"),
        ("place" = Option<String>, Query, description = "Only devices at this place, a name of `counts` of the rollout"),
        ("exceptions" = Option<bool>, Query, description = "Only devices that have not gone as planned or have reported a reason: the first `limit` of them, 100 by default"),
    ),
    responses((status = 200, description = "The devices with their progress", body = RolloutDevices))
)]
pub(super) async fn devices(
    access: ProjectAccess,
    Path((_, id)): Path<(String, String)>,
    params: Params,
) -> Answer<RolloutDevices> {
    let rollout = find(&access, &id).await?;
    let (limit, after) = (group_members::page_size(&params)?, group_members::place(&params)?);
    let place = params.get("place").map(place_named).transpose()?;
    let store = &access.services().store;
    if params.flag("exceptions")? {
        let limit = limit.unwrap_or(EXCEPTIONS);
        let found = store.rollout_exceptions(access.id(), &rollout, limit).await?;
        return Ok(Spaced(RolloutDevices {
            devices: found.into_iter().map(Into::into).collect(),
            next: None,
            status: OK,
        }));
    }
    let wanted = limit.map_or(usize::MAX, |limit| limit + 1);
    let mut members = store
        .rollout_page(access.id(), &rollout, place, after, wanted)
        .await?;
    let mut next = None;
    if let Some(limit) = limit.filter(|limit| members.len() > *limit) {
        members.truncate(limit);
        next = members.last().map(|member| member.device);
    }
    Ok(Spaced(RolloutDevices {
        devices: members.into_iter().map(Into::into).collect(),
        next,
        status: OK,
    }))
}

/// Returns the place with a name.
///
/// # Errors
/// If there is no such place.
pub(crate) fn place_named(name: &str) -> Result<Place, ApiError> {
    Place::named(name).ok_or_else(|| {
        let names: Vec<_> = Place::ALL.iter().map(|place| place.as_str()).collect();
        ApiError::invalid("invalid_query", format!("place is none of {}", names.join(", ")))
    })
}

/// Deploys a group's branch: builds it, signs a release, and rolls it out to the group's devices.
#[utoipa::path(
    post,
    path = "/deploymentgroups/{group}/flashfw",
    tag = "deployment groups",
    request_body = Flash,
    responses((status = 200, description = "The release, the rollout that was started, and what the devices would do with the release", body = FlashDto))
)]
pub(super) async fn flash(
    access: ProjectAccess,
    Path((_, id)): Path<(String, String)>,
    MaybeJson(body): MaybeJson<Flash>,
) -> Answer<FlashDto> {
    let group = group(&access, &id)
        .await
        .map_err(|_| ApiError::forbidden("deployment group is unknown in this project"))?;
    let flashed = access
        .services()
        .rollouts
        .flash(access.principal(), &group, body.into())
        .await?;
    Ok(Spaced(flashed.into()))
}

/// Rolls a group back to its previous release, on all its devices at once.
#[utoipa::path(
    post,
    path = "/deploymentgroups/{group}/rollback",
    tag = "deployment groups",
    request_body = RollBack,
    responses((status = 200, description = "The release, the rollout that was started, and what the devices would do with the release", body = FlashDto))
)]
pub(super) async fn rollback(
    access: ProjectAccess,
    Path((_, id)): Path<(String, String)>,
    MaybeJson(body): MaybeJson<RollBack>,
) -> Answer<FlashDto> {
    let group = group(&access, &id).await?;
    let flashed = access
        .services()
        .rollouts
        .roll_back(access.principal(), &group, body.dry_run)
        .await?;
    Ok(Spaced(flashed.into()))
}

/// Pauses the rollout: no further devices are updated until it is resumed.
#[utoipa::path(
    post,
    path = "/deploymentgroups/{group}/pause",
    tag = "deployment groups",
    responses((status = 200, description = "The rollout is paused", body = Done))
)]
pub(super) async fn pause(access: ProjectAccess, Path((_, id)): Path<(String, String)>) -> Answer<Done> {
    steer(&access, &id, RolloutCommand::Pause).await
}

/// Resumes a rollout that was paused or has halted itself.
///
/// Devices that failed are notified again.
#[utoipa::path(
    post,
    path = "/deploymentgroups/{group}/resume",
    tag = "deployment groups",
    responses((status = 200, description = "The rollout continues", body = Done))
)]
pub(super) async fn resume(access: ProjectAccess, Path((_, id)): Path<(String, String)>) -> Answer<Done> {
    steer(&access, &id, RolloutCommand::Resume).await
}

/// Cancels the rollout.
///
/// Devices that have not activated the release keep their current one.
#[utoipa::path(
    post,
    path = "/deploymentgroups/{group}/cancel",
    tag = "deployment groups",
    responses((status = 200, description = "The rollout is cancelled", body = Done))
)]
pub(super) async fn cancel(access: ProjectAccess, Path((_, id)): Path<(String, String)>) -> Answer<Done> {
    steer(&access, &id, RolloutCommand::Cancel).await
}

/// Returns the policy by which rollouts spread in a group.
#[utoipa::path(
    get,
    path = "/deploymentgroups/{group}/policy",
    tag = "deployment groups",
    responses((status = 200, description = "The policy", body = OnePolicy))
)]
pub(super) async fn policy(
    access: ProjectAccess,
    Path((_, id)): Path<(String, String)>,
) -> Answer<OnePolicy> {
    Ok(Spaced(OnePolicy {
        policy: group(&access, &id).await?.policy,
        status: OK,
    }))
}

/// Sets the policy by which rollouts spread in a group.
///
/// A setting that is left out gets its default.
#[utoipa::path(
    put,
    path = "/deploymentgroups/{group}/policy",
    tag = "deployment groups",
    request_body = Policy,
    responses((status = 200, description = "The policy", body = OnePolicy))
)]
pub(super) async fn set_policy(
    access: ProjectAccess,
    Path((_, id)): Path<(String, String)>,
    JsonBody(policy): JsonBody<Policy>,
) -> Answer<OnePolicy> {
    let group = group(&access, &id).await?;
    policy
        .check()
        .map_err(|error| ApiError::invalid("invalid_policy", error.to_string()))?;
    access
        .change(
            Change::SetPolicy(group.id, Box::new(policy.clone())),
            clock::now(),
        )
        .await?;
    Ok(Spaced(OnePolicy { policy, status: OK }))
}

async fn steer(access: &ProjectAccess, id: &str, command: RolloutCommand) -> Answer<Done> {
    let group = id.parse().map_err(|_| unknown_group())?;
    access
        .change(Change::SteerRollout(group, command), clock::now())
        .await?;
    access.services().rollouts.wake();
    Ok(Done::answer())
}

fn unknown_group() -> ApiError {
    ApiError::missing("deployment group is unknown in this project")
}

async fn group(access: &ProjectAccess, id: &str) -> Result<Group, ApiError> {
    access.group(id.parse().map_err(|_| unknown_group())?).await
}

async fn find(access: &ProjectAccess, id: &str) -> Result<Rollout, ApiError> {
    let unknown = || ApiError::missing("rollout is unknown in this project");
    let id = id.parse().map_err(|_| unknown())?;
    access
        .services()
        .store
        .rollout(access.id(), id)
        .await?
        .ok_or_else(unknown)
}
