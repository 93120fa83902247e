//! Latest values of devices.

use async_trait::async_trait;
use iottly_protocol::{DeviceId, ProjectId};

use crate::error::Result;
use iottly_core::series::Latest;

/// Store operations for the latest values of devices.
#[async_trait]
pub trait LatestStore: Send + Sync + 'static {
    /// Returns the latest values of some devices of a project, in no particular order; a device without values has none.
    async fn latest_of(&self, project: ProjectId, devices: &[DeviceId]) -> Result<Vec<(DeviceId, Latest)>>;
    /// Returns the latest values of the first `limit` devices of a project behind an id that have some, by id.
    async fn latest_after(
        &self,
        project: ProjectId,
        after: Option<DeviceId>,
        limit: usize,
    ) -> Result<Vec<(DeviceId, Latest)>>;
}
