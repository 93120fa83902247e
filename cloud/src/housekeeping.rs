//! What has to be done now and then, as long as the cloud runs. Every round is bounded; what is left waits for the next.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::clock;
use crate::model::{HourUsage, Project, Scope, UnixMs};
use crate::store::{Result, Store};

/// Rounds between two looks at what webhooks keep: a minute.
const WEBHOOK_ROUNDS: u32 = 6;
/// Rows of each table of webhooks deleted in one transaction.
const WEBHOOK_STEP: usize = 10_000;
/// Time between two rounds. Commands are checked for expiry then: devices keep the exact time, this settles what they never reported.
const EVERY: Duration = Duration::from_secs(10);
/// Rounds between two looks at what is older than it is to be kept: ten minutes.
const RETENTION_ROUNDS: u32 = 60;
/// How long keys of requests are remembered: a day, in milliseconds.
const KEYS_MS: UnixMs = DAY_MS;
const DAY_MS: UnixMs = 24 * HOUR_MS;
const HOUR_MS: UnixMs = 60 * 60 * 1000;
/// Messages deleted in one transaction.
const STEP: usize = 5000;
/// Transactions of deleting in one round, so that everything else gets its turn.
const STEPS: usize = 20;

/// Runs until it is aborted.
pub(crate) async fn keep_house(store: Arc<dyn Store>) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut round = 0u32;
    loop {
        tick.tick().await;
        let now = clock::now();
        log("commands are expired later", expire(store.as_ref(), now).await);
        log("keys of requests are forgotten later", store.forget_keys(now - KEYS_MS).await.map(|_| ()));
        log("data of deleted devices is erased later", erase(store.as_ref(), now).await);
        if round.is_multiple_of(WEBHOOK_ROUNDS) {
            log("what webhooks keep is tidied later", tidy_webhooks(store.as_ref(), now).await);
        }
        if round.is_multiple_of(RETENTION_ROUNDS) {
            log("old messages are deleted later", retain(store.as_ref(), now).await);
        }
        round = round.wrapping_add(1);
    }
}

fn log(later: &str, result: Result<()>) {
    if let Err(error) = result {
        tracing::error!(%error, "{later}");
    }
}

async fn expire(store: &dyn Store, now: UnixMs) -> Result<()> {
    let expired = store.expire_commands(now).await?;
    if expired > 0 {
        tracing::info!(expired, "commands expired");
    }
    Ok(())
}

async fn erase(store: &dyn Store, now: UnixMs) -> Result<()> {
    for _ in 0..STEPS {
        if !store.erase_step(now, STEP).await? {
            break;
        }
    }
    Ok(())
}

async fn tidy_webhooks(store: &dyn Store, now: UnixMs) -> Result<()> {
    for _ in 0..STEPS {
        if store.tidy_webhooks(now, WEBHOOK_STEP).await? == 0 {
            break;
        }
    }
    Ok(())
}

/// Deletes what is older, or more, than its project keeps.
///
/// # Errors
/// When the store fails; what was deleted until then is.
pub async fn retain(store: &dyn Store, now: UnixMs) -> Result<()> {
    let mut steps = STEPS;
    for project in store.projects().await? {
        let by_bytes = match store.limits(project.id).await?.and_then(|limits| limits.retention_bytes) {
            Some(kept) => room_for(kept, &store.hours(project.id).await?),
            None => None,
        };
        let Some(before) = kept_since(&project, now).max(by_bytes) else { continue };
        for device in store.devices(project.id).await? {
            steps = drop_older(store, device.scope, before, steps).await?;
            if steps == 0 {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The oldest moment whose messages a project keeps; none when it keeps them for ever.
fn kept_since(project: &Project, now: UnixMs) -> Option<UnixMs> {
    Some(now.saturating_sub(UnixMs::from(project.retention_days?) * DAY_MS))
}

/// The moment before which messages have to go so that at most `kept` bytes stay; none when they fit. Within the hour that
/// is cut the messages count as evenly spread: what that misses, the next round mends.
fn room_for(kept: u64, hours: &[HourUsage]) -> Option<UnixMs> {
    let all: u64 = hours.iter().map(|hour| hour.bytes).sum();
    let mut excess = all.checked_sub(kept).filter(|excess| *excess > 0)?;
    for hour in hours {
        if excess <= hour.bytes {
            let part = (u128::from(excess) * HOUR_MS as u128).div_ceil(u128::from(hour.bytes.max(1)));
            return Some(hour.start.saturating_add(part as UnixMs));
        }
        excess -= hour.bytes;
    }
    None
}

/// Deletes in at most `steps` transactions that find something; returns how many are left.
async fn drop_older(store: &dyn Store, scope: Scope, before: UnixMs, mut steps: usize) -> Result<usize> {
    while steps > 0 {
        let dropped = store.drop_older(scope, before, STEP).await?;
        if dropped > 0 {
            tracing::info!(device = %scope.device, dropped, "old messages deleted");
            steps -= 1;
        }
        if dropped < STEP as u64 {
            break;
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use iottly_protocol::ProjectId;

    use super::*;

    #[test]
    fn the_oldest_go_until_the_rest_fits() {
        let hours = [
            HourUsage { start: 0, bytes: 100 },
            HourUsage { start: HOUR_MS, bytes: 0 },
            HourUsage { start: 5 * HOUR_MS, bytes: 50 },
        ];
        assert_eq!(room_for(150, &hours), None);
        assert_eq!(room_for(100, &hours), Some(HOUR_MS / 2));
        assert_eq!(room_for(50, &hours), Some(HOUR_MS));
        assert_eq!(room_for(25, &hours), Some(5 * HOUR_MS + HOUR_MS / 2));
        assert_eq!(room_for(0, &hours), Some(6 * HOUR_MS));
        assert_eq!(room_for(0, &[]), None);
    }

    #[test]
    fn retention_is_counted_in_days_from_now() {
        let mut project = Project { id: ProjectId::from_bytes([1; 12]), name: "p".into(), created: 0, retention_days: None };
        assert_eq!(kept_since(&project, 10 * DAY_MS), None);
        project.retention_days = Some(3);
        assert_eq!(kept_since(&project, 10 * DAY_MS), Some(7 * DAY_MS));
    }
}
