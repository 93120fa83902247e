//! Developer leases and their orders. Signs and sends nothing.

use std::collections::BTreeMap;

use async_trait::async_trait;
use iottly_protocol::release::{DeveloperReport, DeveloperState, LeaseId, Reason};
use iottly_protocol::{DeviceId, ProjectId};

use super::db::{Conn, Pool, Row};
use super::{Backend, codec, full, missing};
use crate::{LeaseStore, OpenOrder, Result, StoreError};
use iottly_core::model::{
    Lease, LeaseDevice, LeaseEnding, LeaseOrder, MAX_OPEN_LEASES, NewLease, OutgoingOrder, Scope, UnixMs,
};

/// Number of the newest leases of a project that are kept, beside those that are open.
const KEPT: i64 = 64;

#[async_trait]
impl LeaseStore for Backend {
    async fn leases(&self, project: ProjectId) -> Result<Vec<Lease>> {
        let rows = sqlx::query(
            "SELECT id, author, approved, created, expires, ended, ending, counter, order_id, sha256, size, sent \
             FROM developer_leases WHERE project = $1 ORDER BY created DESC, id",
        )
        .bind(codec::id(&project))
        .fetch_all(&self.readers)
        .await?;
        let mut devices = devices(&self.readers, project, None).await?;
        rows.iter().map(|row| lease(row, &mut devices)).collect()
    }

    async fn lease(&self, project: ProjectId, id: LeaseId) -> Result<Option<Lease>> {
        one(&self.readers, project, id).await
    }

    async fn order_counter(&self, project: ProjectId) -> Result<u64> {
        let row = sqlx::query(
            "SELECT coalesce(max(counter), 0) AS counter FROM developer_leases WHERE project = $1",
        )
        .bind(codec::id(&project))
        .fetch_one(&self.readers)
        .await?;
        codec::unsigned(codec::get(&row, "counter")?, "developer_leases", "counter")
    }

    async fn open_order(&self, scope: Scope, now: UnixMs) -> Result<Option<OpenOrder>> {
        let row = sqlx::query(
            "SELECT l.id, l.document, l.script FROM developer_lease_devices d \
             JOIN developer_leases l ON l.project = d.project AND l.id = d.lease \
             WHERE d.project = $1 AND d.device = $2 AND l.expires > $3 AND l.document IS NOT NULL \
             ORDER BY l.counter DESC LIMIT 1",
        )
        .bind(codec::id(&scope.project))
        .bind(codec::id(&scope.device))
        .bind(now)
        .fetch_optional(&self.readers)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let id = LeaseId::from_bytes(codec::bytes(&row, "developer_leases", "id")?);
        let Some(lease) = one(&self.readers, scope.project, id).await? else {
            return Ok(None);
        };
        Ok(Some(OpenOrder {
            lease,
            document: codec::raw(&row, "developer_leases", "document")?,
            script: codec::get(&row, "script")?,
        }))
    }

    async fn renew_order(&self, project: ProjectId, before: u64, order: &OutgoingOrder) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE developer_leases SET counter = $4, order_id = $5, document = $6, sent = $7 \
             WHERE project = $1 AND id = $2 AND counter = $3 AND ended IS NULL",
        )
        .bind(codec::id(&project))
        .bind(codec::id(&order.lease))
        .bind(codec::signed(before))
        .bind(codec::signed(order.order.counter))
        .bind(&order.order.id)
        .bind(order.document.get())
        .bind(order.order.sent)
        .execute(&mut *self.write().await?)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    async fn expire_leases(&self, now: UnixMs) -> Result<u64> {
        // Mostly there are none; checking with a reader keeps the writer free.
        let due = sqlx::query(
            "SELECT 1 AS due FROM developer_leases WHERE expires <= $1 AND (ended IS NULL OR document IS NOT NULL) LIMIT 1",
        )
        .bind(now)
        .fetch_optional(&self.readers)
        .await?;
        if due.is_none() {
            return Ok(0);
        }
        let mut writer = self.write().await?;
        let ended = sqlx::query(
            "UPDATE developer_leases SET ended = expires, ending = $2 WHERE expires <= $1 AND ended IS NULL",
        )
        .bind(now)
        .bind(LeaseEnding::Expired.as_str())
        .execute(&mut *writer)
        .await?;
        sqlx::query(
            "UPDATE developer_leases SET document = NULL, script = NULL WHERE expires <= $1 AND document IS NOT NULL",
        )
        .bind(now)
        .execute(&mut *writer)
        .await?;
        Ok(ended.rows_affected())
    }
}

