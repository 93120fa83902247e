//! Settings of devices: the desired and the acknowledged ones.

use iottly_protocol::{ConfigReport, DeviceConfig, DeviceId, ProjectId};
use serde_json::value::RawValue;

use super::db::{Conn, Pool};
use super::{codec, missing};
use crate::Result;
use iottly_core::model::{AcknowledgedSettings, Scope, SettingsState, UnixMs};

/// Sets the settings of a device; changes nothing when their text is the same.
pub(super) async fn set(
    tx: &mut Conn,
    project: ProjectId,
    device: DeviceId,
    values: &RawValue,
    now: UnixMs,
) -> Result<u64> {
    let (project, id) = (codec::id(&project), codec::id(&device));
    let known = sqlx::query("SELECT id FROM devices WHERE project = $1 AND id = $2")
        .bind(project)
        .bind(id);
    missing(
        u64::from(known.fetch_optional(&mut *tx).await?.is_some()),
        "device",
        &device,
    )?;
    let done = sqlx::query(
        "UPDATE devices SET config = $3, config_version = config_version + 1, config_changed = $4 \
         WHERE project = $1 AND id = $2 AND (config IS NULL OR config <> $3)",
    );
    Ok(done
        .bind(project)
        .bind(id)
        .bind(values.get())
        .bind(now)
        .execute(tx)
        .await?
        .rows_affected())
}

pub(super) async fn one(pool: &Pool, scope: Scope) -> Result<Option<SettingsState>> {
    let row = sqlx::query(
        "SELECT config, config_version, config_changed, config_taken, config_taken_at FROM devices WHERE project = $1 AND id = $2",
    );
    let row = row
        .bind(codec::id(&scope.project))
        .bind(codec::id(&scope.device))
        .fetch_optional(pool)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let desired = match codec::get::<Option<&str>>(&row, "config")? {
        Some(_) => {
            let version = codec::unsigned(codec::get(&row, "config_version")?, "devices", "config_version")?;
            Some((
                DeviceConfig {
                    version,
                    values: codec::raw(&row, "devices", "config")?,
                },
                codec::get(&row, "config_changed")?,
            ))
        }
        None => None,
    };
    let taken: Option<i64> = codec::get(&row, "config_taken")?;
    let acknowledged = match (
        taken.and_then(|version| u64::try_from(version).ok()),
        codec::get(&row, "config_taken_at")?,
    ) {
        (Some(version), Some(at)) => Some(AcknowledgedSettings { version, at }),
        _ => None,
    };
    Ok(Some(SettingsState {
        desired,
        acknowledged,
    }))
}

/// Records which settings a device has acknowledged.
pub(super) async fn set_acknowledged(
    connection: &mut Conn,
    scope: Scope,
    report: ConfigReport,
    now: UnixMs,
) -> Result<()> {
    sqlx::query("UPDATE devices SET config_taken = $3, config_taken_at = $4 WHERE project = $1 AND id = $2")
        .bind(codec::id(&scope.project))
        .bind(codec::id(&scope.device))
        .bind(codec::signed(report.version))
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}
