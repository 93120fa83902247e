//! Developer leases, for reading, and what is written about them without a change of the project.

use async_trait::async_trait;
use iottly_protocol::ProjectId;
use iottly_protocol::release::LeaseId;
use serde_json::value::RawValue;

use crate::error::Result;
use iottly_core::model::{Lease, OutgoingOrder, Scope, UnixMs};

/// Order that a device may still have to follow.
#[derive(Debug, Clone)]
pub struct OpenOrder {
    /// Lease of the order.
    pub lease: Lease,
    /// Signed document.
    pub document: Box<RawValue>,
    /// Script of the order; none if the order ends the lease.
    pub script: Option<Vec<u8>>,
}

/// Store operations for developer leases.
#[async_trait]
pub trait LeaseStore: Send + Sync + 'static {
    /// Returns the leases of a project, newest first. Their number is bounded.
    async fn leases(&self, project: ProjectId) -> Result<Vec<Lease>>;
    /// Returns one lease.
    async fn lease(&self, project: ProjectId, id: LeaseId) -> Result<Option<Lease>>;
    /// Returns the highest counter of the orders of a project's leases; 0 for none.
    async fn order_counter(&self, project: ProjectId) -> Result<u64>;
    /// Returns the newest order for a device of the leases whose time is not over.
    async fn open_order(&self, scope: Scope, now: UnixMs) -> Result<Option<OpenOrder>>;
    /// Replaces the newest order of an open lease by one about the same script. Returns false, without writing,
    /// when the lease has another order meanwhile.
    async fn renew_order(&self, project: ProjectId, before: u64, order: &OutgoingOrder) -> Result<bool>;
    /// Marks the leases of all projects whose time is over, and drops their orders. Returns their number. For the
    /// cloud's own housekeeping.
    async fn expire_leases(&self, now: UnixMs) -> Result<u64>;
}
