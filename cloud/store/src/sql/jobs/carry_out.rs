//! Steps of jobs that change devices: the change and its record are one transaction.

use iottly_protocol::{DeviceId, GroupId};

use super::super::db::{self, Conn};
use super::super::{codec, erase, groups};
use super::steps;
use crate::jobs::{ClaimedJob, JobStep};
use crate::{Result, StoreError};
use iottly_core::jobs::{Event, retagged};
use iottly_core::model::{Job, JobTask, UnixMs};

/// Reason for a device that is not in the project any more.
const UNKNOWN: &str = "device is unknown in this project";

/// A device as a step finds it.
struct Found {
    group: GroupId,
    tags: Vec<String>,
}

/// Carries the next devices of a job out. Returns false if the job has ended or another worker has it.
pub(super) async fn carry_out(tx: &mut Conn, claim: &ClaimedJob, now: UnixMs) -> Result<bool> {
    // As in every change: the project first.
    let known = sqlx::query(db::LOCK_PROJECT)
        .bind(codec::id(&claim.job.project))
        .fetch_optional(&mut *tx)
        .await?;
    let held = match known {
        Some(_) => steps::held(tx, claim).await?,
        None => None,
    };
    let Some(job) = held.filter(|job| !job.progress.state.is_final()) else {
        return Ok(false);
    };
    if let JobTask::Move { group } = &job.task {
        match groups::must_exist(tx, job.project, *group).await {
            Ok(()) => {}
            Err(StoreError::Missing { .. }) => {
                let gone = Event::Stopped("the deployment group was deleted".to_owned());
                return steps::record(tx, claim, gone.into(), now).await;
            }
            Err(error) => return Err(error),
        }
    }
    let mut failures = Vec::new();
    for (at, device) in claim.devices.iter().enumerate() {
        if let Err(reason) = one(tx, &job, *device, now).await? {
            failures.push((at, reason));
        }
    }
    let event = Event::Stepped {
        done: claim.devices.len() as u64,
        failed: failures.len() as u64,
    };
    let step = JobStep {
        event,
        failures,
        file: None,
    };
    steps::record(tx, claim, step, now).await
}

/// Carries one device out. The inner error is the reason for which the device failed.
async fn one(
    tx: &mut Conn,
    job: &Job,
    device: DeviceId,
    now: UnixMs,
) -> Result<std::result::Result<(), String>> {
    let Some(found) = find(tx, job, device).await? else {
        return Ok(Err(UNKNOWN.to_owned()));
    };
    if job.by.group.is_some_and(|group| group != found.group) {
        return Ok(Err(
            "device is not in the deployment group that the token is bound to".to_owned(),
        ));
    }
    match &job.task {
        JobTask::Move { group } if *group == found.group => {}
        JobTask::Move { group } => {
            sqlx::query("UPDATE devices SET group_id = $3 WHERE project = $1 AND id = $2")
                .bind(codec::id(&job.project))
                .bind(codec::id(&device))
                .bind(codec::id(group))
                .execute(tx)
                .await?;
        }
        JobTask::Delete => {
            erase::device(tx, job.project, device, now).await?;
        }
        JobTask::Tag { add, remove } => match retagged(&found.tags, add, remove) {
            Ok(tags) if tags == found.tags => {}
            Ok(tags) => {
                let tags = serde_json::to_string(&tags).expect("a list of texts serializes without failing");
                sqlx::query("UPDATE devices SET tags = $3 WHERE project = $1 AND id = $2")
                    .bind(codec::id(&job.project))
                    .bind(codec::id(&device))
                    .bind(codec::text(&tags))
                    .execute(tx)
                    .await?;
            }
            Err(reason) => return Ok(Err(reason)),
        },
        JobTask::Command { .. } | JobTask::Export { .. } => {
            return Err(StoreError::Refused(format!(
                "a job of the kind {} changes no device",
                job.task.kind()
            )));
        }
    }
    Ok(Ok(()))
}

async fn find(tx: &mut Conn, job: &Job, device: DeviceId) -> Result<Option<Found>> {
    let row = sqlx::query("SELECT group_id, tags FROM devices WHERE project = $1 AND id = $2")
        .bind(codec::id(&job.project))
        .bind(codec::id(&device))
        .fetch_optional(tx)
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Found {
        group: codec::group(&row, "devices", "group_id")?,
        tags: codec::json(codec::get(&row, "tags")?, "devices", "tags")?,
    }))
}