/// Opens a lease on devices that are in no other open one.
pub(super) async fn open(
    tx: &mut Conn,
    project: ProjectId,
    new: &NewLease,
    author: &str,
    now: UnixMs,
) -> Result<u64> {
    let row = sqlx::query(
        "SELECT count(*) AS open FROM developer_leases WHERE project = $1 AND ended IS NULL AND expires > $2",
    )
    .bind(codec::id(&project))
    .bind(now)
    .fetch_one(&mut *tx)
    .await?;
    full(
        codec::get(&row, "open")?,
        "open developer leases",
        MAX_OPEN_LEASES,
    )?;
    let approved = serde_json::to_string(&new.approved).expect("texts serialize without failing");
    sqlx::query(
        "INSERT INTO developer_leases (project, id, author, approved, created, expires, counter) \
         VALUES ($1, $2, $3, $4, $5, $6, 0)",
    )
    .bind(codec::id(&project))
    .bind(codec::id(&new.id))
    .bind(author)
    .bind(approved)
    .bind(now)
    .bind(new.expires)
    .execute(&mut *tx)
    .await?;
    for device in &new.devices {
        add_device(tx, project, new.id, *device, now).await?;
    }
    forget_old(tx, project, now).await?;
    Ok(1)
}

async fn add_device(
    tx: &mut Conn,
    project: ProjectId,
    lease: LeaseId,
    device: DeviceId,
    now: UnixMs,
) -> Result<()> {
    let known = sqlx::query("SELECT id FROM devices WHERE project = $1 AND id = $2")
        .bind(codec::id(&project))
        .bind(codec::id(&device))
        .fetch_optional(&mut *tx)
        .await?;
    missing(u64::from(known.is_some()), "device", &device)?;
    let other = sqlx::query(
        "SELECT l.id FROM developer_lease_devices d JOIN developer_leases l ON l.project = d.project AND l.id = d.lease \
         WHERE d.project = $1 AND d.device = $2 AND l.ended IS NULL AND l.expires > $3",
    )
    .bind(codec::id(&project))
    .bind(codec::id(&device))
    .bind(now)
    .fetch_optional(&mut *tx)
    .await?;
    if let Some(row) = other {
        let other = LeaseId::from_bytes(codec::bytes(&row, "developer_leases", "id")?);
        return Err(StoreError::Refused(format!(
            "device {device} is under the developer lease {other} until that ends"
        )));
    }
    sqlx::query("INSERT INTO developer_lease_devices (project, lease, device) VALUES ($1, $2, $3)")
        .bind(codec::id(&project))
        .bind(codec::id(&lease))
        .bind(codec::id(&device))
        .execute(tx)
        .await?;
    Ok(())
}

/// Deletes leases that are over and not among the newest [`KEPT`]. The one with the highest counter stays, so that counters
/// continue to rise.
async fn forget_old(tx: &mut Conn, project: ProjectId, now: UnixMs) -> Result<()> {
    sqlx::query(
        "DELETE FROM developer_leases WHERE project = $1 AND (ended IS NOT NULL OR expires <= $2) AND id NOT IN \
         (SELECT id FROM developer_leases WHERE project = $1 ORDER BY counter DESC, created DESC LIMIT $3)",
    )
    .bind(codec::id(&project))
    .bind(now)
    .bind(KEPT)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "DELETE FROM developer_lease_devices WHERE project = $1 AND lease NOT IN \
         (SELECT id FROM developer_leases WHERE project = $1)",
    )
    .bind(codec::id(&project))
    .execute(tx)
    .await?;
    Ok(())
}

/// Stores a signed order of an open lease. Its counter is above all of the project's.
pub(super) async fn order(
    tx: &mut Conn,
    project: ProjectId,
    order: &OutgoingOrder,
    now: UnixMs,
) -> Result<u64> {
    let stored = sqlx::query(
        "UPDATE developer_leases SET counter = $4, order_id = $5, sha256 = $6, size = $7, sent = $8, document = $9, \
         script = $10 WHERE project = $1 AND id = $2 AND ended IS NULL AND expires > $3 \
         AND $4 > (SELECT max(counter) FROM developer_leases WHERE project = $1)",
    )
    .bind(codec::id(&project))
    .bind(codec::id(&order.lease))
    .bind(now)
    .bind(codec::signed(order.order.counter))
    .bind(&order.order.id)
    .bind(&order.order.sha256)
    .bind(codec::signed(order.order.size))
    .bind(order.order.sent)
    .bind(order.document.get())
    .bind(order.script.as_deref())
    .execute(tx)
    .await?;
    if stored.rows_affected() == 0 {
        return Err(StoreError::Refused(
            "the developer lease has ended, or another order was given meanwhile".to_owned(),
        ));
    }
    Ok(1)
}

