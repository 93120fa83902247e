//! Endpoints for several boards that log in as one device.

use std::collections::{BTreeSet, HashMap};

use axum::extract::Path;
use iottly_protocol::DeviceId;

use super::Answer;
pub(crate) use super::dto::CopyDto;
use super::dto::{CopyList, Done, OK};
use super::spaced::Spaced;
use crate::auth::{DeviceAccess, ProjectAccess};
use crate::error::ApiError;

/// Lists the boards that log in with the keys of the same device, while no operator has decided which of them is the device.
///
/// Nothing is delivered to them and nothing of them is stored until one is kept; their messages wait on the boards.
#[utoipa::path(
    get,
    path = "/copies",
    tag = "devices",
    responses((status = 200, description = "The boards, by device and number", body = CopyList))
)]
pub(super) async fn all(access: ProjectAccess) -> Answer<CopyList> {
    Ok(Spaced(CopyList {
        copies: of(&access).await?,
        status: OK,
    }))
}

/// Returns the copies of a project's devices with their names.
pub(crate) async fn of(access: &ProjectAccess) -> Result<Vec<CopyDto>, ApiError> {
    let copies = access.services().holds.of(access.id());
    if copies.is_empty() {
        return Ok(Vec::new());
    }
    let ids: BTreeSet<DeviceId> = copies.iter().map(|(device, _)| *device).collect();
    let ids: Vec<DeviceId> = ids.into_iter().collect();
    let devices = access
        .services()
        .store
        .devices_with_ids(access.id(), &ids)
        .await?;
    let names: HashMap<DeviceId, &str> = devices
        .iter()
        .map(|device| (device.scope.device, device.name.as_str()))
        .collect();
    let now = iottly_cloud::clock::now();
    Ok(copies
        .into_iter()
        .filter_map(|(device, copy)| Some(CopyDto::new(device, names.get(&device)?, copy, now)))
        .collect())
}

/// Keeps one of the boards as the device.
///
/// The others stop and stay offline, with what waits in their queues, until they are enrolled for themselves.
#[utoipa::path(
    post,
    path = "/device/{device}/copies/{copy}/keep",
    tag = "devices",
    responses((status = 200, description = "The board was kept", body = Done))
)]
pub(super) async fn keep(
    access: DeviceAccess,
    Path((_, _, number)): Path<(String, String, String)>,
) -> Answer<Done> {
    let number: u32 = number
        .parse()
        .map_err(|_| ApiError::missing("device has no such copy"))?;
    let (by, device) = (access.project().principal(), access.scope().device);
    access.services().holds.keep(by, device, number).await?;
    Ok(Done::answer())
}
