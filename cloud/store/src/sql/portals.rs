//! Portals to the deliveries of webhooks, by the hashes of their secrets.

use async_trait::async_trait;
use iottly_protocol::ProjectId;

use super::db::{Conn, Row};
use super::{Backend, codec, full, missing};
use crate::{PortalStore, Result};
use iottly_core::model::{
    MAX_PORTALS, MessageId, NewPortal, Portal, PortalId, Scope, SecretHash, UnixMs, WebhookId, WebhookKey,
};

macro_rules! select {
    ($rest:literal) => {
        // A portal without its webhook shows nothing.
        concat!(
            "SELECT p.project, p.id, p.hook, p.author, p.created, p.expires, p.used FROM webhook_portals p \
             JOIN webhooks w ON w.project = p.project AND w.id = p.hook WHERE ",
            $rest
        )
    };
}

#[async_trait]
impl PortalStore for Backend {
    async fn portals(&self, key: WebhookKey, now: UnixMs) -> Result<Vec<Portal>> {
        let query = sqlx::query(select!(
            "p.project = $1 AND p.hook = $2 AND p.expires > $3 ORDER BY p.created, p.id"
        ))
        .bind(codec::id(&key.project))
        .bind(codec::id(&key.hook))
        .bind(now);
        query.fetch_all(&self.readers).await?.iter().map(portal).collect()
    }

    async fn portal_by_link(&self, link: SecretHash) -> Result<Option<Portal>> {
        let query = sqlx::query(select!("p.link = $1")).bind(&link.0[..]);
        let row = query.fetch_optional(&self.readers).await?;
        row.as_ref().map(portal).transpose()
    }

    async fn portal_by_cookie(&self, id: PortalId, cookie: SecretHash) -> Result<Option<Portal>> {
        let query = sqlx::query(select!("p.id = $1 AND p.cookie = $2"))
            .bind(codec::id(&id))
            .bind(&cookie.0[..]);
        let row = query.fetch_optional(&self.readers).await?;
        row.as_ref().map(portal).transpose()
    }

    async fn touch_portal(&self, project: ProjectId, id: PortalId, now: UnixMs) -> Result<()> {
        let mut writer = self.write().await?;
        sqlx::query("UPDATE webhook_portals SET used = $3 WHERE project = $1 AND id = $2")
            .bind(codec::id(&project))
            .bind(codec::id(&id))
            .bind(now)
            .execute(&mut *writer)
            .await?;
        Ok(())
    }

    async fn attempted(&self, key: WebhookKey, message: MessageId) -> Result<Option<(Scope, UnixMs)>> {
        let query = sqlx::query(
            "SELECT project, device, ts FROM webhook_attempts \
             WHERE project = $1 AND hook = $2 AND message = $3 AND device IS NOT NULL LIMIT 1",
        )
        .bind(codec::id(&key.project))
        .bind(codec::id(&key.hook))
        .bind(&message.0[..]);
        let row = query.fetch_optional(&self.readers).await?;
        row.map(|row| {
            Ok((
                codec::scope(&row, "webhook_attempts", "device")?,
                codec::get(&row, "ts")?,
            ))
        })
        .transpose()
    }
}

/// Opens a portal, within the limit of its webhook; those that are over make room.
pub(super) async fn open(tx: &mut Conn, new: &NewPortal, now: UnixMs) -> Result<u64> {
    let NewPortal { portal, link, cookie } = new;
    let WebhookKey { project, hook } = portal.key;
    let (project, id) = (codec::id(&project), codec::id(&hook));
    let known = sqlx::query("SELECT id FROM webhooks WHERE project = $1 AND id = $2")
        .bind(project)
        .bind(id)
        .fetch_optional(&mut *tx)
        .await?;
    missing(u64::from(known.is_some()), "webhook", &hook)?;
    sqlx::query("DELETE FROM webhook_portals WHERE project = $1 AND expires <= $2")
        .bind(project)
        .bind(now)
        .execute(&mut *tx)
        .await?;
    let row = sqlx::query("SELECT count(*) AS n FROM webhook_portals WHERE project = $1 AND hook = $2")
        .bind(project)
        .bind(id)
        .fetch_one(&mut *tx)
        .await?;
    full(codec::get(&row, "n")?, "open portals of the webhook", MAX_PORTALS)?;
    sqlx::query(
        "INSERT INTO webhook_portals (project, id, hook, link, cookie, author, created, expires) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(project)
    .bind(codec::id(&portal.id))
    .bind(id)
    .bind(&link.0[..])
    .bind(&cookie.0[..])
    .bind(codec::text(&portal.author))
    .bind(portal.created)
    .bind(portal.expires)
    .execute(tx)
    .await?;
    Ok(1)
}

pub(super) async fn close(tx: &mut Conn, project: ProjectId, hook: WebhookId, id: PortalId) -> Result<u64> {
    let done = sqlx::query("DELETE FROM webhook_portals WHERE project = $1 AND hook = $2 AND id = $3")
        .bind(codec::id(&project))
        .bind(codec::id(&hook))
        .bind(codec::id(&id))
        .execute(tx)
        .await?;
    missing(done.rows_affected(), "portal", &id)
}

/// Closes all portals of a webhook.
pub(super) async fn close_all(tx: &mut Conn, project: ProjectId, hook: WebhookId) -> Result<()> {
    sqlx::query("DELETE FROM webhook_portals WHERE project = $1 AND hook = $2")
        .bind(codec::id(&project))
        .bind(codec::id(&hook))
        .execute(tx)
        .await?;
    Ok(())
}

fn portal(row: &Row) -> Result<Portal> {
    Ok(Portal {
        id: PortalId::from_bytes(codec::bytes(row, "webhook_portals", "id")?),
        key: WebhookKey {
            project: codec::project(row, "webhook_portals", "project")?,
            hook: WebhookId::from_bytes(codec::bytes(row, "webhook_portals", "hook")?),
        },
        author: codec::get(row, "author")?,
        created: codec::get(row, "created")?,
        expires: codec::get(row, "expires")?,
        used: codec::get(row, "used")?,
    })
}
