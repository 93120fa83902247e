//! Periodic maintenance: command expiry, retention, erasure of deleted devices. Every round is bounded; the
//! rest waits for the next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use crate::clock;
use crate::guarded_clock::GuardedClock;
use crate::series;
use crate::series::upkeep::Pruning;
use iottly_core::model::{Change, HourUsage, MAIL_KEPT_MS, NO_DEVICE, Principal, Project, Scope, UnixMs};
use iottly_store::{
    AlertStore, CommandStore, DeviceNeeds, ErasureStore, Result, Store, StoreError, WebhookStore,
};

/// Number of rounds between two deletions of old webhook data: a minute.
const WEBHOOK_ROUNDS: u32 = 6;
/// Maximum number of rows of each webhook table deleted in one transaction.
const WEBHOOK_STEP: usize = 10_000;
/// Maximum number of transactions for old webhook data in one round.
const WEBHOOK_STEPS: usize = 20;
/// Maximum number of transactions for old alerts in one round.
const ALERT_STEPS: usize = 20;
/// Time after which a mail that no process sends is refused, in milliseconds: three days.
const MAIL_MS: UnixMs = 3 * DAY_MS;
/// Interval of rounds. Commands are checked for expiry in each: devices apply the exact time, the check
/// settles commands that they never reported.
const EVERY: Duration = Duration::from_secs(10);
/// Number of rounds between two checks of retention: ten minutes. If a check ran out of time, the next round
/// continues it.
const RETENTION_ROUNDS: u32 = 60;
/// Time for which keys of requests are remembered, in milliseconds: a day.
const KEYS_MS: UnixMs = DAY_MS;
const DAY_MS: UnixMs = 24 * HOUR_MS;
const HOUR_MS: UnixMs = 60 * 60 * 1000;
/// Maximum number of rows of a table deleted in one transaction, so that none delays the ingest for long.
const STEP: usize = 1000;
/// Maximum time per round for erasure, and for retention.
const TIME: Duration = Duration::from_secs(5);
/// Maximum number of abandoned devices that are deleted in one round.
const ABANDONED: usize = 100;
/// Maximum number of transactions for expiring commands in one round.
const EXPIRE_STEPS: usize = 20;
/// Maximum number of devices without old messages that are checked in one turn of their project.
const LOOKS: usize = 100;

/// Runs until aborted.
pub(crate) async fn keep_house(store: Arc<dyn Store>, time: Arc<GuardedClock>) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut round, mut unfinished, mut pruning) = (0u32, false, Pruning::default());
    loop {
        tick.tick().await;
        // Retention is a matter of durations, which steps of the system's clock do not change.
        let now = time.deadline();
        log("failed to expire commands", expire(store.as_ref(), now).await);
        log(
            "failed to mark developer leases whose time is over",
            store.expire_leases(clock::now()).await.map(|_| ()),
        );
        log(
            "failed to delete old idempotency keys",
            store.forget_keys(now.saturating_sub(KEYS_MS)).await.map(|_| ()),
        );
        log(
            "failed to erase data of deleted devices",
            erase(store.as_ref(), clock::now()).await,
        );
        log(
            "failed to delete abandoned devices of ephemeral enrolment keys",
            delete_abandoned(store.as_ref(), clock::now().min(time.received())).await,
        );
        log(
            "failed to roll up older messages",
            series::upkeep::fill(store.as_ref()).await,
        );
        // Old by both clocks, as messages.
        log(
            "failed to delete old roll-ups",
            series::upkeep::prune(store.as_ref(), &mut pruning, now.min(time.received())).await,
        );
        if round.is_multiple_of(WEBHOOK_ROUNDS) {
            log(
                "failed to delete old webhook data",
                tidy_webhooks(store.as_ref(), clock::now()).await,
            );
            // A day late, and by both clocks, so that no wrong clock ends a login.
            log(
                "failed to delete logins of browsers that have expired",
                store
                    .forget_browser_logins(now.min(time.received()).saturating_sub(DAY_MS), STEP)
                    .await
                    .map(|_| ()),
            );
            log(
                "failed to delete old alerts",
                tidy_alerts(store.as_ref(), clock::now()).await,
            );
        }
        if unfinished || round.is_multiple_of(RETENTION_ROUNDS) {
            // Messages must be old by both clocks: after a wrong clock was corrected, nothing new is deleted.
            let looked = retain(store.as_ref(), now.min(time.received())).await;
            unfinished = matches!(looked, Ok(false));
            log("failed to delete old messages", looked.map(|_| ()));
        }
        round = round.wrapping_add(1);
    }
}

fn log(what: &str, result: Result<()>) {
    if let Err(error) = result {
        tracing::error!(%error, "{what}; retrying in {} s or later", EVERY.as_secs());
    }
}

async fn expire(store: &dyn CommandStore, now: UnixMs) -> Result<()> {
    for _ in 0..EXPIRE_STEPS {
        let expired = store.expire_commands(now).await?;
        if expired == 0 {
            break;
        }
        tracing::info!(
            commands.expired = expired,
            "expired commands that devices had not reported in time"
        );
    }
    Ok(())
}

