//! Devices and their pair codes.

use iottly_protocol::{DeviceId, FirmwareReport, GroupId, ProjectId};

use super::db::{Conn, Pool, Row};
use super::{codec, full, missing, taken, usage};
use crate::{NewDevice, Result};
use iottly_core::model::{Device, PairCode, Scope, SecretHash, UnixMs};

/// Maximum number of devices of a project.
const MAX_DEVICES: i64 = 100_000;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT d.project, d.id, d.group_id, d.name, d.mac, d.online, d.online_since, d.agent_version, d.firmware, d.tags, l.code \
             FROM devices d LEFT JOIN licences l ON l.project = d.project AND l.device = d.id AND l.paired IS NOT NULL WHERE ",
            $rest
        )
    };
}

pub(super) async fn create(connection: &mut Conn, device: &NewDevice) -> Result<()> {
    sqlx::query("INSERT INTO devices (project, id, group_id, name, secret) VALUES ($1, $2, $3, $4, $5)")
        .bind(&device.scope.project.as_bytes()[..])
        .bind(&device.scope.device.as_bytes()[..])
        .bind(&device.group.as_bytes()[..])
        .bind(codec::text(&device.name))
        .bind(&device.secret.0[..])
        .execute(connection)
        .await
        .map_err(|error| taken(error, "device", &device.scope.device.to_string()))?;
    Ok(())
}

/// A pair code to store.
pub(super) struct NewPairCode<'a> {
    pub(super) code: &'a str,
    pub(super) created: UnixMs,
    pub(super) expires: UnixMs,
}

/// Adds a device with its pair code, within the project's limit.
pub(super) async fn create_with_pair_code(
    tx: &mut Conn,
    project: ProjectId,
    device: DeviceId,
    name: &str,
    group: GroupId,
    secret: SecretHash,
    pair_code: &NewPairCode<'_>,
) -> Result<u64> {
    let row = sqlx::query("SELECT count(*) AS n FROM devices WHERE project = $1")
        .bind(&project.as_bytes()[..])
        .fetch_one(&mut *tx)
        .await?;
    let limits = usage::within(tx, project).await?;
    full(
        codec::get(&row, "n")?,
        "devices",
        usage::most(limits.devices, MAX_DEVICES),
    )?;
    let scope = Scope { project, device };
    create(
        tx,
        &NewDevice {
            scope,
            name: name.to_owned(),
            group,
            secret,
        },
    )
    .await?;
    insert_pair_code(tx, project, device, pair_code).await
}

/// Replaces the pair code of a device.
pub(super) async fn replace_pair_code(
    tx: &mut Conn,
    project: ProjectId,
    device: DeviceId,
    pair_code: &NewPairCode<'_>,
) -> Result<u64> {
    let known = sqlx::query("SELECT id FROM devices WHERE project = $1 AND id = $2")
        .bind(&project.as_bytes()[..])
        .bind(&device.as_bytes()[..])
        .fetch_optional(&mut *tx)
        .await?;
    missing(u64::from(known.is_some()), "device", &device)?;
    sqlx::query("DELETE FROM licences WHERE project = $1 AND device = $2")
        .bind(&project.as_bytes()[..])
        .bind(&device.as_bytes()[..])
        .execute(&mut *tx)
        .await?;
    insert_pair_code(tx, project, device, pair_code).await
}

async fn insert_pair_code(
    tx: &mut Conn,
    project: ProjectId,
    device: DeviceId,
    pair_code: &NewPairCode<'_>,
) -> Result<u64> {
    sqlx::query("INSERT INTO licences (project, code, device, created, expires) VALUES ($1, $2, $3, $4, $5)")
        .bind(&project.as_bytes()[..])
        .bind(pair_code.code)
        .bind(&device.as_bytes()[..])
        .bind(pair_code.created)
        .bind(pair_code.expires)
        .execute(tx)
        .await
        .map_err(|error| taken(error, "licence of device", &device.to_string()))?;
    Ok(1)
}

pub(super) async fn rename(tx: &mut Conn, project: ProjectId, device: DeviceId, name: &str) -> Result<u64> {
    set(
        tx,
        "UPDATE devices SET name = $3 WHERE project = $1 AND id = $2",
        project,
        device,
        name,
    )
    .await
}

pub(super) async fn tag(tx: &mut Conn, project: ProjectId, device: DeviceId, tags: &[String]) -> Result<u64> {
    let text = serde_json::to_string(tags).expect("a list of texts serializes without failing");
    set(
        tx,
        "UPDATE devices SET tags = $3 WHERE project = $1 AND id = $2",
        project,
        device,
        &text,
    )
    .await
}

