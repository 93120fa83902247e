//! What filters over messages may ask of the devices that sent them.

use std::collections::{BTreeSet, HashMap};

use iottly_core::history::Sender;
use iottly_protocol::{DeviceId, ProjectId};
use sqlx::QueryBuilder;

use super::codec;
use super::db::{Conn, Db};
use crate::Result;

/// Maximum number of ids in one statement.
const IDS: usize = 500;

/// Returns those of some devices that the project has.
pub(super) async fn of(
    connection: &mut Conn,
    project: ProjectId,
    devices: &BTreeSet<DeviceId>,
) -> Result<HashMap<DeviceId, Sender>> {
    let mut found = HashMap::with_capacity(devices.len());
    let ids: Vec<_> = devices.iter().collect();
    for ids in ids.chunks(IDS) {
        let mut query = QueryBuilder::<Db>::new(
            "SELECT d.id, d.name, d.tags, g.name AS of_group FROM devices d JOIN groups g ON g.project = d.project \
             AND g.id = d.group_id WHERE d.project = ",
        );
        query
            .push_bind(codec::id(&project).to_vec())
            .push(" AND d.id IN (");
        let mut list = query.separated(", ");
        for id in ids {
            list.push_bind(codec::id(*id).to_vec());
        }
        query.push(")");
        for row in query.build().fetch_all(&mut *connection).await? {
            let sender = Sender {
                name: codec::get(&row, "name")?,
                group: codec::get(&row, "of_group")?,
                tags: codec::json(codec::get(&row, "tags")?, "devices", "tags")?,
            };
            found.insert(DeviceId::from_bytes(codec::bytes(&row, "devices", "id")?), sender);
        }
    }
    Ok(found)
}
