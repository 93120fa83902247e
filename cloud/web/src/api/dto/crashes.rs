//! JSON types for failures of firmware.

use iottly_protocol::DeviceId;
use serde::Serialize;
use utoipa::ToSchema;

use super::Date;

/// Failures of firmware at one place of a release.
#[derive(Serialize, ToSchema)]
#[schema(as = Crash)]
pub(crate) struct CrashDto {
    /// Digest of the firmware; null for a failure that it has survived.
    pub(crate) firmware: Option<String>,
    /// Function that failed.
    pub(crate) function: String,
    /// Kind of the failure.
    pub(crate) error: String,
    /// Description of the last one.
    pub(crate) description: String,
    /// Number of failures.
    pub(crate) count: u64,
    /// Devices with such a failure.
    pub(crate) devices: Vec<CrashDevice>,
    /// Time of the last one.
    pub(crate) last: Date,
}

/// Device whose firmware failed.
#[derive(Serialize, ToSchema)]
pub(crate) struct CrashDevice {
    /// Id of the device.
    #[schema(value_type = String, format = "uuid")]
    pub(crate) device: DeviceId,
    /// Name of the device.
    pub(crate) name: String,
}

/// Failures of firmware in a project.
#[derive(Serialize, ToSchema)]
pub(crate) struct CrashList {
    /// Failures by release and place, the latest first.
    pub(crate) crashes: Vec<CrashDto>,
    /// Number of devices whose reports were read: those that changed last.
    pub(crate) devices_read: usize,
    /// Number of devices of the project.
    pub(crate) devices_total: usize,
    /// Number of the newest reports that were read of each device.
    pub(crate) reports_of_each: usize,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}
