//! JSON types for developer leases.

use iottly_protocol::DeviceId;
use iottly_protocol::release::{DeveloperReport, LeaseId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Date;
use iottly_cloud::clock;
use iottly_core::model::{Lease, LeaseDevice, LeaseEnding, LeaseOrder};

/// Developer lease to open.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewLeaseBody {
    /// Ids of the devices: 1 to 16, none of them in another open lease.
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 16)]
    pub(crate) devices: Vec<DeviceId>,
    /// Length of the lease in hours: 1 to 8. 8 by default.
    #[serde(default = "longest")]
    #[schema(minimum = 1, maximum = 8)]
    pub(crate) hours: u32,
    /// Approved capabilities beyond those of the devices' committed releases: 64 at most.
    #[serde(default)]
    #[schema(max_items = 64)]
    pub(crate) approve: Vec<String>,
}

/// Branch whose working copy runs on the devices of a lease.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LeaseBranch {
    /// Name of the branch.
    pub(crate) branch: String,
}

const fn longest() -> u32 {
    iottly_core::lease::MAX_HOURS
}

/// Developer lease: permission to run scripts that are not released on some devices for some hours.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeaseDto {
    /// Id of the lease.
    #[schema(value_type = String, format = "uuid")]
    id: LeaseId,
    /// `open`, `revoked` or `expired`.
    #[schema(value_type = String)]
    state: &'static str,
    /// Devices of the lease.
    devices: Vec<LeaseDeviceDto>,
    /// Approved capabilities.
    approved: Vec<String>,
    /// Name of the token that opened the lease.
    author: String,
    /// Time at which the lease was opened.
    created: Date,
    /// Time at which the devices return to their releases.
    expires: Date,
    /// Time at which the lease ended; left out while it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<Date>,
    /// Newest order to the devices; left out before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<LeaseOrderDto>,
}

/// Order to the devices of a lease.
#[derive(Debug, Serialize, ToSchema)]
struct LeaseOrderDto {
    /// Id of the order. A device that connects later is sent the same script under another id: compare `sha256`.
    id: String,
    /// SHA-256 of the script, in hex; empty if the order ends the lease.
    sha256: String,
    /// Size of the script, in bytes.
    size: u64,
    /// Time at which the order was signed.
    sent: Date,
}

/// Device of a lease, with its last report about the orders of the lease.
#[derive(Debug, Serialize, ToSchema)]
struct LeaseDeviceDto {
    /// Id of the device.
    #[schema(value_type = String, format = "uuid")]
    device: DeviceId,
    /// Last report; left out before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<LeaseReportDto>,
}

/// Report of a device about an order of a lease.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeaseReportDto {
    /// Id of the order.
    order: String,
    /// SHA-256 of the script, in hex; of the release that runs again after the end. Empty if there is none.
    sha256: String,
    /// `running`, `failed`, `refused` or `ended`.
    #[schema(value_type = String)]
    state: &'static str,
    /// Code of the reason for a failure or a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    reason: Option<&'static str>,
    /// Details for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// File of an error, or the section.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    /// Line of an error, from 1; 0 if it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    /// Column of an error, from 1; 0 if it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<u32>,
    /// Time from the order's arrival to the end of the script's first call, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<u64>,
}

impl From<DeveloperReport> for LeaseReportDto {
    fn from(report: DeveloperReport) -> Self {
        let (file, line, column) = match report.place {
            Some(place) => (Some(place.file), Some(place.line), Some(place.column)),
            None => (None, None, None),
        };
        Self {
            order: report.order,
            sha256: report.sha256,
            state: report.state.as_str(),
            reason: report.reason.map(|reason| reason.as_str()),
            detail: report.detail,
            file,
            line,
            column,
            ms: report.ms,
        }
    }
}

impl From<LeaseDevice> for LeaseDeviceDto {
    fn from(known: LeaseDevice) -> Self {
        Self {
            device: known.device,
            report: known.report.map(Into::into),
        }
    }
}

impl From<LeaseOrder> for LeaseOrderDto {
    fn from(order: LeaseOrder) -> Self {
        Self {
            id: order.id,
            sha256: order.sha256,
            size: order.size,
            sent: order.sent.into(),
        }
    }
}

impl From<Lease> for LeaseDto {
    fn from(lease: Lease) -> Self {
        let state = match lease.ended {
            Some((_, ending)) => ending.as_str(),
            None if lease.is_open(clock::now()) => "open",
            // The cloud has not marked it yet.
            None => LeaseEnding::Expired.as_str(),
        };
        Self {
            id: lease.id,
            state,
            devices: lease.devices.into_iter().map(Into::into).collect(),
            approved: lease.approved,
            author: lease.author,
            created: lease.created.into(),
            expires: lease.expires.into(),
            ended: lease.ended.map(|(at, _)| at.into()),
            order: lease.order.map(Into::into),
        }
    }
}

/// Developer lease.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OneLease {
    /// The lease.
    pub(crate) lease: LeaseDto,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}

/// Developer leases.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeaseList {
    /// The leases, newest first.
    pub(crate) leases: Vec<LeaseDto>,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}

/// Result of adding the key for developer orders.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeaseKey {
    /// True if the key was added; false if the trusted root of the project named one already.
    pub(crate) added: bool,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}
