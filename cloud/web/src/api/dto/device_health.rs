//! JSON types for the health of a device: its queue and its sandbox.

use iottly_protocol::health::{FirmwareHealth, StreamHealth};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Date;
use iottly_core::health::DeviceHealth;
use iottly_core::model::UnixMs;

/// Latest report of a device about its queue and its sandbox.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = DeviceHealth)]
pub struct DeviceHealthDto {
    /// Time at which the report came.
    pub at: Date,
    /// Time since the agent's start at the report, in milliseconds.
    pub up_ms: u64,
    /// Number of records that wait on the device until the cloud has stored them.
    pub waiting: u64,
    /// Age of the oldest of them at the report, in milliseconds; left out if none waits or its date is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_ms: Option<u64>,
    /// Number of records that were lost on the device since its agent's start; the history shows them as gaps.
    pub lost: u64,
    /// Size of the queue on the device's disk, in bytes.
    pub queue_bytes: u64,
    /// Size that the queue may have, in bytes.
    pub queue_budget_bytes: u64,
    /// True if records wait and the queue takes more than 80 percent of its budget.
    pub queue_nearly_full: bool,
    /// Messages of firmware and agent.
    pub history: StreamHealthDto,
    /// Command results, reports and log lines.
    pub control: StreamHealthDto,
    /// Resources that the firmware uses; left out if the device has no firmware.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<FirmwareHealthDto>,
}

/// State of one stream of a device's queue.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = StreamHealth)]
pub struct StreamHealthDto {
    /// Number of records that wait.
    pub waiting: u64,
    /// Size on the device's disk, in bytes.
    pub bytes: u64,
    /// Age of the oldest record that waits, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_ms: Option<u64>,
    /// Number of records that were lost since the agent's start.
    pub lost: u64,
}

/// Resources that the firmware of a device uses.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = FirmwareHealth)]
pub struct FirmwareHealthDto {
    /// sha256 of what runs or ran last: 64 hex digits; empty if it could not be loaded.
    pub digest: String,
    /// Memory in use, in bytes; 0 while nothing runs.
    pub memory_bytes: u64,
    /// Memory that the firmware may use, in bytes.
    pub memory_limit_bytes: u64,
    /// Time over which calls were counted, in milliseconds.
    pub over_ms: u64,
    /// Number of calls in that time.
    pub calls: u64,
    /// Processor time of the longest of them, in microseconds.
    pub longest_us: u64,
    /// Largest part of its budget of processor time that one of them has used, in thousandths.
    pub budget_permille: u64,
    /// Number of traps since the agent's start.
    pub traps: u64,
    /// Number of restarts after failures since the agent's start.
    pub restarts: u64,
    /// Time of the last trap; left out if there was none since the agent's start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trapped: Option<Date>,
}

impl From<DeviceHealth> for DeviceHealthDto {
    fn from(health: DeviceHealth) -> Self {
        let trapped = health.trapped_at();
        Self {
            at: health.at.into(),
            up_ms: health.report.up_ms,
            waiting: health.waiting(),
            oldest_ms: health.oldest_ms(),
            lost: health.lost(),
            queue_bytes: health.queue_bytes(),
            queue_budget_bytes: health.report.queue_budget_bytes,
            queue_nearly_full: health.is_queue_nearly_full(),
            history: health.report.history.into(),
            control: health.report.control.into(),
            firmware: health
                .report
                .firmware
                .map(|firmware| FirmwareHealthDto::new(firmware, trapped)),
        }
    }
}

impl From<StreamHealth> for StreamHealthDto {
    fn from(stream: StreamHealth) -> Self {
        Self {
            waiting: stream.waiting,
            bytes: stream.bytes,
            oldest_ms: stream.oldest_ms,
            lost: stream.lost,
        }
    }
}

impl FirmwareHealthDto {
    fn new(firmware: FirmwareHealth, trapped: Option<UnixMs>) -> Self {
        Self {
            digest: firmware.digest,
            memory_bytes: firmware.memory_bytes,
            memory_limit_bytes: firmware.memory_limit_bytes,
            over_ms: firmware.over_ms,
            calls: firmware.calls,
            longest_us: firmware.longest_us,
            budget_permille: firmware.budget_permille,
            traps: firmware.traps,
            restarts: firmware.restarts,
            trapped: trapped.map(Into::into),
        }
    }
}
