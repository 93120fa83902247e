//! JSON types of portals.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Date;
use iottly_core::model::{Portal, PortalId};

/// Link by which people outside of the project see the deliveries of a webhook, without its secret.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = Portal)]
pub struct PortalDto {
    /// Id of the portal.
    #[schema(value_type = String, format = "uuid")]
    pub id: PortalId,
    /// Name of the token or person that made it.
    pub author: String,
    /// Creation time.
    pub created: Date,
    /// Time at which it ends.
    pub expires: Date,
    /// Time of the last use, exact to a minute; null before the first.
    pub used: Option<Date>,
}

impl From<Portal> for PortalDto {
    fn from(portal: Portal) -> Self {
        Self {
            id: portal.id,
            author: portal.author,
            created: portal.created.into(),
            expires: portal.expires.into(),
            used: portal.used.map(Into::into),
        }
    }
}

/// Open portals of a webhook.
#[derive(Serialize, ToSchema)]
pub(crate) struct PortalList {
    /// Portals, oldest first.
    pub(crate) portals: Vec<PortalDto>,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}

/// New portal with its link.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct OpenedPortal {
    /// The portal.
    pub portal: PortalDto,
    /// Path of the link, with its secret: to be put behind the address of the cloud.
    pub path: String,
    /// HTTP status: always 200.
    pub status: u16,
}
