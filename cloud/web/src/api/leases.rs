//! Endpoints for developer leases: scripts on some devices for some hours, without a release.

use axum::extract::{Path, Request};
use iottly_protocol::release::{LeaseId, MAX_ORDER_SCRIPT_BYTES};

use super::Answer;
use super::body::{JsonBody, read_within};
use super::code_files;
use super::dto::{LeaseBranch, LeaseKey, LeaseList, NewLeaseBody, OK, OneLease};
use super::spaced::Spaced;
use crate::auth::ProjectAccess;
use crate::error::ApiError;
use iottly_core::model::Lease;

pub(super) fn unknown() -> ApiError {
    ApiError::missing("developer lease is unknown in this project")
}

/// Returns the lease that a path names, in the caller's project.
pub(super) async fn named(access: &ProjectAccess, id: &str) -> Result<Lease, ApiError> {
    let id: LeaseId = id.parse().map_err(|_| unknown())?;
    access
        .services()
        .store
        .lease(access.id(), id)
        .await?
        .ok_or_else(unknown)
}

fn answer(lease: Lease) -> Answer<OneLease> {
    Ok(Spaced(OneLease {
        lease: lease.into(),
        status: OK,
    }))
}

/// Lists the developer leases of the project, newest first.
///
/// Open leases, and the last ones of those that have ended.
#[utoipa::path(
    get,
    path = "/leases",
    tag = "developer leases",
    responses((status = 200, description = "The leases", body = LeaseList))
)]
pub(super) async fn all(access: ProjectAccess) -> Answer<LeaseList> {
    let leases = access.services().store.leases(access.id()).await?;
    Ok(Spaced(LeaseList {
        leases: leases.into_iter().map(Into::into).collect(),
        status: OK,
    }))
}

/// Opens a developer lease on devices: scripts can be run on them until it ends, without a release.
///
/// The devices keep running their releases until the first script. A device whose owner allows no lease refuses the
/// scripts, and a script with a capability that is neither of the device's committed release nor approved is refused.
#[utoipa::path(
    post,
    path = "/leases",
    tag = "developer leases",
    request_body = NewLeaseBody,
    responses((status = 200, description = "The open lease", body = OneLease))
)]
pub(super) async fn open(access: ProjectAccess, JsonBody(body): JsonBody<NewLeaseBody>) -> Answer<OneLease> {
    let leases = &access.services().leases;
    answer(
        leases
            .open(access.principal(), body.devices, body.hours, body.approve)
            .await?,
    )
}

/// Returns a developer lease, with the last report of each device.
#[utoipa::path(
    get,
    path = "/leases/{lease}",
    tag = "developer leases",
    responses((status = 200, description = "The lease", body = OneLease))
)]
pub(super) async fn show(access: ProjectAccess, Path((_, id)): Path<(String, String)>) -> Answer<OneLease> {
    answer(named(&access, &id).await?)
}

/// Runs a script on the devices of an open developer lease, in place of their releases.
///
/// The script is signed, and sent at once to the devices that are connected; the others are sent the newest script
/// when they connect. Their answers are in the lease and in its events.
#[utoipa::path(
    put,
    path = "/leases/{lease}/script",
    tag = "developer leases",
    request_body(content = String, content_type = "application/wasm", description = "The script as a component, as `iottly build` makes it; at most 1 MiB"),
    responses((status = 200, description = "The lease with the order to its devices", body = OneLease))
)]
pub(super) async fn run(
    access: ProjectAccess,
    Path((_, id)): Path<(String, String)>,
    request: Request,
) -> Answer<OneLease> {
    let lease = named(&access, &id).await?;
    let component = read_within(request, MAX_ORDER_SCRIPT_BYTES).await?;
    let leases = &access.services().leases;
    answer(leases.run(access.principal(), lease.id, component).await?)
}

/// Builds the working copy of a branch and runs it on the devices of an open developer lease.
///
/// As if the component had been built elsewhere and sent to `/leases/{lease}/script`. No revision is saved.
#[utoipa::path(
    put,
    path = "/leases/{lease}/branch",
    tag = "developer leases",
    request_body = LeaseBranch,
    responses((status = 200, description = "The lease with the order to its devices", body = OneLease))
)]
pub(super) async fn run_branch(
    access: ProjectAccess,
    Path((_, id)): Path<(String, String)>,
    JsonBody(body): JsonBody<LeaseBranch>,
) -> Answer<OneLease> {
    let lease = named(&access, &id).await?;
    let code = code_files::working_copy(&access, &body.branch).await?;
    let (rollouts, leases) = (&access.services().rollouts, &access.services().leases);
    let built = rollouts.try_build(access.id(), code).await?;
    answer(leases.run(access.principal(), lease.id, built.content).await?)
}

/// Ends a developer lease: its devices return to their releases.
///
/// Devices that are connected return at once, the others when they connect, and all of them at the lease's expiry at the
/// latest. A lease that has ended stays as it is.
#[utoipa::path(
    delete,
    path = "/leases/{lease}",
    tag = "developer leases",
    responses((status = 200, description = "The lease, which has ended", body = OneLease))
)]
pub(super) async fn end(access: ProjectAccess, Path((_, id)): Path<(String, String)>) -> Answer<OneLease> {
    let lease = named(&access, &id).await?;
    answer(access.services().leases.end(access.principal(), lease.id).await?)
}

/// Adds a key for developer leases to the trusted root of the project.
///
/// Projects that are new have one. A project whose root was signed before there were leases gets one by this request, or
/// when its root is renewed.
#[utoipa::path(
    post,
    path = "/leasekey",
    tag = "developer leases",
    responses((status = 200, description = "True if the key was added, false if there was one", body = LeaseKey))
)]
pub(super) async fn allow(access: ProjectAccess) -> Answer<LeaseKey> {
    Ok(Spaced(LeaseKey {
        added: access.services().leases.allow(access.principal()).await?,
        status: OK,
    }))
}
