//! Devices: their properties, their pair codes, their end.

use std::time::{Duration, Instant};

use iottly_protocol::{DeviceId, GroupId};
use serde::{Deserialize, Serialize};

use super::Answer;
use super::body::JsonBody;
use super::dto::{Date, OK, Props};
use super::query::Params;
use super::search::Search;
use super::spaced::Spaced;
use super::text;
use crate::auth::{DeviceAccess, ProjectAccess, hash_secret, hex_code};
use crate::clock;
use crate::error::ApiError;
use crate::model::{Change, MAX_TAGS, UnixMs};

/// How long a pair code works: a day, in milliseconds.
const PAIR_CODE_MS: UnixMs = 24 * 60 * 60 * 1000;
/// How long the deletion of a device waits for its data to be erased; the rest goes on in the background.
const ERASE_WAIT: Duration = Duration::from_secs(5);
/// Messages erased in one transaction.
const ERASE_STEP: usize = 5000;

#[derive(Serialize)]
pub(super) struct AllProps {
    count: usize,
    /// Always null: an answer is whole or an error.
    errors: Option<()>,
    devices: Vec<Props>,
    status: u16,
}

#[derive(Serialize)]
pub(super) struct OneProps {
    #[serde(flatten)]
    props: Props,
    status: u16,
}

/// The devices that match; all of them without parameters.
pub(super) async fn all_props(access: ProjectAccess, params: Params) -> Answer<AllProps> {
    let search = Search::from_params(&params)?;
    let devices = access.devices().await?.into_iter().filter(|device| search.matches(device));
    let devices: Vec<Props> = devices.map(Into::into).collect();
    Ok(Spaced(AllProps { count: devices.len(), errors: None, devices, status: OK }))
}

pub(super) async fn props(access: DeviceAccess) -> Answer<OneProps> {
    answer(access).await
}

/// What of a device its owner may set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    name: Option<String>,
    tags: Option<Vec<String>>,
    deployment_group: Option<GroupId>,
}

pub(super) async fn set_props(access: DeviceAccess, JsonBody(body): JsonBody<Settings>) -> Answer<OneProps> {
    let (now, device) = (clock::now(), access.scope().device);
    let name = body.name.map(|name| text::name("name", &name)).transpose()?;
    let tags = body.tags.map(|tags| checked_tags(&tags)).transpose()?;
    if let Some(group) = body.deployment_group {
        access.project().change(Change::MoveDevices(group, vec![device]), now).await?;
    }
    if let Some(name) = name {
        access.project().change(Change::RenameDevice(device, name), now).await?;
    }
    if let Some(tags) = tags {
        access.project().change(Change::TagDevice(device, tags), now).await?;
    }
    answer(access).await
}

async fn answer(access: DeviceAccess) -> Answer<OneProps> {
    let device = access.services().store.device(access.scope()).await?;
    let device = device.ok_or_else(|| ApiError::forbidden("device is unknown in this project"))?;
    Ok(Spaced(OneProps { props: device.into(), status: OK }))
}

/// Tags sorted and without repetitions.
fn checked_tags(tags: &[String]) -> Result<Vec<String>, ApiError> {
    let mut tags = tags.iter().map(|tag| text::tag(tag)).collect::<Result<Vec<_>, _>>()?;
    tags.sort();
    tags.dedup();
    if tags.len() > MAX_TAGS {
        return Err(ApiError::invalid("invalid_body", format!("device has more than {MAX_TAGS} tags")));
    }
    Ok(tags)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewDeviceBody {
    name: String,
    deployment_group: Option<GroupId>,
}

#[derive(Serialize)]
pub(super) struct Created {
    #[serde(rename = "ID")]
    id: DeviceId,
    name: String,
    pair_code: String,
    expires: Date,
    status: u16,
}

/// Makes a device that nothing can log in as until a board shows the pair code.
pub(super) async fn create(access: ProjectAccess, JsonBody(body): JsonBody<NewDeviceBody>) -> Answer<Created> {
    let (now, name) = (clock::now(), text::name("name", &body.name)?);
    let (device, code) = (DeviceId::random(), hex_code()?);
    // Nobody knows what this is the hash of.
    let secret = hash_secret(hex_code()?.as_bytes());
    let expires = now + PAIR_CODE_MS;
    let group = body.deployment_group;
    let change = Change::CreateDevice { device, name: name.clone(), group, secret, code: code.clone(), expires };
    access.change(change, now).await?;
    Ok(Spaced(Created { id: device, name, pair_code: code, expires: expires.into(), status: OK }))
}

#[derive(Serialize)]
pub(super) struct Deleted {
    /// Whether all of its data is gone already; otherwise it goes on in the background.
    erased: bool,
    status: u16,
}

/// Deletes a device and erases its history, commands, logs and stream positions.
pub(super) async fn delete(access: DeviceAccess) -> Answer<Deleted> {
    let (services, device) = (access.services(), access.scope().device);
    access.project().change(Change::DeleteDevice(device), clock::now()).await?;
    services.broker.disconnect(device).await;
    let began = Instant::now();
    let mut more = true;
    while more && began.elapsed() < ERASE_WAIT {
        more = services.store.erase_step(clock::now(), ERASE_STEP).await?;
    }
    Ok(Spaced(Deleted { erased: !more, status: OK }))
}
