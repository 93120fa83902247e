//! Devices, their settings and their pair codes. Changes to them are in [`ChangeStore`](crate::ChangeStore).

use async_trait::async_trait;
use iottly_protocol::{DeviceId, GroupId, ProjectId};

use crate::error::Result;
use iottly_core::history::Sender;
use iottly_core::model::{Device, PairCode, Scope, SecretHash, SettingsState, UnixMs};

/// A device to create.
#[derive(Debug, Clone)]
pub struct NewDevice {
    /// Project and id.
    pub scope: Scope,
    /// Name of the device.
    pub name: String,
    /// Group of the device.
    pub group: GroupId,
    /// Hash of the broker secret.
    pub secret: SecretHash,
}

/// Store operations for devices, their settings and their pair codes.
#[async_trait]
pub trait DeviceStore: Send + Sync + 'static {
    /// Creates a device.
    async fn create_device(&self, device: &NewDevice) -> Result<()>;
    /// Returns the devices of a project, by name, then id.
    async fn devices(&self, project: ProjectId) -> Result<Vec<Device>>;
    /// Returns one device; none when the project has no such device.
    async fn device(&self, scope: Scope) -> Result<Option<Device>>;
    /// Returns what filters over messages may ask of a device; none when the project has no such device.
    async fn sender(&self, scope: Scope) -> Result<Option<Sender>>;
    /// Returns the desired and the acknowledged settings of a device; none if the device does not exist.
    async fn device_settings(&self, scope: Scope) -> Result<Option<SettingsState>>;
    /// Returns scope and secret hash of a device that logs in to the broker. The only look-up that does not
    /// take a project.
    async fn device_credentials(&self, device: DeviceId) -> Result<Option<(Scope, SecretHash)>>;
    /// Returns the devices of all projects that are recorded as online. For the cloud's own start and checks.
    async fn online_devices(&self) -> Result<Vec<Scope>>;
    /// Returns the number of devices of all projects that are recorded as online. For the cloud's own metrics.
    async fn online_count(&self) -> Result<u64>;
    /// Returns devices of all projects whose planned absence ended after `after` and until `until`, at most `limit`. For
    /// the cloud's own live events.
    async fn absences_ended(&self, after: UnixMs, until: UnixMs, limit: usize) -> Result<Vec<Scope>>;
    /// Returns the pair codes of a project, oldest first.
    async fn pair_codes(&self, project: ProjectId) -> Result<Vec<PairCode>>;
    /// Returns the first `limit` pair codes of a project behind a code, by code.
    async fn pair_code_page(
        &self,
        project: ProjectId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<PairCode>>;
    /// Returns a pair code of a project.
    async fn pair_code(&self, project: ProjectId, code: &str) -> Result<Option<PairCode>>;
}
