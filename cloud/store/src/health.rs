//! Latest report of each device about its health.

use async_trait::async_trait;
use iottly_core::health::DeviceHealth;
use iottly_core::model::Scope;

use crate::error::Result;

/// Store operations for the health of devices.
#[async_trait]
pub trait HealthStore: Send + Sync + 'static {
    /// Replaces the reports of devices in one transaction; those of unknown devices are ignored. Callers bound their number.
    async fn put_health(&self, reports: &[(Scope, DeviceHealth)]) -> Result<()>;
    /// Returns the latest report of a device; none if it never sent one.
    async fn device_health(&self, scope: Scope) -> Result<Option<DeviceHealth>>;
}
