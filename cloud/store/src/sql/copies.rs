//! Copies of devices.

use iottly_protocol::{BootId, DeviceId, ProjectId};

use super::codec;
use super::db::{Conn, Pool, Row};
use crate::{Result, StoreError};
use iottly_core::model::{CopyFate, DeviceCopy, Scope};

/// Returns all copies with their devices.
pub(super) async fn all(pool: &Pool) -> Result<Vec<(Scope, DeviceCopy)>> {
    let rows = sqlx::query(
        "SELECT project, device, number, boot, hardware, address, seen, fate FROM device_copies \
         ORDER BY project, device, number",
    )
    .fetch_all(pool)
    .await?;
    rows.iter().map(copy).collect()
}

fn copy(row: &Row) -> Result<(Scope, DeviceCopy)> {
    let number: i64 = codec::get(row, "number")?;
    let fate: i64 = codec::get(row, "fate")?;
    let copy = DeviceCopy {
        number: u32::try_from(number).unwrap_or(u32::MAX),
        boot: BootId::from_bytes(codec::bytes(row, "device_copies", "boot")?),
        hardware: codec::get(row, "hardware")?,
        address: codec::get(row, "address")?,
        seen: codec::get(row, "seen")?,
        fate: match fate {
            1 => CopyFate::Kept,
            2 => CopyFate::Left,
            _ => CopyFate::Open,
        },
    };
    Ok((codec::scope(row, "device_copies", "device")?, copy))
}

const fn number(fate: CopyFate) -> i64 {
    match fate {
        CopyFate::Open => 0,
        CopyFate::Kept => 1,
        CopyFate::Left => 2,
    }
}

/// Replaces the copies of a device.
pub(super) async fn put(tx: &mut Conn, scope: Scope, copies: &[DeviceCopy]) -> Result<()> {
    sqlx::query("DELETE FROM device_copies WHERE project = $1 AND device = $2")
        .bind(codec::id(&scope.project))
        .bind(codec::id(&scope.device))
        .execute(&mut *tx)
        .await?;
    for copy in copies {
        sqlx::query(
            "INSERT INTO device_copies (project, device, number, boot, hardware, address, seen, fate) \
             SELECT $1, $2, $3, $4, $5, $6, $7, $8 WHERE EXISTS (SELECT 1 FROM devices WHERE project = $1 AND id = $2)",
        )
        .bind(codec::id(&scope.project))
        .bind(codec::id(&scope.device))
        .bind(i64::from(copy.number))
        .bind(&copy.boot.as_bytes()[..])
        .bind(copy.hardware.as_deref())
        .bind(&copy.address)
        .bind(copy.seen)
        .bind(number(copy.fate))
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// Keeps one of the copies of a device.
pub(super) async fn keep(tx: &mut Conn, project: ProjectId, device: DeviceId, kept: u32) -> Result<u64> {
    let chosen = sqlx::query(
        "UPDATE device_copies SET fate = 1 WHERE project = $1 AND device = $2 AND number = $3 AND fate = 0",
    )
    .bind(codec::id(&project))
    .bind(codec::id(&device))
    .bind(i64::from(kept))
    .execute(&mut *tx)
    .await?;
    if chosen.rows_affected() == 0 {
        return Err(StoreError::Missing {
            what: "copy",
            name: kept.to_string(),
        });
    }
    sqlx::query("UPDATE device_copies SET fate = 2 WHERE project = $1 AND device = $2 AND fate = 0")
        .bind(codec::id(&project))
        .bind(codec::id(&device))
        .execute(&mut *tx)
        .await?;
    Ok(1)
}
