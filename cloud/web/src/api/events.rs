//! Endpoints with the events of a project or a device as they are stored.

use axum::extract::State;
use axum::response::Response;

use super::event_feed;
use super::query::Params;
use crate::app::{App, until_true};
use crate::auth::{DeviceAccess, ProjectAccess};
use crate::error::ApiError;
use iottly_cloud::clock;
use iottly_cloud::live::Watch;

/// Returns the messages of all devices of the project as they are stored, as server-sent events.
///
/// Events: `message` (`id`, `device`, `at`, `firmware`, `type`, `channel`, `payload`), `presence` (`device`, and the fields of
/// `presence` in the properties of a device), `presence_lagged` (changes of presence were skipped: read the devices again) and
/// `lagged` (`count`: number of messages that were skipped because the caller
/// read too slowly). Nothing of before the request is sent. With `filter` only messages that match are sent, and `lagged`, and
/// `undecided` (`device`, `at`) for a message of which the filter could not decide within 5,000 steps whether it matches.
#[utoipa::path(
    get,
    path = "/events",
    tag = "messages",
    params(("filter" = Option<String>, Query, description = "Conditions such as `group:demo temp>30`, or a filter as JSON")),
    responses((status = 200, description = "The events", content_type = "text/event-stream", body = String))
)]
pub(super) async fn of_project(
    access: ProjectAccess,
    State(app): State<App>,
    params: Params,
) -> Result<Response, ApiError> {
    let filter = event_feed::filtered(&access, &params)?;
    let what = Watch {
        project: access.id(),
        device: None,
    };
    let live = access.services().live.watch(what).map_err(event_feed::refused)?;
    Ok(event_feed::response(live, filter, async move {
        tokio::select! {
            () = until_true(app.closing) => {}
            () = event_feed::until(|| project_is_over(&access)) => {}
        }
    }))
}

/// Returns the messages, log lines and reports of a device as they are stored, as server-sent events.
///
/// Events: `message` (`id`, `device`, `at`, `firmware`, `type`, `channel`, `payload`), `log` (`device`, `at`, `firmware`,
/// `level`, `text`), `presence` (as of the project), `report` (an answer to a developer lease) and `lagged` (`count`: number of events that were skipped
/// because the caller read too slowly). Nothing of before the request is sent. With `filter` only messages that match are sent, and `lagged`, and
/// `undecided` (`device`, `at`) for a message of which the filter could not decide within 5,000 steps whether it matches.
#[utoipa::path(
    get,
    path = "/device/{device}/events",
    tag = "messages",
    params(("filter" = Option<String>, Query, description = "Conditions such as `group:demo temp>30`, or a filter as JSON")),
    responses((status = 200, description = "The events", content_type = "text/event-stream", body = String))
)]
pub(super) async fn of_device(
    access: DeviceAccess,
    State(app): State<App>,
    params: Params,
) -> Result<Response, ApiError> {
    let filter = event_feed::filtered(access.project(), &params)?;
    let scope = access.scope();
    let live = access
        .services()
        .live
        .watch_devices(scope.project, [scope.device])
        .map_err(event_feed::refused)?;
    Ok(event_feed::response(live, filter, async move {
        tokio::select! {
            () = until_true(app.closing) => {}
            () = event_feed::until(|| device_is_over(&access)) => {}
        }
    }))
}

async fn project_is_over(access: &ProjectAccess) -> iottly_store::Result<bool> {
    Ok(!access.still_reads(clock::now()).await?)
}

/// Returns true if the requester may not read the device any more.
pub(super) async fn device_is_over(access: &DeviceAccess) -> iottly_store::Result<bool> {
    if project_is_over(access.project()).await? {
        return Ok(true);
    }
    let device = access.services().store.device(access.scope()).await?;
    // A token that is bound to a group loses a device that leaves it.
    let group = access.project().principal().group;
    Ok(device.is_none_or(|device| group.is_some_and(|group| group != device.group)))
}
