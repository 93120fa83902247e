//! Rollouts: releases on their way into deployment groups, and their owners' hands on them.

use axum::extract::Path;
use iottly_protocol::GroupId;

use super::Answer;
use super::body::{JsonBody, MaybeJson};
use super::dto::{Done, Flash, FlashDto, OK, OnePolicy, OneRollout, RolloutDevices, RolloutList};
use super::query::Params;
use super::spaced::Spaced;
use crate::auth::ProjectAccess;
use crate::error::ApiError;
use iottly_cloud::clock;
use iottly_core::model::Policy;
use iottly_core::model::{Change, Group, Rollout, Steer};

/// Rollouts in an answer unless the request says otherwise, and at most.
const DEFAULT_ROLLOUTS: usize = 20;
const MAX_ROLLOUTS: usize = 100;

/// The project's rollouts, newest first.
#[utoipa::path(
    get,
    path = "/rollouts",
    tag = "rollouts",
    params(
        ("group" = Option<String>, Query, description = "Only those of this deployment group"),
        ("numRollouts" = Option<i64>, Query, minimum = 1, description = "Most rollouts; 20 unless given, 100 at most"),
    ),
    responses((status = 200, description = "The answer", body = RolloutList))
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

/// One rollout.
#[utoipa::path(
    get,
    path = "/rollouts/{rollout}",
    tag = "rollouts",
    responses((status = 200, description = "The answer", body = OneRollout))
)]
pub(super) async fn show(access: ProjectAccess, Path((_, id)): Path<(String, String)>) -> Answer<OneRollout> {
    Ok(Spaced(OneRollout {
        rollout: find(&access, &id).await?.into(),
        status: OK,
    }))
}

/// Gives a rollout up, also when its deployment group is gone: devices that have not switched it on yet keep
/// what they run.
#[utoipa::path(
    post,
    path = "/rollouts/{rollout}/cancel",
    tag = "rollouts",
    responses((status = 200, description = "Done", body = Done))
)]
pub(super) async fn end(access: ProjectAccess, Path((_, id)): Path<(String, String)>) -> Answer<Done> {
    let rollout = find(&access, &id).await?;
    access
        .change(Change::CancelRollout(rollout.id), clock::now())
        .await?;
    access.services().rollouts.wake();
    Ok(Done::answer())
}

/// The devices that a rollout has notified, wherever they are now, those of its group, and how far each is.
#[utoipa::path(
    get,
    path = "/rollouts/{rollout}/devices",
    tag = "rollouts",
    responses((status = 200, description = "The answer", body = RolloutDevices))
)]
pub(super) async fn devices(
    access: ProjectAccess,
    Path((_, id)): Path<(String, String)>,
) -> Answer<RolloutDevices> {
    let rollout = find(&access, &id).await?;
    let members = access
        .services()
        .store
        .rollout_members(access.id(), &rollout)
        .await?;
    Ok(Spaced(RolloutDevices {
        devices: members.into_iter().map(Into::into).collect(),
        status: OK,
    }))
}

/// Deploys a group's branch: builds it, signs a release, and brings it to the group's devices.
#[utoipa::path(
    post,
    path = "/deploymentgroups/{group}/flashfw",
    tag = "deployment groups",
    request_body = Flash,
    responses((status = 200, description = "The deployment begins", body = FlashDto))
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

/// Brings back what a group ran before, to all its devices at once.
#[utoipa::path(
    post,
    path = "/deploymentgroups/{group}/rollback",
    tag = "deployment groups",
    responses((status = 200, description = "The rollback begins", body = FlashDto))
)]
pub(super) async fn rollback(
    access: ProjectAccess,
    Path((_, id)): Path<(String, String)>,
) -> Answer<FlashDto> {
    let group = group(&access, &id).await?;
    let flashed = access
        .services()
        .rollouts
        .roll_back(access.principal(), &group)
        .await?;
    Ok(Spaced(flashed.into()))
}

/// Tells no more devices of the group until it is resumed.
#[utoipa::path(
    post,
    path = "/deploymentgroups/{group}/pause",
    tag = "deployment groups",
    responses((status = 200, description = "Done", body = Done))
)]
pub(super) async fn pause(access: ProjectAccess, Path((_, id)): Path<(String, String)>) -> Answer<Done> {
    steer(&access, &id, Steer::Pause).await
}

/// Goes on with a rollout that was paused or has stopped itself; devices that failed are told again.
#[utoipa::path(
    post,
    path = "/deploymentgroups/{group}/resume",
    tag = "deployment groups",
    responses((status = 200, description = "Done", body = Done))
)]
pub(super) async fn resume(access: ProjectAccess, Path((_, id)): Path<(String, String)>) -> Answer<Done> {
    steer(&access, &id, Steer::Resume).await
}

/// Gives a rollout up: devices that have not switched it on yet keep what they run.
#[utoipa::path(
    post,
    path = "/deploymentgroups/{group}/cancel",
    tag = "deployment groups",
    responses((status = 200, description = "Done", body = Done))
)]
pub(super) async fn cancel(access: ProjectAccess, Path((_, id)): Path<(String, String)>) -> Answer<Done> {
    steer(&access, &id, Steer::Cancel).await
}

/// How rollouts in a group spread.
#[utoipa::path(
    get,
    path = "/deploymentgroups/{group}/policy",
    tag = "deployment groups",
    responses((status = 200, description = "The answer", body = OnePolicy))
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

/// Sets how rollouts in a group spread; what is left out is the default.
#[utoipa::path(
    put,
    path = "/deploymentgroups/{group}/policy",
    tag = "deployment groups",
    request_body = Policy,
    responses((status = 200, description = "The answer", body = OnePolicy))
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

async fn steer(access: &ProjectAccess, id: &str, steer: Steer) -> Answer<Done> {
    let group = id.parse().map_err(|_| unknown_group())?;
    access
        .change(Change::SteerRollout(group, steer), clock::now())
        .await?;
    access.services().rollouts.wake();
    Ok(Done::answer())
}

fn unknown_group() -> ApiError {
    ApiError::missing("deployment group is unknown in this project")
}

async fn group(access: &ProjectAccess, id: &str) -> Result<Group, ApiError> {
    let id: GroupId = id.parse().map_err(|_| unknown_group())?;
    access
        .groups()
        .await?
        .into_iter()
        .find(|group| group.id == id)
        .ok_or_else(unknown_group)
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
