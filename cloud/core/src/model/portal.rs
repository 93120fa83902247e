//! Portals: links that show the deliveries of one webhook to people outside of the project, for a day.

use super::{PortalId, SecretHash, UnixMs, WebhookKey};

/// Time for which a portal is open, in milliseconds: a day.
pub const PORTAL_MS: UnixMs = 24 * 60 * 60 * 1000;
/// Maximum number of open portals of a webhook.
pub const MAX_PORTALS: i64 = 10;

/// Link to the deliveries of a webhook, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portal {
    /// Id of the portal.
    pub id: PortalId,
    /// Webhook whose deliveries it shows.
    pub key: WebhookKey,
    /// Name of the token or person that made it.
    pub author: String,
    /// Creation time.
    pub created: UnixMs,
    /// Time at which it ends.
    pub expires: UnixMs,
    /// Time of the last use, exact to a minute; none before the first.
    pub used: Option<UnixMs>,
}

impl Portal {
    /// Returns true if the portal is open at `now`.
    #[must_use]
    pub const fn is_open(&self, now: UnixMs) -> bool {
        // A creation in the future dates from before the clock was set back; it must not make the portal last longer.
        now < self.expires && now >= self.created.saturating_sub(PORTAL_MS)
    }
}

/// Portal to add.
#[derive(Debug, Clone)]
pub struct NewPortal {
    /// The portal.
    pub portal: Portal,
    /// Hash of the secret in the link.
    pub link: SecretHash,
    /// Hash of the cookie that a browser gets for the secret.
    pub cookie: SecretHash,
}
