//! Endpoints that list the licences (pair codes) of a project.

use std::collections::HashMap;

use axum::extract::Path;
use iottly_protocol::DeviceId;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Answer;
use super::dto::operating_status;
use super::spaced::Spaced;
use crate::auth::ProjectAccess;
use crate::error::ApiError;
use iottly_core::model::{Device, PairCode, Scopes};

#[derive(Serialize)]
struct Board<'a> {
    macaddress: &'a str,
    operatingstatus: &'static str,
    id: DeviceId,
    name: &'a str,
}

/// Lists all licences by their codes (scope `admin`).
///
/// A caller with an unused code can pair a board, so reading them requires the scope `admin`.
#[utoipa::path(
    get,
    path = "/license",
    tag = "licences",
    responses((status = 200, description = "The licences by their codes", body = Object))
)]
pub(super) async fn all(access: ProjectAccess) -> Answer<Map<String, Value>> {
    access.require(Scopes::ADMIN)?;
    let devices: HashMap<_, _> = access
        .devices()
        .await?
        .into_iter()
        .map(|device| (device.scope.device, device))
        .collect();
    let pair_codes = access.services().store.pair_codes(access.id()).await?;
    let shown = pair_codes.iter().map(|pair_code| {
        (
            pair_code.code.clone(),
            shape(pair_code, devices.get(&pair_code.device)),
        )
    });
    Ok(Spaced(shown.collect()))
}

/// Returns a licence (scope `admin`).
#[utoipa::path(
    get,
    path = "/license/{licence}",
    tag = "licences",
    responses((status = 200, description = "The licence by its code", body = Object))
)]
pub(super) async fn one(
    access: ProjectAccess,
    Path((_, code)): Path<(String, String)>,
) -> Answer<Map<String, Value>> {
    let Spaced(mut all) = all(access).await?;
    let entry = all
        .remove_entry(&code)
        .ok_or_else(|| ApiError::missing("project has no such licence"))?;
    Ok(Spaced(Map::from_iter([entry])))
}

fn shape(pair_code: &PairCode, device: Option<&Device>) -> Value {
    let board = device.filter(|_| pair_code.paired.is_some()).map(|device| Board {
        macaddress: device.mac_address.as_deref().unwrap_or_default(),
        operatingstatus: operating_status(device.online),
        id: device.scope.device,
        name: &device.name,
    });
    match board {
        Some(board) => json!({"status": "paired", "board": board}),
        None => json!({"status": "available", "board": {}}),
    }
}
