//! Portals: links that show the deliveries of a webhook. They are opened and closed through
//! [`ChangeStore`](crate::ChangeStore).

use async_trait::async_trait;
use iottly_protocol::ProjectId;

use crate::error::Result;
use iottly_core::model::{MessageId, Portal, PortalId, Scope, SecretHash, UnixMs, WebhookKey};

/// Store operations for portals.
#[async_trait]
pub trait PortalStore: Send + Sync + 'static {
    /// Returns the portals of a webhook that are open at `now`, oldest first.
    async fn portals(&self, key: WebhookKey, now: UnixMs) -> Result<Vec<Portal>>;
    /// Returns the portal with this hash of its link, open or not; none if its webhook is gone.
    async fn portal_by_link(&self, link: SecretHash) -> Result<Option<Portal>>;
    /// Returns the portal with this id and this hash of its cookie, open or not; none if its webhook is gone.
    async fn portal_by_cookie(&self, id: PortalId, cookie: SecretHash) -> Result<Option<Portal>>;
    /// Records the use of a portal.
    async fn touch_portal(&self, project: ProjectId, id: PortalId, now: UnixMs) -> Result<()>;
    /// Returns device and timestamp of a message that the log of a webhook has an attempt of.
    async fn attempted(&self, key: WebhookKey, message: MessageId) -> Result<Option<(Scope, UnixMs)>>;
}
