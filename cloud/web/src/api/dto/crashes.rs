//! JSON types for failures of firmware.

use iottly_protocol::DeviceId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Date;

/// Failures of firmware at one place of a release.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = Crash)]
pub struct CrashDto {
    /// Digest of the firmware; null for a failure that it has survived.
    pub firmware: Option<String>,
    /// Function that failed.
    pub function: String,
    /// Kind of the failure.
    pub error: String,
    /// Description of the last one.
    pub description: String,
    /// Number of failures.
    pub count: u64,
    /// Devices with such a failure.
    pub devices: Vec<CrashDevice>,
    /// Time of the last one.
    pub last: Date,
}

/// Device whose firmware failed.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct CrashDevice {
    /// Id of the device.
    #[schema(value_type = String, format = "uuid")]
    pub device: DeviceId,
    /// Name of the device.
    pub name: String,
}

/// Failures of firmware in a project.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct CrashList {
    /// Failures by release and place, the latest first.
    pub crashes: Vec<CrashDto>,
    /// Number of devices whose reports were read: those that changed last.
    pub devices_read: usize,
    /// Number of devices of the project.
    pub devices_total: usize,
    /// Number of the newest reports that were read of each device.
    pub reports_of_each: usize,
    /// HTTP status: always 200.
    pub status: u16,
}
