//! JSON types for devices.

use iottly_protocol::{DeviceId, GroupId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{Date, LogDto, OK, Props};
use iottly_core::model::SettingsState;

#[derive(Serialize, ToSchema)]
pub(crate) struct AllProps {
    pub(crate) count: usize,
    /// Always null: a response is complete or an error.
    #[schema(value_type = Option<String>)]
    pub(crate) errors: Option<()>,
    pub(crate) devices: Vec<Props>,
    pub(crate) status: u16,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct OneProps {
    #[serde(flatten)]
    pub(crate) props: Props,
    pub(crate) status: u16,
}

/// Properties of a device that its owner may set.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DeviceSettings)]
pub(crate) struct UpdateDeviceBody {
    pub(crate) name: Option<String>,
    pub(crate) tags: Option<Vec<String>>,
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) deployment_group: Option<GroupId>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewDeviceBody {
    pub(crate) name: String,
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) deployment_group: Option<GroupId>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedDevice {
    #[serde(rename = "ID")]
    #[schema(value_type = String, format = "uuid")]
    pub(crate) id: DeviceId,
    pub(crate) name: String,
    pub(crate) pair_code: String,
    pub(crate) expires: Date,
    pub(crate) status: u16,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct DeletedDevice {
    /// True if all of its data is erased; otherwise the rest is erased in the background.
    pub(crate) erased: bool,
    pub(crate) status: u16,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct LogList {
    pub(crate) logs: Vec<LogDto>,
    pub(crate) status: u16,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ConfigDto)]
pub(crate) struct SettingsDto {
    /// Desired settings; null if none were ever set.
    desired: Option<Desired>,
    /// Applied settings; null until the device has applied any.
    reported: Option<Reported>,
    /// True if the device has applied the desired settings.
    in_sync: bool,
    status: u16,
}

#[derive(Serialize, ToSchema)]
struct Desired {
    version: u64,
    #[schema(value_type = Value)]
    values: Box<RawValue>,
    changed: Date,
}

#[derive(Serialize, ToSchema)]
struct Reported {
    version: u64,
    at: Date,
}

impl From<SettingsState> for SettingsDto {
    fn from(state: SettingsState) -> Self {
        let versions = (
            state.desired.as_ref().map(|(settings, _)| settings.version),
            state.acknowledged.map(|ack| ack.version),
        );
        let desired = state.desired;
        Self {
            desired: desired.map(|(settings, at)| Desired {
                version: settings.version,
                values: settings.values,
                changed: at.into(),
            }),
            reported: state.acknowledged.map(|ack| Reported {
                version: ack.version,
                at: ack.at.into(),
            }),
            in_sync: versions.0.is_none() || versions.0 == versions.1,
            status: OK,
        }
    }
}
