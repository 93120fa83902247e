//! Events as a stream sends them: messages, log lines and reports of devices as they are stored.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use iottly_protocol::DeviceId;
use iottly_protocol::release::LeaseId;
use serde::Serialize;

use super::dto::{LaggedEvent, LeaseReportDto, LogEvent, MessageEvent, PresenceDto};
use super::message_filter::MessageFilter;
use super::query::Params;
use crate::app::WebServices;
use crate::auth::ProjectAccess;
use crate::error::ApiError;
use iottly_cloud::live::{LiveEvent, LiveStream, PresenceChange, TooManyWatchers};
use iottly_core::ingest::{Observed, ObservedRecord};
use iottly_core::model::{StoredMessage, UnixMs};

/// Interval of the keep-alive comments on an idle stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Interval at which a stream checks that its caller may still read what it sends.
const CHECK: Duration = Duration::from_secs(15);

/// Answer of a device to an order, of this lease or of another.
#[derive(Serialize)]
struct ReportEvent {
    device: DeviceId,
    at: UnixMs,
    lease: Option<LeaseId>,
    #[serde(flatten)]
    report: LeaseReportDto,
}

/// Presence of a device after a change.
#[derive(Serialize)]
struct PresenceEvent {
    device: DeviceId,
    #[serde(flatten)]
    presence: PresenceDto,
}

/// Message of which the filter could not decide within its steps whether it matches.
#[derive(Serialize)]
struct UndecidedEvent {
    device: DeviceId,
    at: UnixMs,
}

/// Filter of the messages of a stream. With one, a stream has messages only.
pub(super) type Filtered = Option<(MessageFilter, WebServices)>;

/// Reads the filter of a request.
///
/// # Errors
/// 400 with the reason when the text is no filter.
pub(super) fn filtered(access: &ProjectAccess, params: &Params) -> Result<Filtered, ApiError> {
    let filter = MessageFilter::of(params.get("filter").unwrap_or_default())?;
    Ok(filter.map(|filter| (filter, access.services().clone())))
}

/// Returns the response that sends a watcher's events until `end`.
pub(super) fn response(
    live: LiveStream,
    filter: Filtered,
    end: impl Future<Output = ()> + Send + 'static,
) -> Response {
    let sse = Sse::new(feed(live, filter, Box::pin(end))).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    sse.into_response()
}

/// Resolves once a check says that a stream is over.
pub(super) async fn until<F>(is_over: impl Fn() -> F)
where
    F: Future<Output = iottly_store::Result<bool>>,
{
    loop {
        tokio::time::sleep(CHECK).await;
        match is_over().await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => {
                tracing::debug!(%error, "failed to look up the token of an event stream; retrying in 15 s");
            }
        }
    }
}

/// Returns the error for a watcher that is not admitted.
pub(super) fn refused(error: TooManyWatchers) -> ApiError {
    match error {
        TooManyWatchers::Project => ApiError::too_many("too_many_streams", error.to_string()),
        TooManyWatchers::All => ApiError::unavailable("too_many_streams", error.to_string()),
    }
}

fn feed(
    live: LiveStream,
    filter: Filtered,
    end: impl Future<Output = ()> + Send + Unpin + 'static,
) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    // The first bytes tell the caller that watching has begun.
    let ready = VecDeque::from([Event::default().comment("watching")]);
    let state = (live, filter, end, ready);
    stream::unfold(state, async |(mut live, filter, mut end, mut ready)| {
        loop {
            if let Some(event) = ready.pop_front() {
                return Some((Ok(event), (live, filter, end, ready)));
            }
            let event = tokio::select! {
                event = live.recv() => event,
                () = &mut end => return None,
            };
            match &filter {
                Some((filter, services)) => ready.extend(matching(filter, services, &event).await?),
                None => ready.push_back(shown(&event)?),
            }
        }
    })
}

/// Returns the event to send by a filter, if there is one; none if the feed has ended.
async fn matching(
    filter: &MessageFilter,
    services: &WebServices,
    event: &LiveEvent,
) -> Option<Option<Event>> {
    match event {
        LiveEvent::Message(message) => Some(match filter.matches(services, message).await {
            Ok(true) => Some(message_event(message)),
            Ok(false) => None,
            Err(_) => Some(event_of(
                "undecided",
                &UndecidedEvent {
                    device: message.scope.device,
                    at: message.timestamp,
                },
            )),
        }),
        LiveEvent::Observed(_) | LiveEvent::Presence(_) | LiveEvent::PresenceSkipped => Some(None),
        LiveEvent::Ended | LiveEvent::Lagged(_) => shown(event).map(Some),
    }
}

/// Returns the event to send; none if the feed has ended.
fn shown(event: &LiveEvent) -> Option<Event> {
    match event {
        LiveEvent::Ended => None,
        LiveEvent::Lagged(count) => Some(event_of("lagged", &LaggedEvent { count: *count })),
        LiveEvent::Message(message) => Some(message_event(message)),
        LiveEvent::Observed(observed) => Some(observed_event(observed)),
        LiveEvent::Presence(change) => Some(presence_event(change)),
        LiveEvent::PresenceSkipped => Some(Event::default().event("presence_lagged").data("{}")),
    }
}

fn message_event(message: &StoredMessage) -> Event {
    event_of(
        "message",
        &MessageEvent {
            id: message.id,
            device: message.scope.device,
            at: message.timestamp,
            firmware: message.firmware,
            kind: message.kind,
            channel: message.channel.as_deref().map(Cow::Borrowed),
            payload: Cow::Borrowed(&message.payload),
        },
    )
}

fn presence_event(change: &PresenceChange) -> Event {
    event_of(
        "presence",
        &PresenceEvent {
            device: change.scope.device,
            presence: change.view.clone().into(),
        },
    )
}

fn observed_event(observed: &Observed) -> Event {
    let (device, at) = (observed.scope.device, observed.received);
    match &observed.what {
        ObservedRecord::Log(line) => event_of(
            "log",
            &LogEvent {
                device,
                at,
                firmware: line.firmware,
                level: line.level,
                text: Cow::Borrowed(&line.text),
            },
        ),
        ObservedRecord::Developer(report) => event_of(
            "report",
            &ReportEvent {
                device,
                at,
                lease: report.lease,
                report: report.as_ref().clone().into(),
            },
        ),
    }
}

fn event_of(name: &str, data: &impl Serialize) -> Event {
    let data = serde_json::to_string(data).expect("events have string keys and serialize without failing");
    // A payload keeps the line breaks between its tokens; as spaces they cannot end the event early, and inside of
    // strings JSON has none.
    Event::default().event(name).data(data.replace(['\r', '\n'], " "))
}
