//! Devices: their properties, their pair codes, their end.

use std::time::{Duration, Instant};

use iottly_protocol::DeviceId;

use super::Answer;
use super::body::JsonBody;
use super::dto::{
    AllProps, CreatedDevice, DeletedDevice, DeviceSettings, NewDeviceBody, OK, OneProps, Props,
};
use super::query::Params;
use super::search::Search;
use super::spaced::Spaced;
use super::text;
use crate::auth::{DeviceAccess, ProjectAccess, hash_secret, hex_code};
use crate::error::ApiError;
use iottly_cloud::clock;
use iottly_core::model::{Change, MAX_TAGS, Scopes, UnixMs};

/// How long a pair code works: a day, in milliseconds.
const PAIR_CODE_MS: UnixMs = 24 * 60 * 60 * 1000;
/// How long the deletion of a device waits for its data to be erased; the rest goes on in the background.
const ERASE_WAIT: Duration = Duration::from_secs(1);
/// Most rows of a table erased in one transaction.
const ERASE_STEP: usize = 1000;

/// The devices that match; all of them without parameters.
#[utoipa::path(
    get,
    path = "/devices/props",
    tag = "devices",
    params(
        ("search" = Option<String>, Query, description = "Part of the name, the id, the MAC address or a tag"),
        ("tag" = Option<String>, Query, description = "A tag"),
        ("deployment_group" = Option<String>, Query, format = "uuid", description = "The deployment group"),
        ("operatingstatus" = Option<String>, Query, pattern = "^(connected|disconnected)$", description = "`connected` or `disconnected`"),
    ),
    responses((status = 200, description = "The answer", body = AllProps))
)]
pub(super) async fn all_props(access: ProjectAccess, params: Params) -> Answer<AllProps> {
    let search = Search::from_params(&params)?;
    let devices = access
        .devices()
        .await?
        .into_iter()
        .filter(|device| search.matches(device));
    let devices: Vec<Props> = devices.map(Into::into).collect();
    Ok(Spaced(AllProps {
        count: devices.len(),
        errors: None,
        devices,
        status: OK,
    }))
}

/// The properties of a device.
#[utoipa::path(
    get,
    path = "/device/{device}/props",
    tag = "devices",
    responses((status = 200, description = "The answer", body = OneProps))
)]
pub(super) async fn props(access: DeviceAccess) -> Answer<OneProps> {
    answer(access).await
}

/// Changes what is given of a device.
#[utoipa::path(
    put,
    path = "/device/{device}/props",
    tag = "devices",
    request_body = DeviceSettings,
    responses((status = 200, description = "The answer", body = OneProps))
)]
pub(super) async fn set_props(
    access: DeviceAccess,
    JsonBody(body): JsonBody<DeviceSettings>,
) -> Answer<OneProps> {
    let (now, device) = (clock::now(), access.scope().device);
    let name = body.name.map(|name| text::name("name", &name)).transpose()?;
    let tags = body.tags.map(|tags| checked_tags(&tags)).transpose()?;
    if let Some(group) = body.deployment_group {
        access
            .project()
            .change(Change::MoveDevices(group, vec![device]), now)
            .await?;
    }
    if let Some(name) = name {
        access
            .project()
            .change(Change::RenameDevice(device, name), now)
            .await?;
    }
    if let Some(tags) = tags {
        access
            .project()
            .change(Change::TagDevice(device, tags), now)
            .await?;
    }
    answer(access).await
}

async fn answer(access: DeviceAccess) -> Answer<OneProps> {
    let device = access.services().store.device(access.scope()).await?;
    let device = device.ok_or_else(|| ApiError::forbidden("device is unknown in this project"))?;
    Ok(Spaced(OneProps {
        props: device.into(),
        status: OK,
    }))
}

/// Tags sorted and without repetitions.
fn checked_tags(tags: &[String]) -> Result<Vec<String>, ApiError> {
    let mut tags = tags
        .iter()
        .map(|tag| text::tag(tag))
        .collect::<Result<Vec<_>, _>>()?;
    tags.sort();
    tags.dedup();
    if tags.len() > MAX_TAGS {
        return Err(ApiError::invalid(
            "invalid_body",
            format!("device has more than {MAX_TAGS} tags"),
        ));
    }
    Ok(tags)
}

/// Makes a device that nothing can log in as until a board shows the pair code.
#[utoipa::path(
    post,
    path = "/device",
    tag = "devices",
    request_body = NewDeviceBody,
    responses((status = 200, description = "The answer", body = CreatedDevice))
)]
pub(super) async fn create(
    access: ProjectAccess,
    JsonBody(body): JsonBody<NewDeviceBody>,
) -> Answer<CreatedDevice> {
    let (now, name) = (clock::now(), text::name("name", &body.name)?);
    let (device, code) = (DeviceId::random(), hex_code()?);
    // Nobody knows what this is the hash of.
    let secret = hash_secret(hex_code()?.as_bytes());
    let expires = now + PAIR_CODE_MS;
    let group = body.deployment_group;
    let change = Change::CreateDevice {
        device,
        name: name.clone(),
        group,
        secret,
        code: code.clone(),
        expires,
    };
    access.change(change, now).await?;
    Ok(Spaced(CreatedDevice {
        id: device,
        name,
        pair_code: code,
        expires: expires.into(),
        status: OK,
    }))
}

/// Lets a new board take the place of a device: it gets the identity with this pair code, the old board stops
/// then.
#[utoipa::path(
    post,
    path = "/device/{device}/replace",
    tag = "devices",
    responses((status = 200, description = "The answer", body = CreatedDevice))
)]
pub(super) async fn replace(access: DeviceAccess) -> Answer<CreatedDevice> {
    // Whoever has the code gets the identity: this is the approval.
    access.project().require(Scopes::ADMIN)?;
    let (now, device, code) = (clock::now(), access.scope().device, hex_code()?);
    let expires = now + PAIR_CODE_MS;
    access
        .project()
        .change(
            Change::ReplaceDevice {
                device,
                code: code.clone(),
                expires,
            },
            now,
        )
        .await?;
    let name = access.device().name.clone();
    Ok(Spaced(CreatedDevice {
        id: device,
        name,
        pair_code: code,
        expires: expires.into(),
        status: OK,
    }))
}

/// Deletes a device and erases its history, commands, logs and stream positions.
#[utoipa::path(
    delete,
    path = "/device/{device}",
    tag = "devices",
    responses((status = 200, description = "The answer", body = DeletedDevice))
)]
pub(super) async fn delete(access: DeviceAccess) -> Answer<DeletedDevice> {
    let (services, device) = (access.services(), access.scope().device);
    access
        .project()
        .change(Change::DeleteDevice(device), clock::now())
        .await?;
    services.broker.disconnect(device).await;
    let began = Instant::now();
    let mut more = true;
    while more && began.elapsed() < ERASE_WAIT {
        more = services
            .store
            .erase_device_step(access.scope(), ERASE_STEP)
            .await?;
    }
    Ok(Spaced(DeletedDevice {
        erased: !more,
        status: OK,
    }))
}
