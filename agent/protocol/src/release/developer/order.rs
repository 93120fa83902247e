//! Orders of a developer lease: signed documents, and their bounds. Verifies signatures; admission is in
//! `admit`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::release::Reason;
use crate::release::signed::{self, Fault, Kind};
use crate::tuf::{Instant, RoleKeys, Root, Schemes, TufError};
use crate::{DeviceId, ProjectId};

/// Maximum number of devices of a lease.
pub const MAX_LEASE_DEVICES: usize = 16;
/// Maximum length of a lease, in seconds.
pub const MAX_LEASE_S: u64 = 8 * 3600;
/// Maximum size of an order, in bytes.
pub const MAX_ORDER_BYTES: usize = 16 << 10;
/// Maximum size of the script that comes with an order, in bytes: in base64 it fits in one publish.
pub const MAX_ORDER_SCRIPT_BYTES: usize = 1 << 20;
/// Highest counter of an order: the largest integer that every JSON reader represents exactly.
pub const MAX_ORDER_COUNTER: u64 = (1 << 53) - 1;
/// Maximum number of approved capabilities.
const MAX_APPROVED: usize = 64;
/// Maximum length of the id and of a capability's name, in bytes.
const MAX_NAME_BYTES: usize = 64;
/// Orders among the signed documents.
const KIND: Kind = Kind {
    role: "developer",
    domain: b"iottly developer order v1\n",
    max: MAX_ORDER_BYTES,
};

crate::uuid_id!(
    /// Id of a developer lease.
    LeaseId, "developer lease"
);

/// Order to the devices of a lease: which script to run until when, or to return to their release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeveloperOrder {
    /// Id of the order in reports.
    pub id: String,
    /// Lease of the order.
    pub lease: LeaseId,
    /// Project of the devices.
    pub project: ProjectId,
    /// Devices of the lease, 1 to [`MAX_LEASE_DEVICES`].
    pub devices: Vec<DeviceId>,
    /// Requested action.
    pub action: OrderAction,
    /// sha256 of the script as a component, 64 lower-case hex digits; empty for [`OrderAction::End`].
    pub sha256: String,
    /// Size of the component, in bytes, at most [`MAX_ORDER_SCRIPT_BYTES`]; 0 for [`OrderAction::End`].
    pub size: u64,
    /// Approved capabilities beyond those of the committed release.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approved: Vec<String>,
    /// First moment at which the order is valid.
    pub not_before: Instant,
    /// First moment at which the order is not valid any more: the devices return to their release then. At most
    /// [`MAX_LEASE_S`] after `not_before`.
    pub expires: Instant,
    /// Counter, strictly rising for each device; separate from that of directives.
    pub counter: u64,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// Action that an order requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OrderAction {
    /// Run the script in place of the release's firmware.
    Run,
    /// Return to the release; the lease is over.
    End,
}

/// Reason why bytes are not a valid order.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// The document is too long, not JSON, has another shape or breaks a bound.
    #[error("developer order: malformed: {0}")]
    Malformed(String),
    /// Too few of the keys for developer orders have signed.
    #[error("developer order: {0}")]
    Signature(#[from] TufError),
    /// The trusted root names no key for developer orders.
    #[error("developer order: the trusted root names no key for developer orders")]
    NoRole,
}

impl OrderError {
    /// Returns the reason that a device reports for the error.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Malformed(_) => Reason::BadSignature,
            Self::Signature(error) => error.reason(),
            Self::NoRole => Reason::UnknownKey,
        }
    }
}

impl From<Fault> for OrderError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Malformed(reason) => Self::Malformed(reason),
            Fault::Signature(error) => Self::Signature(error),
            Fault::NoRole => Self::NoRole,
        }
    }
}

impl DeveloperOrder {
    /// Parses an order that the keys of the trusted root have signed.
    ///
    /// # Errors
    /// The document is malformed, breaks a bound, or is not signed by enough of those keys.
    pub fn verify(bytes: &[u8], root: &Root, schemes: Schemes) -> Result<Self, OrderError> {
        let order: Self = signed::verify(&KIND, bytes, root, schemes)?;
        order.check().map_err(OrderError::Malformed)?;
        Ok(order)
    }

    /// Checks the bounds that hold for every order, also a signed one: 16 devices, eight hours, sizes of texts and lists.
    ///
    /// # Errors
    /// Names the first bound that is broken.
    pub fn check(&self) -> Result<(), String> {
        let plain = |text: &str| {
            !text.is_empty() && text.len() <= MAX_NAME_BYTES && !text.chars().any(char::is_control)
        };
        if !plain(&self.id) {
            return Err(format!("its id is not 1 to {MAX_NAME_BYTES} bytes of plain text"));
        }
        if self.devices.is_empty() || self.devices.len() > MAX_LEASE_DEVICES {
            return Err(format!(
                "it names {} devices, 1 to {MAX_LEASE_DEVICES} are allowed",
                self.devices.len()
            ));
        }
        if self.devices.iter().collect::<BTreeSet<_>>().len() != self.devices.len() {
            return Err("it names a device twice".to_owned());
        }
        if self.approved.len() > MAX_APPROVED || !self.approved.iter().all(|name| plain(name)) {
            return Err(format!(
                "it approves more than {MAX_APPROVED} capabilities, or one that is not 1 to {MAX_NAME_BYTES} bytes of plain text"
            ));
        }
        if self.counter == 0 || self.counter > MAX_ORDER_COUNTER {
            return Err(format!("its counter is not 1 to {MAX_ORDER_COUNTER}"));
        }
        let length = self.expires.unix().checked_sub(self.not_before.unix());
        if !length.is_some_and(|length| (1..=MAX_LEASE_S).contains(&length)) {
            return Err(format!("it is not valid for 1 to {MAX_LEASE_S} seconds"));
        }
        let is_digest = self.sha256.len() == 64
            && self
                .sha256
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match self.action {
            OrderAction::Run if !is_digest => Err("its sha256 is not 64 lower-case hex digits".to_owned()),
            OrderAction::Run if self.size == 0 || self.size > MAX_ORDER_SCRIPT_BYTES as u64 => Err(format!(
                "its script has {} bytes, 1 to {MAX_ORDER_SCRIPT_BYTES} are allowed",
                self.size
            )),
            OrderAction::End if !self.sha256.is_empty() || self.size != 0 => {
                Err("it ends the lease and names a script".to_owned())
            }
            OrderAction::Run | OrderAction::End => Ok(()),
        }
    }

    /// Returns the signed document.
    ///
    /// # Errors
    /// An unknown field has a fraction in it.
    #[cfg(feature = "sign")]
    pub fn sign(&self, keys: &[&crate::tuf::SigningKey]) -> Result<Vec<u8>, serde_json::Error> {
        signed::sign(&KIND, self, keys)
    }
}

/// Returns the keys and the threshold for developer orders that the trusted root names; none if it names none,
/// which is so for roots that were signed before the role existed.
#[must_use]
pub fn developer_role(root: &Root) -> Option<RoleKeys> {
    signed::role(root, KIND.role)
}
