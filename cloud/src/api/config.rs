//! Settings that people keep for a device's firmware: what is set, and what the device has taken.

use iottly_protocol::limits::MAX_CONFIG_BYTES;
use serde::Serialize;
use serde_json::value::RawValue;

use super::Answer;
use super::body::JsonText;
use super::dto::{Date, OK};
use super::spaced::Spaced;
use crate::auth::DeviceAccess;
use crate::clock;
use crate::error::ApiError;
use crate::model::{Change, ConfigState};

#[derive(Serialize)]
pub(super) struct ConfigDto {
    /// Null when nothing was ever set.
    desired: Option<Desired>,
    /// Null until the device has taken any.
    reported: Option<Reported>,
    /// Whether the device has what is set.
    in_sync: bool,
    status: u16,
}

#[derive(Serialize)]
struct Desired {
    version: u64,
    values: Box<RawValue>,
    changed: Date,
}

#[derive(Serialize)]
struct Reported {
    version: u64,
    at: Date,
}

impl From<ConfigState> for ConfigDto {
    fn from(state: ConfigState) -> Self {
        let versions = (state.desired.as_ref().map(|(config, _)| config.version), state.taken.map(|taken| taken.version));
        let desired = state.desired;
        Self {
            desired: desired.map(|(config, at)| Desired { version: config.version, values: config.values, changed: at.into() }),
            reported: state.taken.map(|taken| Reported { version: taken.version, at: taken.at.into() }),
            in_sync: versions.0.is_none() || versions.0 == versions.1,
            status: OK,
        }
    }
}

pub(super) async fn show(access: DeviceAccess) -> Answer<ConfigDto> {
    let state = access.services().store.device_config(access.scope()).await?;
    let state = state.ok_or_else(|| ApiError::forbidden("device is unknown in this project"))?;
    Ok(Spaced(state.into()))
}

/// Replaces all settings by the object that is the body; an online device has them at once.
pub(super) async fn set(access: DeviceAccess, JsonText(values): JsonText) -> Answer<ConfigDto> {
    let bytes = values.get().len();
    if bytes > MAX_CONFIG_BYTES {
        return Err(ApiError::invalid("invalid_body", format!("settings have {bytes} bytes, the limit is {MAX_CONFIG_BYTES}")));
    }
    let scope = access.scope();
    access.project().change(Change::SetDeviceConfig(scope.device, values), clock::now()).await?;
    access.services().configs.send(scope).await?;
    show(access).await
}