/// Deletes devices that were without a connection for longer than their enrolment keys allow.
async fn delete_abandoned(store: &dyn Store, now: UnixMs) -> Result<()> {
    for scope in store.abandoned_devices(now, ABANDONED).await? {
        let by = Principal::system(scope.project, "enrolment key");
        let change = Change::DeleteAbandoned(scope.device);
        match store.change(scope.project, &by, change, now).await {
            // The device has connected meanwhile.
            Ok(changed) if changed.affected == 0 => {}
            Ok(_) => {
                tracing::info!(device.id = %scope.device, project.id = %scope.project, "deleted an abandoned device of an ephemeral enrolment key");
            }
            // The device was deleted meanwhile.
            Err(StoreError::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn erase(store: &dyn ErasureStore, now: UnixMs) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < TIME {
        let step = Instant::now();
        if !store.erase_step(now, STEP).await? {
            break;
        }
        leave_room(step).await;
    }
    Ok(())
}

/// Waits as long as a step took, so that deletion uses at most half of the database's time for writing.
async fn leave_room(step: Instant) {
    tokio::time::sleep(step.elapsed()).await;
}

async fn tidy_webhooks(store: &dyn WebhookStore, now: UnixMs) -> Result<()> {
    for _ in 0..WEBHOOK_STEPS {
        if store.tidy_webhooks(now, WEBHOOK_STEP).await? == 0 {
            break;
        }
    }
    Ok(())
}

async fn tidy_alerts(store: &dyn AlertStore, now: UnixMs) -> Result<()> {
    for _ in 0..ALERT_STEPS {
        let mails = (now.saturating_sub(MAIL_MS), now.saturating_sub(MAIL_KEPT_MS));
        if store.tidy_alerts(now, mails, STEP).await? == 0 {
            break;
        }
    }
    Ok(())
}

/// Devices of a project whose old messages are deleted, in the order of their turns.
struct Turns {
    before: UnixMs,
    devices: VecDeque<Scope>,
}

/// Deletes messages that are older, or more, than their project keeps. Returns false if time ran out first.
///
/// # Errors
/// If the store fails; earlier deletions stay.
pub async fn retain(store: &dyn Store, now: UnixMs) -> Result<bool> {
    retain_for(store, now, TIME).await
}

/// Does the same as [`retain`], for at most `time` after the first turn of each project.
///
/// Projects take turns, and so do the devices of a project: each deletes one step and waits for the others.
///
/// # Errors
/// If the store fails; earlier deletions stay.
pub async fn retain_for(store: &dyn Store, now: UnixMs, time: Duration) -> Result<bool> {
    let mut projects = VecDeque::new();
    for project in store.projects().await? {
        let by_bytes = match store
            .limits(project.id)
            .await?
            .and_then(|limits| limits.retention_bytes)
        {
            Some(kept) => room_for(kept, &store.hours(project.id).await?),
            None => None,
        };
        if let Some(before) = kept_since(&project, now).max(by_bytes) {
            let own = Scope {
                project: project.id,
                device: NO_DEVICE,
            };
            let devices = store.devices_with(project.id, DeviceNeeds::default()).await?;
            let devices = devices
                .into_iter()
                .map(|device| device.scope)
                .chain([own])
                .collect();
            projects.push_back(Turns { before, devices });
        }
    }
    let (began, mut first_turns) = (Instant::now(), projects.len());
    while let Some(mut turns) = projects.pop_front() {
        if first_turns == 0 && began.elapsed() >= time {
            return Ok(false);
        }
        first_turns = first_turns.saturating_sub(1);
        turn(store, &mut turns).await?;
        if !turns.devices.is_empty() {
            projects.push_back(turns);
        }
    }
    Ok(true)
}

/// Performs one turn of a project: deletes old messages of the next device that has some.
async fn turn(store: &dyn ErasureStore, turns: &mut Turns) -> Result<()> {
    for _ in 0..LOOKS {
        let Some(scope) = turns.devices.pop_front() else {
            break;
        };
        let step = Instant::now();
        let dropped = store.drop_older(scope, turns.before, STEP).await?;
        if dropped >= STEP as u64 {
            turns.devices.push_back(scope);
        }
        if dropped > 0 {
            tracing::debug!(device.id = %scope.device, messages.deleted = dropped, "deleted old messages");
            leave_room(step).await;
            break;
        }
    }
    Ok(())
}

/// Returns the earliest time whose messages a project keeps; none if it keeps them forever.
fn kept_since(project: &Project, now: UnixMs) -> Option<UnixMs> {
    Some(now.saturating_sub(UnixMs::from(project.retention_days?) * DAY_MS))
}

/// Returns the time before which messages have to be deleted so that at most `kept` bytes stay; none if they
/// fit. Within the hour that is divided, messages are assumed to be evenly distributed; the next round
/// corrects the difference.
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

#[cfg(test)]
mod tests {
    use iottly_protocol::ProjectId;

    use super::*;

    #[test]
    fn the_oldest_go_until_the_rest_fits() {
        let hours = [
            HourUsage { start: 0, bytes: 100 },
            HourUsage {
                start: HOUR_MS,
                bytes: 0,
            },
            HourUsage {
                start: 5 * HOUR_MS,
                bytes: 50,
            },
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
        let mut project = Project {
            id: ProjectId::from_bytes([1; 12]),
            name: "p".into(),
            created: 0,
            retention_days: None,
        };
        assert_eq!(kept_since(&project, 10 * DAY_MS), None);
        project.retention_days = Some(3);
        assert_eq!(kept_since(&project, 10 * DAY_MS), Some(7 * DAY_MS));
    }
}
