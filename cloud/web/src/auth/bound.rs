//! Requests of tokens that are bound to a deployment group. One table says which operations are about devices of a group;
//! all others are refused, so that a new endpoint is closed to such tokens until it is named here.

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams};
use axum::http::Method;
use axum::http::request::Parts;
use iottly_core::model::{Change, JobTask, Principal, Scope};
use iottly_protocol::GroupId;

use crate::app::App;
use crate::error::ApiError;

/// Routes that answer every valid token.
const PINGS: [&str; 2] = ["/v1.0/ping", "/v1.0/project/ping"];
/// Beginning of the routes of a project.
const PROJECT: &str = "/v1.0/project/{project}";
/// Routes of a deployment group that a bound token may use with any method. The group itself is only read: renaming or
/// deleting it, and moving devices, concern others.
const GROUP_ACTIONS: [&str; 6] = ["flashfw", "rollback", "pause", "resume", "cancel", "policy"];

/// Object that decides on a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    /// The token itself: a client asks if it is valid.
    Token,
    /// The device in the path has to be in the group.
    Device,
    /// The group in the path has to be the group.
    Group,
    /// The rollout in the path has to be one of the group.
    Rollout,
    /// The job in the path has to be one that a token of the group started.
    Job,
}

/// Returns the subject of an operation; `None` for operations that are not about the devices of one group.
fn subject(method: &Method, route: &str) -> Option<Subject> {
    if PINGS.contains(&route) {
        return Some(Subject::Token);
    }
    let route = route.strip_prefix(PROJECT)?.trim_end_matches('/');
    let parts: Vec<_> = route.split('/').skip(1).collect();
    match parts[..] {
        // The handler of jobs lists those of the group, and starts jobs over its devices only.
        ["whoami"] | ["jobs"] => Some(Subject::Token),
        ["jobs", "{job}", ..] => Some(Subject::Job),
        ["device", "{device}", ..] | ["messages", "{device}"] => Some(Subject::Device),
        ["deploymentgroups", "{group}"] if method.is_safe() => Some(Subject::Group),
        ["deploymentgroups", "{group}", action] if GROUP_ACTIONS.contains(&action) => Some(Subject::Group),
        ["rollouts", "{rollout}", ..] => Some(Subject::Rollout),
        _ => None,
    }
}

/// Refuses a request with a bound token that is not about a device of its group, with 403.
pub(super) async fn check(principal: &Principal, parts: &mut Parts, app: &App) -> Result<(), ApiError> {
    let Some(group) = principal.group else {
        return Ok(());
    };
    let (store, project) = (&app.services.store, principal.project);
    let route = MatchedPath::from_request_parts(parts, app)
        .await
        .map_err(|_| ApiError::not_found())?;
    let params = RawPathParams::from_request_parts(parts, app)
        .await
        .map_err(|_| ApiError::not_found())?;
    let named = |name: &str| {
        params
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    };
    let within = match subject(&parts.method, route.as_str()) {
        Some(Subject::Token) => true,
        Some(Subject::Group) => named("group").is_some_and(|id| id.parse() == Ok(group)),
        Some(Subject::Device) => match named("device").and_then(|id| id.parse().ok()) {
            Some(device) => {
                let device = store.device(Scope { project, device }).await?;
                device.is_some_and(|device| device.group == group)
            }
            None => false,
        },
        Some(Subject::Job) => match named("job").and_then(|id| id.parse().ok()) {
            Some(id) => {
                let job = store.job(project, id).await?;
                job.is_some_and(|job| job.by.group == Some(group))
            }
            None => false,
        },
        Some(Subject::Rollout) => match named("rollout").and_then(|id| id.parse().ok()) {
            Some(id) => {
                let rollout = store.rollout(project, id).await?;
                rollout.is_some_and(|rollout| rollout.group == group)
            }
            None => false,
        },
        None => false,
    };
    if within { Ok(()) } else { Err(refused()) }
}

/// Refuses a change that would move a device out of the group.
pub(super) fn check_change(group: GroupId, change: &Change) -> Result<(), ApiError> {
    match change {
        Change::UpdateDevice {
            group: Some(other), ..
        } if *other != group => Err(refused()),
        Change::MoveDevices(..) => Err(refused()),
        Change::StartJob(job) if matches!(job.task, JobTask::Move { .. }) => Err(refused()),
        _ => Ok(()),
    }
}

fn refused() -> ApiError {
    ApiError::forbidden("token is bound to a deployment group, and this is not about its devices")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_about_devices_of_a_group_has_no_subject() {
        for (method, route, wanted) in [
            (
                Method::GET,
                "/device/{device}/messages/export",
                Some(Subject::Device),
            ),
            (Method::POST, "/device/{device}/command", Some(Subject::Device)),
            (Method::DELETE, "/device/{device}", Some(Subject::Device)),
            (Method::GET, "/messages/{device}", Some(Subject::Device)),
            (Method::GET, "/deploymentgroups/{group}", Some(Subject::Group)),
            (
                Method::POST,
                "/deploymentgroups/{group}/flashfw",
                Some(Subject::Group),
            ),
            (Method::PUT, "/deploymentgroups/{group}", None),
            (Method::DELETE, "/deploymentgroups/{group}", None),
            (Method::POST, "/deploymentgroups/{group}/devices", None),
            (Method::DELETE, "/deploymentgroups/{group}/devices/{member}", None),
            (Method::GET, "/rollouts/{rollout}/devices", Some(Subject::Rollout)),
            (Method::POST, "/jobs", Some(Subject::Token)),
            (Method::GET, "/jobs/{job}/file", Some(Subject::Job)),
            (Method::POST, "/device", None),
            (Method::POST, "/device/", None),
            (Method::GET, "/devices/props", None),
            (Method::GET, "/deploymentgroups", None),
            (Method::GET, "/rollouts", None),
            (Method::GET, "/auditlog", None),
            (Method::GET, "", None),
        ] {
            let route = format!("{PROJECT}{route}");
            assert_eq!(subject(&method, &route), wanted, "{method} {route}");
        }
        assert_eq!(subject(&Method::GET, "/v1.0/projects"), None);
        assert_eq!(
            subject(&Method::GET, "/devices/{device}"),
            None,
            "pages are for whole projects"
        );
    }
}