async fn set(
    tx: &mut Conn,
    sql: &'static str,
    project: ProjectId,
    device: DeviceId,
    value: &str,
) -> Result<u64> {
    let query = sqlx::query(sql)
        .bind(&project.as_bytes()[..])
        .bind(&device.as_bytes()[..])
        .bind(codec::text(value));
    missing(query.execute(tx).await?.rows_affected(), "device", &device)
}

pub(super) async fn pair_codes(pool: &Pool, project: ProjectId) -> Result<Vec<PairCode>> {
    let query = sqlx::query(
        "SELECT code, device, created, expires, paired FROM licences WHERE project = $1 ORDER BY created, code",
    );
    let rows = query.bind(&project.as_bytes()[..]).fetch_all(pool).await?;
    let pair_code = |row: &Row| {
        Ok(PairCode {
            code: codec::get(row, "code")?,
            device: DeviceId::from_bytes(codec::bytes(row, "licences", "device")?),
            created: codec::get(row, "created")?,
            expires: codec::get(row, "expires")?,
            paired: codec::get(row, "paired")?,
        })
    };
    rows.iter().map(pair_code).collect()
}

pub(super) async fn all(pool: &Pool, project: ProjectId) -> Result<Vec<Device>> {
    let query = sqlx::query(select!("d.project = $1 ORDER BY d.name, d.id")).bind(&project.as_bytes()[..]);
    query.fetch_all(pool).await?.iter().map(device).collect()
}

pub(super) async fn one(pool: &Pool, scope: Scope) -> Result<Option<Device>> {
    let query = sqlx::query(select!("d.project = $1 AND d.id = $2"))
        .bind(&scope.project.as_bytes()[..])
        .bind(&scope.device.as_bytes()[..]);
    query.fetch_optional(pool).await?.as_ref().map(device).transpose()
}

pub(super) async fn online(pool: &Pool) -> Result<Vec<Scope>> {
    let rows = sqlx::query("SELECT project, id FROM devices WHERE online = true")
        .fetch_all(pool)
        .await?;
    rows.iter()
        .map(|row| codec::scope(row, "devices", "id"))
        .collect()
}

pub(super) async fn credentials(pool: &Pool, device: DeviceId) -> Result<Option<(Scope, SecretHash)>> {
    let query =
        sqlx::query("SELECT project, id, secret FROM devices WHERE id = $1").bind(&device.as_bytes()[..]);
    let Some(row) = query.fetch_optional(pool).await? else {
        return Ok(None);
    };
    Ok(Some((
        codec::scope(&row, "devices", "id")?,
        SecretHash(codec::bytes(&row, "devices", "secret")?),
    )))
}

fn device(row: &Row) -> Result<Device> {
    let firmware: Option<&str> = codec::get(row, "firmware")?;
    Ok(Device {
        scope: codec::scope(row, "devices", "id")?,
        name: codec::get(row, "name")?,
        mac_address: codec::get(row, "mac")?,
        group: codec::group(row, "devices", "group_id")?,
        online: codec::get(row, "online")?,
        online_since: codec::get(row, "online_since")?,
        agent_version: codec::get(row, "agent_version")?,
        firmware: firmware
            .map(|text| codec::json(text, "devices", "firmware"))
            .transpose()?,
        tags: codec::json(codec::get(row, "tags")?, "devices", "tags")?,
        pair_code: codec::get(row, "code")?,
    })
}

/// Records the version of a device's agent.
pub(super) async fn set_agent_version(connection: &mut Conn, scope: Scope, version: &str) -> Result<()> {
    sqlx::query(
        "UPDATE devices SET agent_version = $3 WHERE project = $1 AND id = $2 AND agent_version <> $3",
    )
    .bind(&scope.project.as_bytes()[..])
    .bind(&scope.device.as_bytes()[..])
    .bind(codec::text(version))
    .execute(connection)
    .await?;
    Ok(())
}

/// Records whether a device is online. Returns false if that was recorded already.
pub(super) async fn set_online(
    connection: &mut Conn,
    scope: Scope,
    online: bool,
    now: UnixMs,
) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE devices SET online = $3, online_since = $4 WHERE project = $1 AND id = $2 AND online <> $3",
    )
    .bind(&scope.project.as_bytes()[..])
    .bind(&scope.device.as_bytes()[..])
    .bind(online)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Records the last report of a device's sandbox.
pub(super) async fn set_firmware(connection: &mut Conn, scope: Scope, report: &FirmwareReport) -> Result<()> {
    let text =
        serde_json::to_string(report).expect("wire types have string keys and serialize without failing");
    sqlx::query("UPDATE devices SET firmware = $3 WHERE project = $1 AND id = $2")
        .bind(&scope.project.as_bytes()[..])
        .bind(&scope.device.as_bytes()[..])
        .bind(codec::text(&text))
        .execute(connection)
        .await?;
    Ok(())
}
