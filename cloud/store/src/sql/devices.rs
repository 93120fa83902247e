//! Devices and their pair codes.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use async_trait::async_trait;
use iottly_protocol::{DeviceId, FirmwareReport, GroupId, ProjectId};

use super::db::{self, Conn, Row};
use super::device_secrets::NONE;
use super::{Backend, codec, device_settings, full, groups, missing, packed_devices, senders, taken, usage};
use crate::{DeviceNeeds, DeviceStore, NewDevice, Result};
use iottly_core::history::Sender;
use iottly_core::model::{
    Absence, Device, Packet, PairCode, Proof, Scope, SecretHash, SettingsState, UnixMs,
};
use iottly_core::natural_order;

/// Maximum number of devices of a project.
const MAX_DEVICES: i64 = 100_000;

/// Columns of a device, and the rest of the query.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT d.project, d.id, d.group_id, d.name, d.mac, d.online, d.online_since, d.agent_version, d.tags, \
             d.proof_packet, d.proof_at, d.absent_from, d.absent_until, d.absent_reason, d.root_version, d.secret, d.firmware, l.code, \
             k.device AS keyed FROM devices d LEFT JOIN device_keys k ON k.project = d.project AND k.device = d.id \
             LEFT JOIN licences l ON l.project = d.project AND l.device = d.id AND l.paired IS NOT NULL WHERE ",
            $rest
        )
    };
}

/// Query of devices without its conditions.
pub(super) const ALL: &str = select!("");
/// Connected devices of all projects.
static ONLINE: LazyLock<String> =
    LazyLock::new(|| format!("SELECT project, id FROM devices WHERE {}", db::ONLINE));
/// Their number.
static ONLINE_COUNT: LazyLock<String> =
    LazyLock::new(|| format!("SELECT count(*) AS n FROM devices WHERE {}", db::ONLINE));

#[async_trait]
impl DeviceStore for Backend {
    async fn create_device(&self, device: &NewDevice) -> Result<()> {
        create(&mut *self.write().await?, device).await
    }

    async fn devices(&self, project: ProjectId) -> Result<Vec<Device>> {
        let mut devices = packed_devices::all(&self.readers, project, DeviceNeeds::ALL).await?;
        devices.sort_unstable_by(|a, b| {
            natural_order::compare(&a.name, &b.name).then_with(|| a.scope.device.cmp(&b.scope.device))
        });
        Ok(devices)
    }

    async fn device(&self, scope: Scope) -> Result<Option<Device>> {
        let query = sqlx::query(select!("d.project = $1 AND d.id = $2"))
            .bind(codec::id(&scope.project))
            .bind(codec::id(&scope.device));
        query
            .fetch_optional(&self.readers)
            .await?
            .as_ref()
            .map(device)
            .transpose()
    }

    async fn sender(&self, scope: Scope) -> Result<Option<Sender>> {
        let mut connection = self.readers.acquire().await?;
        let mut found = senders::of(&mut connection, scope.project, &BTreeSet::from([scope.device])).await?;
        Ok(found.remove(&scope.device))
    }

    async fn device_settings(&self, scope: Scope) -> Result<Option<SettingsState>> {
        device_settings::one(&self.readers, scope).await
    }

    async fn device_credentials(&self, device: DeviceId) -> Result<Option<(Scope, SecretHash)>> {
        let query =
            sqlx::query("SELECT project, id, secret FROM devices WHERE id = $1").bind(codec::id(&device));
        let Some(row) = query.fetch_optional(&self.readers).await? else {
            return Ok(None);
        };
        Ok(Some((
            codec::scope(&row, "devices", "id")?,
            SecretHash(codec::bytes(&row, "devices", "secret")?),
        )))
    }

    async fn online_devices(&self) -> Result<Vec<Scope>> {
        let rows = sqlx::query(ONLINE.as_str()).fetch_all(&self.readers).await?;
        rows.iter()
            .map(|row| codec::scope(row, "devices", "id"))
            .collect()
    }

    async fn online_count(&self) -> Result<u64> {
        let row = sqlx::query(ONLINE_COUNT.as_str())
            .fetch_one(&self.readers)
            .await?;
        codec::unsigned(codec::get(&row, "n")?, "devices", "online")
    }

    async fn absences_ended(&self, after: UnixMs, until: UnixMs, limit: usize) -> Result<Vec<Scope>> {
        let query = sqlx::query(
            "SELECT project, id FROM devices WHERE absent_until IS NOT NULL AND absent_until > $1 AND absent_until <= $2 \
             ORDER BY absent_until LIMIT $3",
        )
        .bind(after)
        .bind(until)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = query.fetch_all(&self.readers).await?;
        rows.iter()
            .map(|row| codec::scope(row, "devices", "id"))
            .collect()
    }

    async fn pair_codes(&self, project: ProjectId) -> Result<Vec<PairCode>> {
        let query = sqlx::query(
            "SELECT code, device, created, expires, paired FROM licences WHERE project = $1 ORDER BY created, code",
        );
        let rows = query.bind(codec::id(&project)).fetch_all(&self.readers).await?;
        rows.iter().map(licence).collect()
    }

