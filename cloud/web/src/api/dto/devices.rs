//! JSON types for devices.

use iottly_protocol::enroll::ShortCode;
use iottly_protocol::{DeviceId, GroupId, Secret};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{Date, LogDto, OK, Props};
use iottly_core::model::SettingsState;

/// Devices with their properties.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct AllProps {
    /// Number of devices in the response.
    pub count: usize,
    /// Always null: a response is complete or an error.
    #[schema(value_type = Option<String>)]
    pub errors: Option<()>,
    /// Devices, by name.
    pub devices: Vec<Props>,
    /// Number of devices on all pages; only with `limit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matching: Option<usize>,
    /// Value of `after` for the next page; only with `limit`, and not on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Properties of a device.
#[derive(Serialize, ToSchema)]
pub(crate) struct OneProps {
    /// The properties.
    #[serde(flatten)]
    pub(crate) props: Props,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}

/// Properties of a device that its owner may set.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DeviceSettings)]
pub(crate) struct UpdateDeviceBody {
    /// Name: 1 to 128 bytes without control characters.
    pub(crate) name: Option<String>,
    /// Tags, which replace the present ones: 32 at most, each 1 to 64 bytes without commas and control
    /// characters.
    pub(crate) tags: Option<Vec<String>>,
    /// Id of the deployment group to move the device to.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) deployment_group: Option<GroupId>,
}

/// Device to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewDeviceBody {
    /// Name: 1 to 128 bytes without control characters.
    pub(crate) name: String,
    /// Id of the deployment group of the device; `_orphaned` by default.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) deployment_group: Option<GroupId>,
}

/// New device with its pair code.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct CreatedDevice {
    /// Id of the device.
    #[serde(rename = "ID")]
    #[schema(value_type = String, format = "uuid")]
    pub id: DeviceId,
    /// Name of the device.
    pub name: String,
    /// Code with which a board becomes this device, once: 32 hex digits.
    #[schema(value_type = String)]
    pub pair_code: Secret,
    /// Code that people type on a board in place of the pair code, valid for ten minutes: eight digits such as `7K3M-9PQX`.
    /// Left out while the project has too many of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub short_code: Option<ShortCode>,
    /// Address, pair code and fingerprint in one string, for `iottly-agent enroll`; left out if the cloud has no TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub url: Option<Secret>,
    /// Time at which the unused pair code expires.
    pub expires: Date,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Result of deleting a device.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct DeletedDevice {
    /// True if all of its data is erased; otherwise the rest is erased in the background.
    pub erased: bool,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Lines of a device's log.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct LogList {
    /// Lines, newest first.
    pub logs: Vec<LogDto>,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Settings of a device.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = ConfigDto)]
pub struct SettingsDto {
    /// Desired settings; null if none were ever set.
    pub desired: Option<Desired>,
    /// Applied settings; null until the device has applied any.
    pub reported: Option<Reported>,
    /// True if the device has applied the desired settings.
    pub in_sync: bool,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Settings that a device should apply.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct Desired {
    /// Version of the settings; each change increases it.
    pub version: u64,
    /// Values by their keys.
    #[schema(value_type = Value)]
    pub values: Box<RawValue>,
    /// Time of the last change.
    pub changed: Date,
}

/// Settings that a device has applied.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct Reported {
    /// Version of the applied settings.
    pub version: u64,
    /// Time of the report.
    pub at: Date,
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
