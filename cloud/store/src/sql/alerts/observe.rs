//! Rules about single messages, applied in the transaction that stores the messages: an alert is raised if and only if
//! its message is stored.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use iottly_protocol::{DeviceId, GroupId, ProjectId};
use sqlx::QueryBuilder;

use super::super::codec;
use super::super::db::{Conn, Db};
use super::super::senders;
use super::super::usage::Rooms;
use super::raise::Raising;
use super::rules;
use crate::Result;
use crate::alerts::AlertCache;
use iottly_core::alerts::{Observations, RuleSet};
use iottly_core::model::{AlertRuleId, AlertTarget, StoredMessage, UnixMs};
use iottly_core::{MessageIds, RateLimitedLog};

/// Limits the log rate: devices send as often as they like.
static UNEXAMINED: RateLimitedLog = RateLimitedLog::of_a_minute();
/// Maximum number of devices whose groups are read by one statement.
const DEVICES: usize = 100;

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
        let (mut steps, mut seen) = (RuleSet::budget(), Observations::default());
        let own = messages.iter().copied();
        let own: Vec<_> = own.filter(|message| message.scope.project == *project).collect();
        let senders = senders::of(tx, *project, &compiled.set.senders_of(&own)).await?;
        for message in own {
            compiled.set.observe(message, &senders, &mut steps, &mut seen);
        }
        if seen.is_empty() {
            continue;
        }
        // Most messages say that all is well: then nothing more is read than what is raised.
        let raised = raised(tx, *project, &seen.rules()).await?;
        seen.retain(|rule, device, observation| observation.matters(raised.contains(&(rule, device))));
        let groups = groups(tx, *project, &seen.devices_of_groups()).await?;
        seen.retain(|_, device, observation| match observation.target {
            AlertTarget::Group(group) => groups.get(&device) == Some(&group),
            AlertTarget::Project | AlertTarget::Device(_) => true,
        });
        for (rule, count) in seen.unexamined() {
            rules::count_unexamined(tx, *project, rule, count).await?;
            if let Some(more) = UNEXAMINED.ask(Instant::now()) {
                tracing::warn!(project.id = %project, rule.id = %rule, messages.count = count, lines.left_out = more,
                    "an alert rule was not applied to messages, because the filters of the project's rules take too many steps; the rule counts them");
            }
        }
        let mut raising = Raising::new(ids, rooms, &compiled.rules, *project, now);
        for effect in seen.effects() {
            entries.extend(raising.apply(tx, effect).await?);
        }
    }
    Ok(entries)
}

/// Returns the devices of the raised alerts of some rules, with the rule.
async fn raised(
    tx: &mut Conn,
    project: ProjectId,
    rules: &[AlertRuleId],
) -> Result<HashSet<(AlertRuleId, DeviceId)>> {
    let mut query = QueryBuilder::<Db>::new("SELECT rule, subject FROM alerts WHERE project = ");
    query.push_bind(codec::id(&project).to_vec());
    query.push(" AND cleared IS NULL AND subject_kind = 2 AND rule IN (");
    let mut list = query.separated(", ");
    for rule in rules {
        list.push_bind(codec::id(rule).to_vec());
    }
    query.push(")");
    let mut raised = HashSet::new();
    for row in query.build().fetch_all(tx).await? {
        raised.insert((
            AlertRuleId::from_bytes(codec::bytes(&row, "alerts", "rule")?),
            DeviceId::from_bytes(codec::bytes(&row, "alerts", "subject")?),
        ));
    }
    Ok(raised)
}

/// Returns the groups of devices.
async fn groups(
    tx: &mut Conn,
    project: ProjectId,
    devices: &[DeviceId],
) -> Result<HashMap<DeviceId, GroupId>> {
    let mut groups = HashMap::new();
    for devices in devices.chunks(DEVICES) {
        let mut query = QueryBuilder::<Db>::new("SELECT id, group_id FROM devices WHERE project = ");
        query.push_bind(codec::id(&project).to_vec());
        query.push(" AND id IN (");
        let mut list = query.separated(", ");
        for device in devices {
            list.push_bind(codec::id(device).to_vec());
        }
        query.push(")");
        for row in query.build().fetch_all(&mut *tx).await? {
            let device = DeviceId::from_bytes(codec::bytes(&row, "devices", "id")?);
            groups.insert(device, codec::group(&row, "devices", "group_id")?);
        }
    }
    Ok(groups)
}
