//! All devices of a rollout, with what decides on them, as packed rows.

use std::sync::LazyLock;

use iottly_protocol::release::{Ending, UpdateState};
use iottly_protocol::{DeviceId, ProjectId};

use super::codec;
use super::db::{self, Pool};
use super::packed::{self, Packed};
use super::rollout_devices::{find_reason, find_state, steps};
use crate::Result;
use iottly_core::model::{DirectiveStatus, Rollout, RolloutMember};

/// Begins a list; `from` names its tables and the condition of its devices.
fn list(from: &str) -> String {
    let (begin, end) = db::PACKED;
    let (hex, hex_end) = db::HEX;
    format!(
        "SELECT {begin}{hex}d.id{hex_end}, CASE WHEN d.online = true THEN '1' ELSE '0' END, CAST(d.directive_counter AS TEXT), \
         CAST(r.counter AS TEXT), CASE WHEN r.withdrawn IS NULL THEN '0' ELSE '1' END, r.state, r.reason, \
         CAST(r.failures AS TEXT), CAST(r.heard AS TEXT), CASE WHEN r.state = $4 THEN r.steps END{end} AS packed FROM {from}"
    )
}

/// Devices of the group.
static INSIDE: LazyLock<String> = LazyLock::new(|| {
    list(&format!(
        "devices d{} LEFT JOIN rollout_devices r ON r.project = d.project AND r.device = d.id AND r.rollout = $2 \
         WHERE d.project = $1 AND d.group_id = $3",
        db::GROUPED
    ))
});

/// Devices elsewhere that were notified.
static ELSEWHERE: LazyLock<String> = LazyLock::new(|| {
    list(
        "rollout_devices r JOIN devices d ON d.project = r.project AND d.id = r.device \
         WHERE r.project = $1 AND r.rollout = $2 AND d.group_id <> $3",
    )
});

/// Returns all devices of a rollout, by id.
pub(super) async fn all(pool: &Pool, project: ProjectId, rollout: &Rollout) -> Result<Vec<RolloutMember>> {
    let mut tx = db::snapshot(pool).await?;
    let mut members = Vec::new();
    for (sql, in_group) in [(&*INSIDE, true), (&*ELSEWHERE, false)] {
        let row = sqlx::query(sql.as_str())
            .bind(codec::id(&project))
            .bind(codec::id(&rollout.id))
            .bind(codec::id(&rollout.group))
            .bind(UpdateState::Ended(Ending::Rejected).as_str())
            .fetch_one(&mut *tx)
            .await?;
        if let Some(text) = codec::get::<Option<&str>>(&row, "packed")? {
            members.extend(packed::rows(text, "rollout_devices", |row| {
                member(row, in_group)
            })?);
        }
    }
    members.sort_unstable_by_key(|member| member.device);
    Ok(members)
}

/// Reads the columns of a device, in the order of the query.
fn member(row: &mut Packed<'_>, in_group: bool) -> Result<RolloutMember> {
    let unsigned = |value, field| codec::unsigned(value, "rollout_devices", field);
    let mut member = RolloutMember {
        device: DeviceId::from_bytes(row.bytes("id")?),
        name: String::new(),
        online: row.is_one(),
        in_group,
        counter: unsigned(row.number("directive_counter")?.unwrap_or(0), "directive_counter")?,
        directive: None,
    };
    // Without a directive the device was not notified, and the other columns are null.
    let Some(counter) = row.number("counter")? else {
        return Ok(member);
    };
    member.directive = Some(DirectiveStatus {
        id: String::new(),
        counter: unsigned(counter, "counter")?,
        sent: 0,
        withdrawn: row.is_one(),
        state: find_state(row.optional().as_deref())?,
        reason: find_reason(row.optional().as_deref())?,
        detail: None,
        failures: u32::try_from(row.number("failures")?.unwrap_or(0)).unwrap_or(u32::MAX),
        changed: 0,
        heard: row
            .number("heard")?
            .map(|heard| unsigned(heard, "heard"))
            .transpose()?,
        faults: 0,
        fault: None,
        steps: steps(row.optional().as_deref().unwrap_or_default()),
    });
    Ok(member)
}
