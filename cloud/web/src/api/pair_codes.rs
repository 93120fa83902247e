//! Endpoints that list the licences (pair codes) of a project.

use std::collections::HashMap;

use axum::extract::Path;
use iottly_protocol::DeviceId;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Answer;
use super::dto::operating_status;
use super::query::Params;
use super::spaced::Spaced;
use crate::auth::ProjectAccess;
use crate::error::ApiError;
use iottly_core::model::{Device, PairCode, Scopes};

/// Maximum number of licences of a page.
const MAX_PAGE: usize = 1000;

#[derive(Serialize)]
struct Board<'a> {
    macaddress: &'a str,
    operatingstatus: &'static str,
    id: DeviceId,
    name: &'a str,
}

/// Lists the licences by their codes (scope `admin`).
///
/// A caller with an unused code can pair a board, so reading them requires the scope `admin`. With `limit` the list comes in
/// pages, in the order of the codes; a page with fewer is the last one.
#[utoipa::path(
    get,
    path = "/license",
    tag = "licences",
    params(
        ("limit" = Option<u64>, Query, minimum = 1, description = "Maximum number of licences, 1,000 at most; without it, all of them"),
        ("after" = Option<String>, Query, description = "Last code of the page before; only together with `limit`"),
    ),
    responses((status = 200, description = "The licences by their codes", body = Object))
)]
pub(super) async fn all(access: ProjectAccess, params: Params) -> Answer<Map<String, Value>> {
    access.require(Scopes::ADMIN)?;
    let store = &access.services().store;
    let pair_codes = match params.get("limit") {
        None => store.pair_codes(access.id()).await?,
        Some(_) => {
            let limit = params.count("limit", MAX_PAGE, MAX_PAGE)?;
            store
                .pair_code_page(access.id(), params.get("after"), limit)
                .await?
        }
    };
    shapes(&access, &pair_codes).await
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
    access.require(Scopes::ADMIN)?;
    let found = access.services().store.pair_code(access.id(), &code).await?;
    let found = found.ok_or_else(|| ApiError::missing("project has no such licence"))?;
    shapes(&access, &[found]).await
}

async fn shapes(access: &ProjectAccess, pair_codes: &[PairCode]) -> Answer<Map<String, Value>> {
    let paired = pair_codes.iter().filter(|pair_code| pair_code.paired.is_some());
    let ids: Vec<_> = paired.map(|pair_code| pair_code.device).collect();
    let devices = access
        .services()
        .store
        .devices_with_ids(access.id(), &ids)
        .await?;
    let devices: HashMap<_, _> = devices
        .into_iter()
        .map(|device| (device.scope.device, device))
        .collect();
    let shown = pair_codes.iter().map(|pair_code| {
        (
            pair_code.code.clone(),
            shape(pair_code, devices.get(&pair_code.device)),
        )
    });
    Ok(Spaced(shown.collect()))
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
