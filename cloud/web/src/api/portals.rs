//! Endpoints for portals: links by which people outside of the project see the deliveries of one webhook, for a day. The
//! secret of a link is only in the response that makes it.

use axum::extract::Path;

use super::Answer;
use super::dto::{Done, OK, OpenedPortal, PortalDto, PortalList};
use super::spaced::Spaced;
use super::webhooks::{may_read, named};
use crate::auth::{ProjectAccess, hash_secret};
use crate::error::ApiError;
use crate::random;
use iottly_cloud::clock;
use iottly_core::model::{Change, NewPortal, PORTAL_MS, Portal, PortalId};

/// Purpose of the cookie that is derived from a link's secret.
const COOKIE_OF_LINK: &str = "iottly portal: cookie of a link, 2026";

/// Returns the cookie that a browser gets for the secret of a link. The secret cannot be computed from it, so that a browser
/// does not hold the link.
pub(crate) fn cookie_of(secret: &str) -> String {
    random::base62(&blake3::derive_key(COOKIE_OF_LINK, secret.as_bytes()), 43)
}

/// Lists the open portals of a webhook, oldest first.
#[utoipa::path(
    get,
    path = "/webhooks/{webhook}/portals",
    tag = "webhooks",
    responses((status = 200, description = "The open portals", body = PortalList))
)]
pub(crate) async fn all(access: ProjectAccess, Path((_, id)): Path<(String, String)>) -> Answer<PortalList> {
    let key = named(&access, &id).await?.hook.key;
    let portals = access.services().store.portals(key, clock::now()).await?;
    Ok(Spaced(PortalList {
        portals: portals.into_iter().map(PortalDto::from).collect(),
        status: OK,
    }))
}

/// Opens a portal: a link that shows the deliveries of this webhook and replays them, for a day and without a login.
///
/// The link is in this response only. It shows the bodies of requests and the answers to them, and no secrets.
#[utoipa::path(
    post,
    path = "/webhooks/{webhook}/portals",
    tag = "webhooks",
    responses((status = 200, description = "The portal with its link", body = OpenedPortal))
)]
pub(crate) async fn open(
    access: ProjectAccess,
    Path((_, id)): Path<(String, String)>,
) -> Answer<OpenedPortal> {
    may_read(&access)?;
    let key = named(&access, &id).await?.hook.key;
    let (secret, now) = (random::secret()?, clock::now());
    let portal = Portal {
        id: PortalId::random(),
        key,
        author: access.principal().name.clone(),
        created: now,
        expires: now.saturating_add(PORTAL_MS),
        used: None,
    };
    let new = NewPortal {
        portal: portal.clone(),
        link: hash_secret(secret.as_bytes()),
        cookie: hash_secret(cookie_of(&secret).as_bytes()),
    };
    access.change(Change::OpenPortal(Box::new(new)), now).await?;
    Ok(Spaced(OpenedPortal {
        portal: portal.into(),
        path: format!("/portal/open?key={secret}"),
        status: OK,
    }))
}

/// Closes a portal at once.
#[utoipa::path(
    delete,
    path = "/webhooks/{webhook}/portals/{portal}",
    tag = "webhooks",
    responses((status = 200, description = "The portal was closed", body = Done))
)]
pub(crate) async fn close(
    access: ProjectAccess,
    Path((_, id, portal)): Path<(String, String, String)>,
) -> Answer<Done> {
    may_read(&access)?;
    let key = named(&access, &id).await?.hook.key;
    let portal: PortalId = portal
        .parse()
        .map_err(|_| ApiError::missing("webhook has no such portal"))?;
    access
        .change(Change::ClosePortal(key.hook, portal), clock::now())
        .await?;
    Ok(Done::answer())
}
