//! Limits and usage of projects.

use async_trait::async_trait;
use iottly_protocol::ProjectId;

use crate::error::Result;
use iottly_core::model::{HourUsage, Limits, MinuteUsage, UnixMs, Usage};

/// Store operations for limits and usage of projects.
#[async_trait]
pub trait UsageStore: Send + Sync + 'static {
    /// Returns the limits of a project; none if the project does not exist.
    async fn limits(&self, project: ProjectId) -> Result<Option<Limits>>;
    /// Returns the usage of a project.
    async fn usage(&self, project: ProjectId, now: UnixMs) -> Result<Usage>;
    /// Returns the numbers of messages stored in the whole minutes from `from` until before `to`, oldest first; minutes
    /// without messages are left out, and older ones than a day are not kept.
    async fn minutes(&self, project: ProjectId, from: UnixMs, to: UnixMs) -> Result<Vec<MinuteUsage>>;
    /// Returns the hourly usage of a project: the hours whose messages are still stored, oldest first, at
    /// most 10,000.
    async fn hours(&self, project: ProjectId) -> Result<Vec<HourUsage>>;
}
