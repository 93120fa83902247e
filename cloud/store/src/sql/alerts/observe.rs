//! Rules about single messages, applied in the transaction that stores the messages: an alert is raised if and only if
//! its message is stored.

use std::collections::BTreeMap;

use iottly_protocol::ProjectId;

use super::super::codec;
use super::super::db::Conn;
use super::super::senders;
use super::super::usage::Rooms;
use super::raise::Raising;
use super::rules;
use crate::Result;
use crate::alerts::AlertCache;
use iottly_core::MessageIds;
use iottly_core::alerts::{Event, Known, RuleSet, Uptime};
use iottly_core::model::{AlertTarget, StoredMessage, UnixMs};

/// Raises and clears alerts by messages; returns the entries about them, which the caller inserts. `versions` holds the
/// number of changes of the rules of each project that has had any.
pub(in super::super) async fn observe(
    tx: &mut Conn,
    (cache, ids): (&AlertCache, &MessageIds),
    rooms: &mut Rooms,
    versions: &[(ProjectId, i64)],
    messages: &[&StoredMessage],
    now: UnixMs,
) -> Result<Vec<StoredMessage>> {
    let mut entries = Vec::new();
    for (project, version) in versions {
        let compiled = match cache.get(*project, *version) {
            Some(compiled) => compiled,
            None => cache.put(*project, *version, rules::within(tx, *project).await?),
        };
        if compiled.set.is_empty() {
            continue;
        }
        let mut steps = RuleSet::budget();
        // Of several messages of a device, the last one decides.
        let mut last = BTreeMap::new();
        let own = messages.iter().copied();
        let own: Vec<_> = own.filter(|message| message.scope.project == *project).collect();
        let senders = senders::of(tx, *project, &compiled.set.senders_of(&own)).await?;
        for message in own {
            for occurrence in compiled.set.occurrences(message, &senders, &mut steps) {
                last.insert((occurrence.rule, message.scope.device), occurrence);
            }
        }
        let known = Known {
            rules: &compiled.rules,
            raised: &[],
            uptime: &Uptime::default(),
        };
        let mut raising = Raising {
            ids,
            rooms: &mut *rooms,
            rules: &compiled.rules,
            project: *project,
            now,
        };
        for ((_, device), occurrence) in last {
            if let AlertTarget::Group(group) = occurrence.target {
                let query = sqlx::query("SELECT group_id FROM devices WHERE project = $1 AND id = $2")
                    .bind(codec::id(project))
                    .bind(codec::id(&device));
                let row = query.fetch_optional(&mut *tx).await?;
                let own = row
                    .map(|row| codec::group(&row, "devices", "group_id"))
                    .transpose()?;
                if own != Some(group) {
                    continue;
                }
            }
            for effect in known.handle(&Event::Message(device, &[occurrence]), now) {
                entries.extend(raising.apply(tx, effect).await?);
            }
        }
    }
    Ok(entries)
}
