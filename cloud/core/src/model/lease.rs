//! Developer leases, as the store keeps them. Decides nothing.

use iottly_protocol::DeviceId;
use iottly_protocol::release::{DeveloperReport, LeaseId};
use serde_json::value::RawValue;

use super::UnixMs;

/// Maximum number of open leases of a project.
pub const MAX_OPEN_LEASES: i64 = 16;

/// Permission to run scripts that are not released on some devices for some hours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Id of the lease.
    pub id: LeaseId,
    /// Devices of the lease that still exist, by id.
    pub devices: Vec<LeaseDevice>,
    /// Approved capabilities beyond those of the devices' committed releases.
    pub approved: Vec<String>,
    /// Name of the token that opened the lease.
    pub author: String,
    /// Time at which the lease was opened.
    pub created: UnixMs,
    /// Time at which the devices return to their releases.
    pub expires: UnixMs,
    /// Time and reason of the end; none while the lease is open, and until the cloud has noticed that its time is
    /// over.
    pub ended: Option<(UnixMs, LeaseEnding)>,
    /// Newest order; none before the first.
    pub order: Option<LeaseOrder>,
}

impl Lease {
    /// Returns true while devices may be sent scripts.
    #[must_use]
    pub const fn is_open(&self, now: UnixMs) -> bool {
        self.ended.is_none() && now < self.expires
    }
}

/// Reason for which a lease ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseEnding {
    /// Ended before the lease's time was over.
    Revoked,
    /// The lease's time was over.
    Expired,
}

impl LeaseEnding {
    /// Returns the name in the database and in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Expired => "expired",
        }
    }
}

/// Newest order of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseOrder {
    /// Id of the order.
    pub id: String,
    /// Counter of the order.
    pub counter: u64,
    /// sha256 of the script, hex; empty if the order ends the lease.
    pub sha256: String,
    /// Size of the script, in bytes.
    pub size: u64,
    /// Time at which the order was signed.
    pub sent: UnixMs,
}

/// Device of a lease, with what it reported last about the lease's orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseDevice {
    /// Id of the device.
    pub device: DeviceId,
    /// Last report; none before the first.
    pub report: Option<DeveloperReport>,
}

/// A lease to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLease {
    /// Id of the lease.
    pub id: LeaseId,
    /// Devices of the lease.
    pub devices: Vec<DeviceId>,
    /// Approved capabilities.
    pub approved: Vec<String>,
    /// Time at which the devices return to their releases.
    pub expires: UnixMs,
}

/// A signed order to store and to send.
#[derive(Debug, Clone)]
pub struct OutgoingOrder {
    /// Lease of the order.
    pub lease: LeaseId,
    /// Order, without its script.
    pub order: LeaseOrder,
    /// Signed document.
    pub document: Box<RawValue>,
    /// Script as a component; none if the order ends the lease.
    pub script: Option<Vec<u8>>,
}