    async fn pair_code_page(
        &self,
        project: ProjectId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<PairCode>> {
        let query = sqlx::query(
            "SELECT code, device, created, expires, paired FROM licences WHERE project = $1 AND code > $2 ORDER BY code LIMIT $3",
        )
        .bind(codec::id(&project))
        .bind(codec::text(after.unwrap_or_default()))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        query
            .fetch_all(&self.readers)
            .await?
            .iter()
            .map(licence)
            .collect()
    }

    async fn pair_code(&self, project: ProjectId, code: &str) -> Result<Option<PairCode>> {
        let query = sqlx::query(
            "SELECT code, device, created, expires, paired FROM licences WHERE project = $1 AND code = $2",
        )
        .bind(codec::id(&project))
        .bind(codec::text(code));
        query
            .fetch_optional(&self.readers)
            .await?
            .as_ref()
            .map(licence)
            .transpose()
    }
}

fn licence(row: &Row) -> Result<PairCode> {
    Ok(PairCode {
        code: codec::get(row, "code")?,
        device: DeviceId::from_bytes(codec::bytes(row, "licences", "device")?),
        created: codec::get(row, "created")?,
        expires: codec::get(row, "expires")?,
        paired: codec::get(row, "paired")?,
    })
}

pub(super) async fn create(connection: &mut Conn, device: &NewDevice) -> Result<()> {
    sqlx::query(
        "INSERT INTO devices (project, id, group_id, name, secret, name_key) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(codec::id(&device.scope.project))
    .bind(codec::id(&device.scope.device))
    .bind(codec::id(&device.group))
    .bind(codec::text(&device.name))
    .bind(&device.secret.0[..])
    .bind(name_key(&device.name))
    .execute(connection)
    .await
    .map_err(|error| taken(error, "device", &device.scope.device.to_string()))?;
    Ok(())
}

/// Refuses another device when the project has as many as it may.
pub(super) async fn admit(tx: &mut Conn, project: ProjectId) -> Result<()> {
    let row = sqlx::query("SELECT count(*) AS n FROM devices WHERE project = $1")
        .bind(codec::id(&project))
        .fetch_one(&mut *tx)
        .await?;
    let limits = usage::within(tx, project).await?;
    full(
        codec::get(&row, "n")?,
        "devices",
        usage::most(limits.devices, MAX_DEVICES),
    )
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
    admit(tx, project).await?;
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
        .bind(codec::id(&project))
        .bind(codec::id(&device))
        .fetch_optional(&mut *tx)
        .await?;
    missing(u64::from(known.is_some()), "device", &device)?;
    sqlx::query("DELETE FROM licences WHERE project = $1 AND device = $2")
        .bind(codec::id(&project))
        .bind(codec::id(&device))
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
        .bind(codec::id(&project))
        .bind(pair_code.code)
        .bind(codec::id(&device))
        .bind(pair_code.created)
        .bind(pair_code.expires)
        .execute(tx)
        .await
        .map_err(|error| taken(error, "licence of device", &device.to_string()))?;
    Ok(1)
}

/// Changes the given properties of a device. Returns the number of properties that were written.
pub(super) async fn update(
    tx: &mut Conn,
    project: ProjectId,
    device: DeviceId,
    group: Option<GroupId>,
    name: Option<&str>,
    tags: Option<&[String]>,
) -> Result<u64> {
    let mut affected = 0;
    if let Some(group) = group {
        affected += groups::move_devices(tx, project, group, &[device]).await?;
    }
    if let Some(name) = name {
        affected += rename(tx, project, device, name).await?;
    }
    if let Some(tags) = tags {
        let text = serde_json::to_string(tags).expect("a list of texts serializes without failing");
        let sql = "UPDATE devices SET tags = $3 WHERE project = $1 AND id = $2";
        affected += set(tx, sql, project, device, &text).await?;
    }
    Ok(affected)
}

/// Returns the text by which lists sort a device, for its name as it is stored.
pub(super) fn name_key(name: &str) -> String {
    natural_order::key(&codec::text(name))
}

async fn rename(tx: &mut Conn, project: ProjectId, device: DeviceId, name: &str) -> Result<u64> {
    let query = sqlx::query("UPDATE devices SET name = $3, name_key = $4 WHERE project = $1 AND id = $2")
        .bind(codec::id(&project))
        .bind(codec::id(&device))
        .bind(codec::text(name))
        .bind(name_key(name));
    missing(query.execute(tx).await?.rows_affected(), "device", &device)
}

/// Gives their keys to devices that were stored before there were any.
pub(super) async fn complete_keys(connection: &mut Conn) -> Result<()> {
    loop {
        let mut tx = db::begin(&mut *connection).await?;
        let rows = sqlx::query("SELECT project, id, name FROM devices WHERE name_key = '' LIMIT 1000")
            .fetch_all(&mut *tx)
            .await?;
        if rows.is_empty() {
            return Ok(tx.commit().await?);
        }
        for row in &rows {
            let scope = codec::scope(row, "devices", "id")?;
            sqlx::query("UPDATE devices SET name_key = $3 WHERE project = $1 AND id = $2")
                .bind(codec::id(&scope.project))
                .bind(codec::id(&scope.device))
                .bind(name_key(codec::get(row, "name")?))
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
    }
}

async fn set(
    tx: &mut Conn,
    sql: &'static str,
    project: ProjectId,
    device: DeviceId,
    value: &str,
) -> Result<u64> {
    let query = sqlx::query(sql)
        .bind(codec::id(&project))
        .bind(codec::id(&device))
        .bind(codec::text(value));
    missing(query.execute(tx).await?.rows_affected(), "device", &device)
}

pub(super) fn device(row: &Row) -> Result<Device> {
    let firmware: Option<&str> = codec::get(row, "firmware")?;
    let keyed: Option<&[u8]> = codec::get(row, "keyed")?;
    Ok(Device {
        scope: codec::scope(row, "devices", "id")?,
        name: codec::get(row, "name")?,
        mac_address: codec::filled(row, "mac")?.map(str::to_owned),
        group: codec::group(row, "devices", "group_id")?,
        online: codec::get(row, "online")?,
        online_since: codec::get(row, "online_since")?,
        agent_version: codec::filled(row, "agent_version")?.map(str::to_owned),
        firmware: firmware
            .map(|text| codec::json(text, "devices", "firmware"))
            .transpose()?,
        tags: codec::json(codec::get(row, "tags")?, "devices", "tags")?,
        pair_code: codec::get(row, "code")?,
        legacy: keyed.is_none() && SecretHash(codec::bytes(row, "devices", "secret")?) != NONE,
        proof: proof(row)?,
        absence: absence(row)?,
        root_version: codec::get::<Option<i64>>(row, "root_version")?
            .and_then(|version| u64::try_from(version).ok()),
    })
}

fn proof(row: &Row) -> Result<Option<Proof>> {
    let packet: Option<&str> = codec::get(row, "proof_packet")?;
    let at: Option<UnixMs> = codec::get(row, "proof_at")?;
    Ok(packet
        .and_then(Packet::named)
        .zip(at)
        .map(|(packet, at)| Proof { packet, at }))
}

/// Reads the planned absence of a device.
pub(super) fn absence(row: &Row) -> Result<Option<Absence>> {
    let from: Option<UnixMs> = codec::get(row, "absent_from")?;
    let until: Option<UnixMs> = codec::get(row, "absent_until")?;
    let reason: Option<&str> = codec::get(row, "absent_reason")?;
    Ok(from.zip(until).map(|(from, until)| Absence {
        from,
        until,
        reason: reason.unwrap_or_default().to_owned(),
    }))
}

/// Plans the absence of a device, or ends the plan.
pub(super) async fn set_absence(
    tx: &mut Conn,
    project: ProjectId,
    device: DeviceId,
    absence: Option<&Absence>,
) -> Result<u64> {
    let query = sqlx::query(
        "UPDATE devices SET absent_from = $3, absent_until = $4, absent_reason = $5 WHERE project = $1 AND id = $2",
    )
    .bind(codec::id(&project))
    .bind(codec::id(&device))
    .bind(absence.map(|absence| absence.from))
    .bind(absence.map(|absence| absence.until))
    .bind(absence.map(|absence| codec::text(&absence.reason)));
    missing(query.execute(tx).await?.rows_affected(), "device", &device)
}

/// Records the last packet of a device.
pub(super) async fn set_proof(connection: &mut Conn, scope: Scope, proof: Proof) -> Result<()> {
    sqlx::query("UPDATE devices SET proof_packet = $3, proof_at = $4 WHERE project = $1 AND id = $2")
        .bind(codec::id(&scope.project))
        .bind(codec::id(&scope.device))
        .bind(proof.packet.as_str())
        .bind(proof.at)
        .execute(connection)
        .await?;
    Ok(())
}

/// Records the version of a device's agent.
pub(super) async fn set_agent_version(connection: &mut Conn, scope: Scope, version: &str) -> Result<()> {
    sqlx::query(
        "UPDATE devices SET agent_version = $3 WHERE project = $1 AND id = $2 AND agent_version <> $3",
    )
    .bind(codec::id(&scope.project))
    .bind(codec::id(&scope.device))
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
    .bind(codec::id(&scope.project))
    .bind(codec::id(&scope.device))
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
        .bind(codec::id(&scope.project))
        .bind(codec::id(&scope.device))
        .bind(codec::text(&text))
        .execute(&mut *connection)
        .await?;
    // Most reports are of the same firmware, and the digest is in an index.
    sqlx::query("UPDATE devices SET digest = $3 WHERE project = $1 AND id = $2 AND digest <> $3")
        .bind(codec::id(&scope.project))
        .bind(codec::id(&scope.device))
        .bind(codec::text(&report.digest))
        .execute(connection)
        .await?;
    Ok(())
}