/// Ends an open lease. The order to end it is kept for its devices until the lease's time is over. Returns 0 if it has
/// ended before.
pub(super) async fn end(
    tx: &mut Conn,
    project: ProjectId,
    lease: LeaseId,
    last: Option<&OutgoingOrder>,
    now: UnixMs,
) -> Result<u64> {
    if let Some(last) = last {
        order(tx, project, last, now).await?;
    }
    let ended = sqlx::query(
        "UPDATE developer_leases SET ended = $3, ending = $4, script = NULL \
         WHERE project = $1 AND id = $2 AND ended IS NULL AND expires > $3",
    )
    .bind(codec::id(&project))
    .bind(codec::id(&lease))
    .bind(now)
    .bind(LeaseEnding::Revoked.as_str())
    .execute(tx)
    .await?;
    Ok(ended.rows_affected())
}

/// Keeps the last report of a device about the orders of a lease.
pub(super) async fn reported(tx: &mut Conn, scope: Scope, report: &DeveloperReport) -> Result<()> {
    let Some(lease) = report.lease else { return Ok(()) };
    let mut report = report.clone();
    // A device that is not under the lease has nothing to end.
    if (report.state, report.reason) == (DeveloperState::Refused, Some(Reason::NotLeased)) {
        report.state = DeveloperState::Ended;
    }
    let text =
        serde_json::to_string(&report).expect("a report has string keys and serializes without failing");
    sqlx::query(
        "UPDATE developer_lease_devices SET report = $4 WHERE project = $1 AND device = $2 AND lease = $3",
    )
    .bind(codec::id(&scope.project))
    .bind(codec::id(&scope.device))
    .bind(codec::id(&lease))
    .bind(text)
    .execute(tx)
    .await?;
    Ok(())
}

async fn one(pool: &Pool, project: ProjectId, id: LeaseId) -> Result<Option<Lease>> {
    let row = sqlx::query(
        "SELECT id, author, approved, created, expires, ended, ending, counter, order_id, sha256, size, sent \
         FROM developer_leases WHERE project = $1 AND id = $2",
    )
    .bind(codec::id(&project))
    .bind(codec::id(&id))
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let mut devices = devices(pool, project, Some(id)).await?;
    lease(&row, &mut devices).map(Some)
}

type Devices = BTreeMap<LeaseId, Vec<LeaseDevice>>;

/// Returns the devices of a lease, or of all leases of a project, by id.
async fn devices(pool: &Pool, project: ProjectId, lease: Option<LeaseId>) -> Result<Devices> {
    let all = "SELECT lease, device, report FROM developer_lease_devices WHERE project = $1 ORDER BY device";
    let some = "SELECT lease, device, report FROM developer_lease_devices WHERE project = $1 AND lease = $2 ORDER BY device";
    let query = match &lease {
        Some(lease) => sqlx::query(some).bind(codec::id(&project)).bind(codec::id(lease)),
        None => sqlx::query(all).bind(codec::id(&project)),
    };
    let mut devices = Devices::new();
    for row in query.fetch_all(pool).await? {
        let table = "developer_lease_devices";
        let report = codec::get::<Option<&str>>(&row, "report")?;
        devices
            .entry(LeaseId::from_bytes(codec::bytes(&row, table, "lease")?))
            .or_default()
            .push(LeaseDevice {
                device: DeviceId::from_bytes(codec::bytes(&row, table, "device")?),
                report: report
                    .map(|text| codec::json(text, table, "report"))
                    .transpose()?,
            });
    }
    Ok(devices)
}

fn lease(row: &Row, devices: &mut Devices) -> Result<Lease> {
    let table = "developer_leases";
    let id = LeaseId::from_bytes(codec::bytes(row, table, "id")?);
    let ending = match codec::get::<Option<&str>>(row, "ending")? {
        None => None,
        Some("revoked") => Some(LeaseEnding::Revoked),
        Some("expired") => Some(LeaseEnding::Expired),
        Some(word) => return Err(codec::corrupt(table, "ending", format!("unknown word {word:?}"))),
    };
    let order = match codec::get::<Option<String>>(row, "order_id")? {
        Some(order) => Some(LeaseOrder {
            id: order,
            counter: codec::unsigned(codec::get(row, "counter")?, table, "counter")?,
            sha256: codec::get::<Option<String>>(row, "sha256")?.unwrap_or_default(),
            size: codec::unsigned(
                codec::get::<Option<i64>>(row, "size")?.unwrap_or(0),
                table,
                "size",
            )?,
            sent: codec::get::<Option<UnixMs>>(row, "sent")?.unwrap_or(0),
        }),
        None => None,
    };
    Ok(Lease {
        id,
        devices: devices.remove(&id).unwrap_or_default(),
        approved: codec::json(codec::get(row, "approved")?, table, "approved")?,
        author: codec::get(row, "author")?,
        created: codec::get(row, "created")?,
        expires: codec::get(row, "expires")?,
        ended: codec::get::<Option<UnixMs>>(row, "ended")?.zip(ending),
        order,
    })
}
