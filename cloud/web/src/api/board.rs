//! Endpoints for the view of a virtual board: its state, its changes, and inputs to it.

use std::convert::Infallible;

use axum::extract::State;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use iottly_cloud::boards::{BoardError, Seen, Viewer};
use iottly_protocol::board::BoardInput;

use super::Answer;
use super::body::JsonBody;
use super::dto::{BoardDto, InputsBody};
use super::event_feed::{beat, beats, until};
use super::events::device_is_over;
use super::spaced::Spaced;
use crate::app::{App, until_true};
use crate::auth::DeviceAccess;
use crate::error::ApiError;

/// Returns the board of a device, as a person beside it would see it now: levels of pins, PWM outputs and the values that its
/// sensors measure. Virtual boards only: real hardware is `hidden`.
///
/// The device is asked, for two seconds at most.
#[utoipa::path(
    get,
    path = "/device/{device}/board",
    tag = "devices",
    responses((status = 200, description = "The board", body = BoardDto))
)]
pub(super) async fn show(access: DeviceAccess) -> Answer<BoardDto> {
    let seen = look(&access).await?;
    Ok(Spaced((&seen).into()))
}

/// Returns what is seen of a device's board.
pub(crate) async fn look(access: &DeviceAccess) -> Result<Seen, ApiError> {
    Ok(access.services().boards.watch(access.scope())?.first().await)
}

/// Returns the board of a device and its changes, as server-sent events.
///
/// Events: `board`, with the fields of the board. Of changes that come faster than the caller reads, the newest is sent.
#[utoipa::path(
    get,
    path = "/device/{device}/board/events",
    tag = "devices",
    responses((status = 200, description = "The events", content_type = "text/event-stream", body = String))
)]
pub(super) async fn events(access: DeviceAccess, State(app): State<App>) -> Result<Response, ApiError> {
    let viewer = access.services().boards.watch(access.scope())?;
    let end = async move {
        tokio::select! {
            () = until_true(app.closing) => {}
            () = until(|| device_is_over(&access)) => {}
        }
    };
    Ok(Sse::new(feed(viewer, Box::pin(end))).into_response())
}

fn feed(
    viewer: Viewer,
    end: impl Future<Output = ()> + Send + Unpin + 'static,
) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    let state = (viewer, end, beats(), true);
    stream::unfold(state, async |(mut viewer, mut end, mut beats, is_first)| {
        let seen = if is_first {
            viewer.now()
        } else {
            tokio::select! {
                seen = viewer.changed() => seen?,
                _ = beats.tick() => return Some((Ok(beat()), (viewer, end, beats, false))),
                () = &mut end => return None,
            }
        };
        let data = serde_json::to_string(&BoardDto::from(&seen))
            .expect("a board has string keys and serializes without failing");
        Some((
            Ok(Event::default().event("board").data(data)),
            (viewer, end, beats, false),
        ))
    })
}

/// Presses or releases buttons of a virtual board and sets the values that its sensors measure, in the order of the list.
///
/// Returns the board after that, as the device confirms it within two seconds. A press ends by itself after `hold_ms`.
/// Nothing is queued: a device that is not there gets nothing (409).
#[utoipa::path(
    post,
    path = "/device/{device}/board/inputs",
    tag = "devices",
    request_body = InputsBody,
    responses((status = 200, description = "The board after the inputs", body = BoardDto))
)]
pub(super) async fn touch(access: DeviceAccess, JsonBody(body): JsonBody<InputsBody>) -> Answer<BoardDto> {
    let inputs = body.inputs.into_iter().map(Into::into).collect();
    let seen = apply(&access, inputs).await?;
    Ok(Spaced((&seen).into()))
}

/// Passes inputs of the requester to a device.
pub(crate) async fn apply(access: &DeviceAccess, inputs: Vec<BoardInput>) -> Result<Seen, ApiError> {
    let by = access.project().principal();
    let boards = &access.services().boards;
    Ok(boards.touch(access.scope(), by, inputs).await?)
}

impl From<BoardError> for ApiError {
    fn from(error: BoardError) -> Self {
        let text = error.to_string();
        match error {
            BoardError::Viewers | BoardError::Devices => Self::too_many("too_many_viewers", text),
            BoardError::All => Self::unavailable("too_many_viewers", text),
            BoardError::Invalid(_) => Self::invalid("invalid_input", text),
            BoardError::TooMany { wait_s } => Self::too_many("too_many_inputs", text).retry_after(wait_s),
            BoardError::NotLive(_) => Self::conflict("board_not_live", text),
            BoardError::Unanswered => Self::conflict("board_unanswered", text),
            BoardError::Store(error) => error.into(),
        }
    }
}
