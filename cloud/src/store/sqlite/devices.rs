use iottly_protocol::{DeviceId, FirmwareReport, ProjectId};
use serde_json::value::RawValue;
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{Connection, SqliteConnection};

use super::{codec, messages, taken};
use crate::message_id::MessageIds;
use crate::model::{Device, Scope, SecretHash, StoredMessage, UnixMs};
use crate::store::{NewDevice, Result};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT project, id, group_id, name, mac, online, online_since, agent_version, firmware FROM devices WHERE ",
            $rest
        )
    };
}

pub(super) async fn create(connection: &mut SqliteConnection, device: &NewDevice) -> Result<()> {
    sqlx::query("INSERT INTO devices (project, id, group_id, name, secret) VALUES ($1, $2, $3, $4, $5)")
        .bind(&device.scope.project.as_bytes()[..])
        .bind(&device.scope.device.as_bytes()[..])
        .bind(&device.group.as_bytes()[..])
        .bind(&device.name)
        .bind(&device.secret.0[..])
        .execute(connection)
        .await
        .map_err(|error| taken(error, "device", &device.scope.device.to_string()))?;
    Ok(())
}

pub(super) async fn all(pool: &SqlitePool, project: ProjectId) -> Result<Vec<Device>> {
    let query = sqlx::query(select!("project = $1 ORDER BY name, id")).bind(&project.as_bytes()[..]);
    query.fetch_all(pool).await?.iter().map(device).collect()
}

pub(super) async fn one(pool: &SqlitePool, scope: Scope) -> Result<Option<Device>> {
    let query =
        sqlx::query(select!("project = $1 AND id = $2")).bind(&scope.project.as_bytes()[..]).bind(&scope.device.as_bytes()[..]);
    query.fetch_optional(pool).await?.as_ref().map(device).transpose()
}

pub(super) async fn online(pool: &SqlitePool) -> Result<Vec<Scope>> {
    let rows = sqlx::query("SELECT project, id FROM devices WHERE online = 1").fetch_all(pool).await?;
    rows.iter().map(|row| codec::scope(row, "devices", "id")).collect()
}

pub(super) async fn credentials(pool: &SqlitePool, device: DeviceId) -> Result<Option<(Scope, SecretHash)>> {
    let query = sqlx::query("SELECT project, id, secret FROM devices WHERE id = $1").bind(&device.as_bytes()[..]);
    let Some(row) = query.fetch_optional(pool).await? else { return Ok(None) };
    Ok(Some((codec::scope(&row, "devices", "id")?, SecretHash(codec::bytes(&row, "devices", "secret")?))))
}

fn device(row: &SqliteRow) -> Result<Device> {
    let firmware: Option<&str> = codec::get(row, "firmware")?;
    Ok(Device {
        scope: codec::scope(row, "devices", "id")?,
        name: codec::get(row, "name")?,
        mac_address: codec::get(row, "mac")?,
        group: codec::group(row, "devices", "group_id")?,
        online: codec::get(row, "online")?,
        online_since: codec::get(row, "online_since")?,
        agent_version: codec::get(row, "agent_version")?,
        firmware: firmware.map(|text| codec::json(text, "devices", "firmware")).transpose()?,
    })
}

/// Changes the presence and writes the entry that says so, in one transaction; nothing when it was so already.
pub(super) async fn set_presence(
    connection: &mut SqliteConnection,
    ids: &MessageIds,
    scope: Scope,
    online: bool,
    agent_version: Option<&str>,
    now: UnixMs,
) -> Result<Option<StoredMessage>> {
    let mut tx = connection.begin().await?;
    if let Some(version) = agent_version {
        sqlx::query("UPDATE devices SET agent_version = $3 WHERE project = $1 AND id = $2 AND agent_version <> $3")
            .bind(&scope.project.as_bytes()[..])
            .bind(&scope.device.as_bytes()[..])
            .bind(version)
            .execute(&mut *tx)
            .await?;
    }
    let changed =
        sqlx::query("UPDATE devices SET online = $3, online_since = $4 WHERE project = $1 AND id = $2 AND online <> $3")
            .bind(&scope.project.as_bytes()[..])
            .bind(&scope.device.as_bytes()[..])
            .bind(online)
            .bind(now)
            .execute(&mut *tx)
            .await?
            .rows_affected();
    let message = (changed > 0).then(|| messages::agent_message(ids, scope, now, presence_payload(online)));
    if let Some(message) = &message {
        messages::insert(&mut tx, &[message]).await?;
    }
    tx.commit().await?;
    Ok(message)
}

fn presence_payload(online: bool) -> Box<RawValue> {
    let text = if online { r#"{"connectionstatus":"connected"}"# } else { r#"{"connectionstatus":"disconnected"}"# };
    RawValue::from_string(text.to_owned()).expect("the literals are JSON")
}

/// Records what a device's sandbox said last.
pub(super) async fn set_firmware(connection: &mut SqliteConnection, scope: Scope, report: &FirmwareReport) -> Result<()> {
    let text = serde_json::to_string(report).expect("wire types have string keys and serialize without failing");
    sqlx::query("UPDATE devices SET firmware = $3 WHERE project = $1 AND id = $2")
        .bind(&scope.project.as_bytes()[..])
        .bind(&scope.device.as_bytes()[..])
        .bind(text)
        .execute(connection)
        .await?;
    Ok(())
}
