//! All devices of a project, with the columns that are needed, as packed rows.

use iottly_protocol::{DeviceId, GroupId, ProjectId};
use sqlx::QueryBuilder;

use super::codec;
use super::db::{self, Db, Pool};
use super::device_secrets::NONE;
use super::packed::{self, Packed};
use crate::{DeviceNeeds, Result};
use iottly_core::model::{Absence, Device, Packet, Proof, Scope};

/// Columns of the presence, as texts.
const PRESENCE: [&str; 7] = [
    "CASE WHEN d.online = true THEN '1' ELSE '0' END",
    "CAST(d.online_since AS TEXT)",
    "d.proof_packet",
    "CAST(d.proof_at AS TEXT)",
    "CAST(d.absent_from AS TEXT)",
    "CAST(d.absent_until AS TEXT)",
    "d.absent_reason",
];

/// Returns all devices of a project, without what is not needed.
pub(super) async fn all(pool: &Pool, project: ProjectId, needs: DeviceNeeds) -> Result<Vec<Device>> {
    let mut query = QueryBuilder::<Db>::new("SELECT ");
    query.push(db::PACKED.0);
    query.push(format!(
        "{0}d.id{1}, {0}d.group_id{1}, d.name",
        db::HEX.0,
        db::HEX.1
    ));
    for (needed, columns) in [
        (needs.board, &["d.mac", "d.agent_version"][..]),
        (needs.tags, &["d.tags"]),
        (needs.presence, &PRESENCE),
        (needs.firmware, &["d.firmware"]),
        (needs.pair_code, &["l.code"]),
        (needs.root, &["CAST(d.root_version AS TEXT)"]),
    ] {
        for column in columns.iter().filter(|_| needed) {
            query.push(", ").push(*column);
        }
    }
    if needs.legacy {
        query.push(", CASE WHEN d.secret > ").push_bind(NONE.0.to_vec());
        query.push(
            " AND NOT EXISTS (SELECT 1 FROM device_keys k WHERE k.project = d.project AND k.device = d.id) THEN '1' ELSE '0' END",
        );
    }
    query.push(db::PACKED.1);
    query.push(" AS packed FROM devices d");
    if needs.pair_code {
        query.push(
            " LEFT JOIN licences l ON l.project = d.project AND l.device = d.id AND l.paired IS NOT NULL",
        );
    }
    query.push(" WHERE d.project = ");
    query.push_bind(codec::id(&project).to_vec());
    query.push(db::IN_ORDER);
    let row = query.build().fetch_one(pool).await?;
    match codec::get::<Option<&str>>(&row, "packed")? {
        Some(text) => packed::rows(text, "devices", |row| device(project, needs, row)),
        None => Ok(Vec::new()),
    }
}

/// Reads the columns of a device, in the order of the query.
fn device(project: ProjectId, needs: DeviceNeeds, row: &mut Packed<'_>) -> Result<Device> {
    let mut device = Device {
        scope: Scope {
            project,
            device: DeviceId::from_bytes(row.bytes("id")?),
        },
        group: GroupId::from_bytes(row.bytes("group_id")?),
        name: row.text("name")?.into_owned(),
        mac_address: None,
        online: false,
        online_since: None,
        agent_version: None,
        firmware: None,
        tags: Vec::new(),
        pair_code: None,
        legacy: false,
        proof: None,
        absence: None,
        root_version: None,
    };
    if needs.board {
        let mut filled = || row.optional().filter(|text| !text.is_empty());
        device.mac_address = filled().map(Into::into);
        device.agent_version = filled().map(Into::into);
    }
    if needs.tags {
        device.tags = match row.optional().as_deref() {
            None | Some("[]") => Vec::new(),
            Some(text) => codec::json(text, "devices", "tags")?,
        };
    }
    if needs.presence {
        device.online = row.is_one();
        device.online_since = row.number("online_since")?;
        let packet = row.optional().as_deref().and_then(Packet::named);
        let proof = packet.zip(row.number("proof_at")?);
        device.proof = proof.map(|(packet, at)| Proof { packet, at });
        let absence = row.number("absent_from")?.zip(row.number("absent_until")?);
        let reason = row.optional().unwrap_or_default();
        device.absence = absence.map(|(from, until)| Absence {
            from,
            until,
            reason: reason.into(),
        });
    }
    if needs.firmware {
        let report = row.optional();
        device.firmware = report
            .map(|text| codec::json(&text, "devices", "firmware"))
            .transpose()?;
    }
    if needs.pair_code {
        device.pair_code = row.optional().map(Into::into);
    }
    if needs.root {
        let version: Option<i64> = row.number("root_version")?;
        device.root_version = version.and_then(|version| u64::try_from(version).ok());
    }
    if needs.legacy {
        device.legacy = row.is_one();
    }
    Ok(device)
}
