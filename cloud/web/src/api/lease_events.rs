//! Endpoint with the events of a developer lease: messages, log lines and reports of its devices as they are stored.

use axum::extract::{Path, State};
use axum::response::Response;
use iottly_protocol::release::LeaseId;

use super::event_feed;
use super::leases::named;
use crate::app::{App, until_true};
use crate::auth::ProjectAccess;
use crate::error::ApiError;
use iottly_cloud::clock;
use iottly_core::model::UnixMs;

/// Time for which a stream continues after its lease has ended, so that it shows how the devices return to their
/// releases.
const AFTER_MS: UnixMs = 60_000;

/// Returns the messages, log lines and reports of a lease's devices as they are stored, as server-sent events.
///
/// Events: `message` (`device`, `at`, `firmware`, `type`, `channel`, `payload`), `log` (`device`, `at`, `firmware`,
/// `level`, `text`), `report` (`device`, `at`, `lease` and the fields of a report) and `lagged` (`count`: number of
/// events that were skipped because the caller read too slowly). `firmware` is the beginning of the SHA-256 of the
/// script that made the message or line; null for the committed release. The stream ends a minute after the lease.
#[utoipa::path(
    get,
    path = "/leases/{lease}/events",
    tag = "developer leases",
    responses((status = 200, description = "The events", content_type = "text/event-stream", body = String))
)]
pub(super) async fn events(
    access: ProjectAccess,
    State(app): State<App>,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let lease = named(&access, &id).await?;
    let devices = lease.devices.iter().map(|known| known.device);
    let live = access
        .services()
        .live
        .watch_devices(access.id(), devices)
        .map_err(event_feed::refused)?;
    Ok(event_feed::response(live, None, async move {
        tokio::select! {
            () = until_true(app.closing) => {}
            () = event_feed::until(|| is_over(&access, lease.id)) => {}
        }
    }))
}

/// Returns true if the token of the caller is not valid any more, or the lease ended a while ago.
async fn is_over(access: &ProjectAccess, lease: LeaseId) -> iottly_store::Result<bool> {
    let (store, now) = (&access.services().store, clock::now());
    if !access.still_reads(now).await? {
        return Ok(true);
    }
    let lease = store.lease(access.id(), lease).await?;
    let ended = lease.map(|lease| lease.ended.map_or(lease.expires, |(at, _)| at));
    Ok(ended.is_none_or(|at| now >= at.saturating_add(AFTER_MS)))
}
