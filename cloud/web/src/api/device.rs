//! Endpoints for devices: listing, properties, pair codes and deletion.

use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use iottly_cloud::enrolment::EnrolmentError;
use iottly_protocol::enroll::ShortCode;
use iottly_protocol::{DeviceId, ProjectId, Secret};

use super::Answer;
use super::body::JsonBody;
use super::device_filter::DeviceFilter;
use super::device_list::{self, DeviceList};
use super::device_search::DeviceSearch;
use super::dto::{
    AllProps, CreatedDevice, DeletedDevice, NewDeviceBody, OK, OneProps, Props, UpdateDeviceBody,
};
use super::names;
use super::query::Params;
use super::spaced::Spaced;
use crate::app::WebServices;
use crate::auth::{DeviceAccess, ProjectAccess};

use crate::error::ApiError;
use crate::random::hex_code;
use iottly_cloud::clock;
use iottly_core::model::{Change, Device, MAX_TAGS, Scopes, SecretHash, UnixMs};

/// Validity of a pair code: one day, in milliseconds.
const PAIR_CODE_MS: UnixMs = 24 * 60 * 60 * 1000;
/// Maximum time that the deletion of a device waits for its data to be erased; the rest is erased in the
/// background.
const ERASE_WAIT: Duration = Duration::from_secs(1);
/// Maximum number of devices of a page.
const MAX_PAGE: usize = 1000;
/// Maximum number of rows of a table that are erased in one transaction.
const ERASE_STEP: usize = 1000;

/// Lists the devices that match all conditions; without conditions, all devices.
///
/// With `limit` the list comes in pages: each has the place at which the `next` one begins.
#[utoipa::path(
    get,
    path = "/devices/props",
    tag = "devices",
    params(
        ("search" = Option<String>, Query, description = "Text that is contained in the name, the id, the MAC address or a tag"),
        ("tag" = Option<String>, Query, description = "Tag of the device"),
        ("deployment_group" = Option<String>, Query, format = "uuid", description = "Id of the device's deployment group"),
        ("operatingstatus" = Option<String>, Query, pattern = "^(connected|disconnected)$", description = "`connected` or `disconnected`"),
        ("filter" = Option<String>, Query, description = "Conditions such as `group:demo offline>1h`, or a filter as JSON"),
        ("limit" = Option<u64>, Query, description = "Maximum number of devices, 1 to 1,000; without it, all of them"),
        ("after" = Option<String>, Query, description = "Value of `next` of the page before; only together with `limit`"),
    ),
    responses((status = 200, description = "The matching devices", body = AllProps))
)]
pub(crate) async fn all_props(access: ProjectAccess, params: Params) -> Answer<AllProps> {
    let search = DeviceSearch::from_params(&params)?;
    let filter = match params.get("filter") {
        Some(text) => Some(DeviceFilter::of(&access, text).await?),
        None => None,
    };
    let Some(limit) = params.number("limit")? else {
        let devices = access.services().store.devices(access.id()).await?.into_iter();
        let mut devices: Vec<_> = devices.filter(|device| search.matches(device)).collect();
        if let Some(filter) = filter {
            devices = filter.select(devices).await?;
        }
        return Ok(Spaced(shown(&access, devices, None, None)));
    };
    let invalid = |message: &str| ApiError::invalid("invalid_query", message.to_owned());
    let limit = usize::try_from(limit).ok().filter(|limit| *limit <= MAX_PAGE);
    let limit = limit.ok_or_else(|| invalid("limit is more than 1000"))?;
    let after = params.get("after").map(device_list::place);
    let list = match filter {
        _ if !search.is_everything() => {
            DeviceList::searched(&access, &search, filter, after.as_ref(), limit).await?
        }
        Some(filter) => DeviceList::filtered(&access, filter, after.as_ref(), limit).await?,
        None => DeviceList::all(&access, after.as_ref(), limit).await?,
    };
    let matching = match list.matching {
        Some(matching) => matching,
        None => {
            let store = &access.services().store;
            store.device_counts(access.id(), clock::now()).await?.total
        }
    };
    let next = list.next.as_ref().map(device_list::written);
    Ok(Spaced(shown(&access, list.devices, next, Some(matching))))
}

fn shown(
    access: &ProjectAccess,
    devices: Vec<Device>,
    next: Option<String>,
    matching: Option<usize>,
) -> AllProps {
    let presence = &access.services().presence;
    let devices: Vec<Props> = devices
        .into_iter()
        .map(|device| {
            let view = presence.view(&device);
            Props::new(device, view)
        })
        .collect();
    AllProps {
        count: devices.len(),
        errors: None,
        devices,
        matching,
        next,
        status: OK,
    }
}

