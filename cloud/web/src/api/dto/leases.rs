//! JSON types for developer leases.

use std::borrow::Cow;

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
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LeaseDto {
    /// Id of the lease.
    #[schema(value_type = String, format = "uuid")]
    pub id: LeaseId,
    /// `open`, `revoked` or `expired`.
    #[schema(value_type = String)]
    pub state: Cow<'static, str>,
    /// Devices of the lease.
    pub devices: Vec<LeaseDeviceDto>,
    /// Approved capabilities.
    pub approved: Vec<String>,
    /// Name of the token that opened the lease.
    pub author: String,
    /// Time at which the lease was opened.
    pub created: Date,
    /// Time at which the devices return to their releases.
    pub expires: Date,
    /// Time at which the lease ended; left out while it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Date>,
    /// Newest order to the devices; left out before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<LeaseOrderDto>,
}

/// Order to the devices of a lease.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LeaseOrderDto {
    /// Id of the order. A device that connects later is sent the same script under another id: compare `sha256`.
    pub id: String,
    /// SHA-256 of the script, in hex; empty if the order ends the lease.
    pub sha256: String,
    /// Size of the script, in bytes.
    pub size: u64,
    /// Time at which the order was signed.
    pub sent: Date,
}

/// Device of a lease, with its last report about the orders of the lease.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LeaseDeviceDto {
    /// Id of the device.
    #[schema(value_type = String, format = "uuid")]
    pub device: DeviceId,
    /// Last report; left out before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<LeaseReportDto>,
}

/// Report of a device about an order of a lease.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LeaseReportDto {
    /// Id of the order.
    pub order: String,
    /// SHA-256 of the script, in hex; of the release that runs again after the end. Empty if there is none.
    pub sha256: String,
    /// `running`, `failed`, `refused` or `ended`.
    #[schema(value_type = String)]
    pub state: Cow<'static, str>,
    /// Code of the reason for a failure or a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub reason: Option<Cow<'static, str>>,
    /// Details for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// File of an error, or the section.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line of an error, from 1; 0 if it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Column of an error, from 1; 0 if it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// Time from the order's arrival to the end of the script's first call, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
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
            state: report.state.as_str().into(),
            reason: report.reason.map(|reason| reason.as_str().into()),
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
            state: state.into(),
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
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct OneLease {
    /// The lease.
    pub lease: LeaseDto,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Developer leases.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LeaseList {
    /// The leases, newest first.
    pub leases: Vec<LeaseDto>,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Result of adding the key for developer orders.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LeaseKey {
    /// True if the key was added; false if the trusted root of the project named one already.
    pub added: bool,
    /// HTTP status: always 200.
    pub status: u16,
}
