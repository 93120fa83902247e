//! Answers of the cloud to a request to enrol.

use serde::{Deserialize, Serialize};

use super::{RenewedSecret, ShortCode};
use crate::{DeviceId, GroupId, ProjectId};

/// Answer to a request to enrol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum EnrollAnswer {
    /// The device has its place.
    Enrolled(Enrolled),
    /// An operator has to approve the device; the device asks again with the same request, which is its device code in
    /// the sense of RFC 8628.
    Waiting(Waiting),
    /// The same, for a device that asked too early: its interval is longer from now on.
    SlowDown(Waiting),
    /// An operator has rejected the device.
    Denied,
    /// The time of the short code is over; the next request gets a new one.
    Expired,
}

/// Place of a device in a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// Id of the device.
    pub device_id: DeviceId,
    /// Project of the device.
    pub project_id: ProjectId,
    /// Group of the device at the time of its enrolment.
    pub group_id: GroupId,
    /// Name of the device.
    pub name: String,
    /// First secret of the broker login.
    #[serde(flatten)]
    pub login: RenewedSecret,
    /// Root metadata of the project's releases that the device trusts first, as JSON text.
    pub root: String,
}

/// Request that waits for an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Code by which the operator names the device.
    pub short_code: ShortCode,
    /// Interval in which the device asks again, in milliseconds.
    pub poll_ms: u64,
    /// Time for which the request waits from now on if it is not repeated, in milliseconds.
    pub expires_ms: u64,
}