/// Returns the properties of a device.
#[utoipa::path(
    get,
    path = "/device/{device}/props",
    tag = "devices",
    responses((status = 200, description = "The properties of the device", body = OneProps))
)]
pub(crate) async fn props(access: DeviceAccess) -> Answer<OneProps> {
    answer(access).await
}

/// Changes the given properties of a device; the others keep their values.
#[utoipa::path(
    put,
    path = "/device/{device}/props",
    tag = "devices",
    request_body = UpdateDeviceBody,
    responses((status = 200, description = "The properties of the device after the change", body = OneProps))
)]
pub(crate) async fn set_props(
    access: DeviceAccess,
    JsonBody(body): JsonBody<UpdateDeviceBody>,
) -> Answer<OneProps> {
    let (now, device) = (clock::now(), access.scope().device);
    let name = body.name.map(|name| names::name("name", &name)).transpose()?;
    let tags = body.tags.map(|tags| checked_tags(&tags)).transpose()?;
    let group = body.deployment_group;
    if group.is_some() || name.is_some() || tags.is_some() {
        let change = Change::UpdateDevice {
            device,
            group,
            name,
            tags,
        };
        access.project().change(change, now).await?;
    }
    answer(access).await
}

/// Returns the properties of a device after a change.
pub(super) async fn answer(access: DeviceAccess) -> Answer<OneProps> {
    let device = access.services().store.device(access.scope()).await?;
    let device = device.ok_or_else(|| ApiError::forbidden("device is unknown in this project"))?;
    let view = access.services().presence.view(&device);
    let mut props = Props::new(device, view);
    props.refusal = access.services().refusals.of(access.scope()).map(Into::into);
    props.health = access.services().health.of(access.scope()).await?.map(Into::into);
    Ok(Spaced(OneProps { props, status: OK }))
}

/// Returns the tags sorted and without repetitions.
pub(crate) fn checked_tags(tags: &[String]) -> Result<Vec<String>, ApiError> {
    let mut tags = tags
        .iter()
        .map(|tag| names::tag(tag))
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

/// Creates a device with a pair code.
///
/// The device cannot log in until a board is paired with the code.
#[utoipa::path(
    post,
    path = "/device",
    tag = "devices",
    request_body = NewDeviceBody,
    responses((status = 200, description = "The new device with its pair code", body = CreatedDevice))
)]
pub(crate) async fn create(
    access: ProjectAccess,
    headers: HeaderMap,
    JsonBody(body): JsonBody<NewDeviceBody>,
) -> Answer<CreatedDevice> {
    let (now, name) = (clock::now(), names::name("name", &body.name)?);
    let (device, code) = (DeviceId::random(), hex_code()?);
    // The device cannot log in before a board is paired with the code.
    let secret = SecretHash::NONE;
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
        short_code: short_code(access.services(), access.id(), &code)?,
        url: url(access.services(), &headers, &code),
        pair_code: code,
        expires: expires.into(),
        status: OK,
    }))
}

/// Returns the URL that enrols a board with a code; none if the cloud has no TLS.
fn url(services: &WebServices, headers: &HeaderMap, code: &Secret) -> Option<Secret> {
    services
        .enrol_url(headers, code.expose().parse().ok()?)
        .map(Secret::new)
}

/// Returns a short code that stands for a pair code.
fn short_code(
    services: &WebServices,
    project: ProjectId,
    code: &Secret,
) -> Result<Option<ShortCode>, EnrolmentError> {
    match code.expose().parse() {
        Ok(code) => services.enrolment.short_code(project, code),
        Err(_) => Ok(None),
    }
}

/// Issues a pair code with which a new board takes over a device.
///
/// The board that uses the code gets the device's identity; the old board cannot log in after that.
#[utoipa::path(
    post,
    path = "/device/{device}/replace",
    tag = "devices",
    responses((status = 200, description = "The device with its new pair code", body = CreatedDevice))
)]
pub(crate) async fn replace(access: DeviceAccess, headers: HeaderMap) -> Answer<CreatedDevice> {
    // The code gives access to the identity, so issuing it requires the scope `admin`.
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
        short_code: short_code(access.services(), access.scope().project, &code)?,
        url: url(access.services(), &headers, &code),
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
    responses((status = 200, description = "The device was deleted; `erased` is false while its data is still being erased", body = DeletedDevice))
)]
pub(crate) async fn delete(access: DeviceAccess) -> Answer<DeletedDevice> {
    let (services, device) = (access.services(), access.scope().device);
    access
        .project()
        .change(Change::DeleteDevice(device), clock::now())
        .await?;
    services.holds.forget(device).await;
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
