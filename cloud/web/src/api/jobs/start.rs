//! Beginning of a job: its task and its devices, checked.

use std::collections::HashSet;

use iottly_cloud::clock;
use iottly_core::command::{DEFAULT_TTL_MS, MAX_TTL_MS, validate};
use iottly_core::model::{Change, Device, Idempotency, Job, JobId, JobTask, NewJob, Scopes};
use iottly_protocol::DeviceId;
use iottly_store::DeviceNeeds;

use crate::api::DeviceFilter;
use crate::api::device::checked_tags;
use crate::api::dto::JobBody;
use crate::auth::ProjectAccess;
use crate::error::ApiError;

/// Maximum number of devices that a request names.
const MAX_NAMED: usize = 5_000;

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::invalid("invalid_body", message)
}

/// Starts a job, or returns the one that was started under the same key.
pub(crate) async fn begin(
    access: &ProjectAccess,
    body: JobBody,
    key: Option<Idempotency>,
) -> Result<Job, ApiError> {
    access.require(JobTask::scope_of(&body.kind))?;
    if let Some(job) = earlier(access, key.as_ref()).await? {
        return Ok(job);
    }
    let task = task(access, &body).await?;
    let devices = chosen(access, body.devices.as_deref(), body.filter.as_deref()).await?;
    let mut devices: Vec<DeviceId> = devices.into_iter().map(|device| device.scope.device).collect();
    devices.sort_unstable();
    if devices.is_empty() {
        return Err(invalid(
            "the job has no devices: none is named, or none matches the filter",
        ));
    }
    if task == JobTask::Delete && body.confirm != Some(devices.len() as u64) {
        return Err(invalid(format!(
            "confirm is not the number of devices that would be deleted, {}",
            devices.len()
        )));
    }
    let new = NewJob {
        id: JobId::random(),
        task,
        devices,
        key: key.clone(),
    };
    let id = new.id;
    let changed = access
        .change(Change::StartJob(Box::new(new)), clock::now())
        .await?;
    if changed.affected == 0 {
        // Another request with the key came first.
        let job = earlier(access, key.as_ref()).await?;
        return job.ok_or_else(|| ApiError::missing("project has no such job"));
    }
    access.services().jobs.started();
    super::find(access, &id.to_string()).await
}

/// Returns the job of a key.
async fn earlier(access: &ProjectAccess, key: Option<&Idempotency>) -> Result<Option<Job>, ApiError> {
    let Some(key) = key else { return Ok(None) };
    match access.services().store.job_of_key(access.id(), key).await? {
        None => Ok(None),
        Some((id, request)) if request == key.request => super::find(access, &id.to_string()).await.map(Some),
        Some(_) => Err(ApiError::reused_key()),
    }
}

async fn task(access: &ProjectAccess, body: &JobBody) -> Result<JobTask, ApiError> {
    let tags = |tags: &Option<Vec<String>>| checked_tags(tags.as_deref().unwrap_or_default());
    match body.kind.as_str() {
        "move" => {
            let group = body.deployment_group;
            let group = group.ok_or_else(|| invalid("deployment_group is missing"))?;
            Ok(JobTask::Move { group })
        }
        "delete" => Ok(JobTask::Delete),
        "command" => command(access, body).await,
        "tag" => {
            let (add, remove) = (tags(&body.add)?, tags(&body.remove)?);
            if add.is_empty() && remove.is_empty() {
                return Err(invalid("add and remove are both empty"));
            }
            Ok(JobTask::Tag { add, remove })
        }
        "export" => {
            if let (Some(from), Some(to)) = (body.from, body.to)
                && from >= to
            {
                return Err(invalid("from is not before to"));
            }
            Ok(JobTask::Export {
                from: body.from,
                to: body.to,
            })
        }
        _ => Err(invalid(format!("kind is none of {}", JobTask::KINDS.join(", ")))),
    }
}

/// Checks the command once, against its definition; each device gets the same.
async fn command(access: &ProjectAccess, body: &JobBody) -> Result<JobTask, ApiError> {
    let refused = |reason: String| ApiError::invalid("invalid_command", reason);
    let cmd_type = body.cmd_type.clone().unwrap_or_default();
    let values = body.values.clone().unwrap_or_default();
    let definitions = access.definitions().await?;
    let definition = definitions
        .iter()
        .find(|definition| definition.cmd_type == cmd_type)
        .ok_or_else(|| refused("cmd_type is not defined in this project".to_owned()))?;
    validate(definition, &values).map_err(|error| refused(error.to_string()))?;
    if !(1..=MAX_TTL_MS).contains(&body.ttl_ms.unwrap_or(DEFAULT_TTL_MS)) {
        return Err(refused(format!("ttl_ms must be between 1 and {MAX_TTL_MS}")));
    }
    Ok(JobTask::Command {
        cmd_type,
        values,
        ttl_ms: body.ttl_ms,
    })
}

/// Returns the devices that are named, or that match a filter; of the group that the requester is bound to, if it is.
pub(crate) async fn chosen(
    access: &ProjectAccess,
    named: Option<&[DeviceId]>,
    filter: Option<&str>,
) -> Result<Vec<Device>, ApiError> {
    let (own, store) = (access.principal().group, &access.services().store);
    let is_own = |device: &Device| own.is_none_or(|group| group == device.group);
    match (named, filter.map(str::trim)) {
        (Some(named), None) if named.len() <= MAX_NAMED => {
            let wanted: HashSet<_> = named.iter().copied().collect();
            let devices = store.devices_with_ids(access.id(), named).await?.into_iter();
            let devices: Vec<Device> = devices.filter(is_own).collect();
            if devices.len() < wanted.len() {
                let known: HashSet<_> = devices.iter().map(|device| device.scope.device).collect();
                let unknown = wanted.difference(&known).min();
                let unknown = unknown.map(ToString::to_string).unwrap_or_default();
                return Err(ApiError::forbidden(format!(
                    "device \"{unknown}\" is unknown in this project"
                )));
            }
            Ok(devices)
        }
        (Some(_), None) => Err(invalid(format!("devices has more than {MAX_NAMED} entries"))),
        (None, Some(filter)) => {
            access.require(Scopes::READ)?;
            let mut devices = match filter {
                "" => store.devices_with(access.id(), DeviceNeeds::default()).await?,
                text => DeviceFilter::of(access, text).await?.matching(access).await?,
            };
            devices.retain(is_own);
            Ok(devices)
        }
        _ => Err(invalid("body needs either devices or filter")),
    }
}
