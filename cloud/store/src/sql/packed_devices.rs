//! All devices of a project in one row of JSON text. A row of its own costs more time than everything else that a filter does
//! with a device.

use iottly_protocol::{DeviceId, GroupId, ProjectId};
use serde::Deserialize;
use sqlx::QueryBuilder;

use super::codec;
use super::db::{self, Db, Pool};
use super::device_secrets::NONE;
use crate::{DeviceNeeds, Result};
use iottly_core::model::{Absence, Device, Packet, Proof, Scope, UnixMs};

/// A device as it is packed; what is not needed is null.
#[derive(Deserialize)]
struct Packed<'a>(
    /// Id in hex digits.
    &'a str,
    /// Id of the group in hex digits.
    &'a str,
    /// Name.
    String,
    /// MAC address.
    Option<String>,
    /// Version of the agent.
    Option<String>,
    /// Tags as JSON text.
    Option<String>,
    /// 1 if the device is connected.
    Option<u8>,
    /// Time of the last change of that.
    Option<UnixMs>,
    /// Kind of the last packet.
    Option<String>,
    /// Time of the last packet.
    Option<UnixMs>,
    /// Begin of the planned absence.
    Option<UnixMs>,
    /// End of the planned absence.
    Option<UnixMs>,
    /// Reason of the planned absence.
    Option<String>,
    /// Report of the firmware as JSON text.
    Option<String>,
    /// 1 if the device logs in with a secret that does not expire.
    Option<u8>,
);

/// Returns all devices of a project, without what is not needed.
pub(super) async fn all(pool: &Pool, project: ProjectId, needs: DeviceNeeds) -> Result<Vec<Device>> {
    let mut query = QueryBuilder::<Db>::new("SELECT ");
    query.push(db::PACKED.0);
    query.push(format!(
        "{0}d.id{1}, {0}d.group_id{1}, d.name",
        db::HEX.0,
        db::HEX.1
    ));
    let mut column = |is_needed, sql| {
        query.push(", ");
        query.push(if is_needed { sql } else { "CAST(NULL AS TEXT)" });
    };
    column(needs.board, "d.mac");
    column(needs.board, "d.agent_version");
    column(needs.tags, "d.tags");
    column(needs.presence, "CASE WHEN d.online = true THEN 1 ELSE 0 END");
    for sql in [
        "d.online_since",
        "d.proof_packet",
        "d.proof_at",
        "d.absent_from",
        "d.absent_until",
        "d.absent_reason",
    ] {
        column(needs.presence, sql);
    }
    column(needs.firmware, "d.firmware");
    if needs.legacy {
        query.push(", CASE WHEN d.secret > ").push_bind(NONE.0.to_vec());
        query.push(
            " AND NOT EXISTS (SELECT 1 FROM device_keys k WHERE k.project = d.project AND k.device = d.id) THEN 1 ELSE 0 END",
        );
    } else {
        query.push(", CAST(NULL AS TEXT)");
    }
    query.push(db::PACKED.1);
    query.push(" AS packed FROM devices d WHERE d.project = ");
    query.push_bind(codec::id(&project).to_vec());
    query.push(db::IN_ORDER);
    let row = query.build().fetch_one(pool).await?;
    let Some(text) = codec::get::<Option<&str>>(&row, "packed")? else {
        return Ok(Vec::new());
    };
    let wrong = |error: serde_json::Error| codec::corrupt("devices", "packed", error.to_string());
    let packed: Vec<Packed<'_>> = serde_json::from_str(text).map_err(wrong)?;
    packed.into_iter().map(|packed| device(project, packed)).collect()
}

fn device(project: ProjectId, packed: Packed<'_>) -> Result<Device> {
    let Packed(
        id,
        group,
        name,
        mac_address,
        agent_version,
        tags,
        online,
        online_since,
        packet,
        proof_at,
        from,
        until,
        reason,
        firmware,
        legacy,
    ) = packed;
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    let proof = packet.as_deref().and_then(Packet::named).zip(proof_at);
    let absence = from.zip(until);
    Ok(Device {
        scope: Scope {
            project,
            device: DeviceId::from_bytes(bytes(id, "id")?),
        },
        name,
        mac_address: filled(mac_address),
        group: GroupId::from_bytes(bytes(group, "group_id")?),
        online: online == Some(1),
        online_since,
        agent_version: filled(agent_version),
        firmware: firmware
            .map(|text| codec::json(&text, "devices", "firmware"))
            .transpose()?,
        tags: match tags.as_deref() {
            None | Some("[]") => Vec::new(),
            Some(text) => codec::json(text, "devices", "tags")?,
        },
        pair_code: None,
        legacy: legacy == Some(1),
        proof: proof.map(|(packet, at)| Proof { packet, at }),
        absence: absence.map(|(from, until)| Absence {
            from,
            until,
            reason: reason.unwrap_or_default(),
        }),
    })
}

/// Reads an id that is written as hex digits.
fn bytes<const N: usize>(text: &str, field: &'static str) -> Result<[u8; N]> {
    let (mut found, mut count) = ([0; N], 0);
    for (to, byte) in found.iter_mut().zip(codec::hex_bytes(text)) {
        (*to, count) = (byte, count + 1);
    }
    if count == N && text.len() == 2 * N {
        return Ok(found);
    }
    Err(codec::corrupt(
        "devices",
        field,
        format!("{text:?} is not {N} bytes"),
    ))
}
