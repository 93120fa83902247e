//! Event stream of a page: stored messages and changes of presence. Each page has one stream.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use iottly_protocol::{DeviceId, ProjectId};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, MissedTickBehavior, sleep_until};

use super::each_second::Second;
use super::presence_events::{presence, presences};
use super::text;
use super::visitor::{Refusal, Visitor};
use crate::app::WebServices;
use crate::app::{App, until_true};
use crate::auth::still_logged_in;

use crate::api::dto::JobDto;
use crate::api::event_feed::{BEAT, beat};
use crate::api::jobs::{self, Follower};
use crate::api::message_filter::MessageFilter;
use crate::error::ApiError;
use crate::sessions::{Holder, Session};
use iottly_cloud::clock;
use iottly_cloud::live::{LiveEvent, LiveStream, Parts, TooManyWatchers, Watch};
use iottly_core::model::{Cursor, JobId, MessageId, NO_DEVICE, Scope, StoredMessage};
use iottly_store::ScanBounds;

/// Maximum number of missed messages that are replayed after a reconnect; older ones are counted as skipped.
const REPLAY: usize = 200;
/// Maximum number of devices whose presence is sent when a page connects: as many as a page lists.
pub(super) const MAX_DEVICES: usize = 100;
/// Maximum number of jobs that a page follows.
const MAX_JOBS: usize = 20;
/// Pause between two writes of live events to a page: what is stored meanwhile goes out together.
const PAUSE: Duration = Duration::from_millis(100);
/// Shortest time between two events about the numbers of a project, or about changed parts of a page.
const SECOND: Duration = Duration::from_secs(1);
/// Interval at which a stream checks the token or user of its login. A login that ends in this process ends its
/// streams at once.
const TOKEN_CHECK: Duration = Duration::from_secs(15);

/// Parameters of an event stream.
#[derive(Deserialize)]
pub(super) struct Wanted {
    /// Id of a device; `None` for all devices of the project.
    device: Option<String>,
    /// Ids of devices that the page shows, separated by commas: their presence is sent at once.
    devices: Option<String>,
    /// `none` for a page that shows no messages: it gets presence alone. `shown` for a page that shows those of `devices`
    /// and nothing else.
    messages: Option<String>,
    /// Ids of jobs that the page follows, separated by commas. Such a page gets no messages.
    jobs: Option<String>,
    /// Given if the page follows jobs that start later as well.
    later: Option<String>,
    /// Filter of the messages, in the short form or as JSON.
    filter: Option<String>,
    /// Id of the latest message that the page shows.
    after: Option<String>,
    /// Given if the page shows no messages and no presence.
    quiet: Option<String>,
    /// Given if the page shows the numbers of the project.
    counts: Option<String>,
    /// Given if the page waits for a new device: it gets refusals near its visitor.
    arrival: Option<String>,
}

pub(super) async fn events(
    State(app): State<App>,
    headers: HeaderMap,
    visitor: Result<Visitor, Refusal>,
    Query(wanted): Query<Wanted>,
) -> Response {
    let visitor = match visitor {
        Ok(visitor) => visitor,
        Err(Refusal::LoggedOut | Refusal::NoProject(_)) => {
            return ApiError::unauthenticated().into_response();
        }
        Err(Refusal::Error(error)) => return error.into_response(),
    };
    let last = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok())
        .map(str::to_owned);
    open(app, visitor, wanted, last)
        .await
        .unwrap_or_else(IntoResponse::into_response)
}

async fn open(
    app: App,
    visitor: Visitor,
    wanted: Wanted,
    last: Option<String>,
) -> Result<Response, ApiError> {
    let after = last.or(wanted.after);
    let filter = match wanted.filter.as_deref() {
        Some(text) => MessageFilter::of(text)?,
        None => None,
    };
    let (project, store) = (visitor.project.id(), app.services.store.clone());
    let place = visitor.session.stream();
    let place =
        place.ok_or_else(|| ApiError::too_many("too_many_streams", "this login has too many open pages"))?;
    let mut ready = VecDeque::new();
    if !matches!(wanted.messages.as_deref(), None | Some("none" | "shown")) {
        return Err(ApiError::invalid(
            "invalid_query",
            "messages is neither none nor shown",
        ));
    }
    let device = match wanted.device {
        Some(id) => Some(visitor.device(&id).await?),
        None => None,
    };
    let mut shown: Vec<DeviceId> = device.iter().map(|access| access.scope().device).collect();
    for id in wanted
        .devices
        .iter()
        .flat_map(|ids| ids.split(','))
        .take(MAX_DEVICES)
    {
        // A device may have been deleted since the page was made.
        if let Ok(access) = visitor.device(id).await {
            shown.push(access.scope().device);
        }
    }
    let scope = device.as_ref().map(|access| access.scope());
    // Watching starts before presence and replay are read, so that nothing is missed between the two.
    let jobs = wanted.jobs.map(|ids| {
        let follower = Follower::new(store.clone(), project, job_ids(&ids));
        match wanted.later {
            Some(_) => follower.with_later(),
            None => follower,
        }
    });
    let device_watched = match &jobs {
        Some(_) => Some(NO_DEVICE),
        None => scope.map(|scope| scope.device),
    };
    let hub = &app.services.live;
    let presence_alone = wanted.messages.as_deref() == Some("none");
    let live = match (device_watched, wanted.messages.as_deref()) {
        (None, Some("none")) => hub.watch_presence(project),
        // Without a device there is nothing to watch, and the place is taken all the same.
        (None, Some(_)) if shown.is_empty() => hub.watch_some(project, &[NO_DEVICE]),
        (None, Some(_)) => hub.watch_some(project, &shown),
        (device, _) => hub.watch(Watch { project, device }),
    };
    let live = live.map(LiveStream::for_page).map_err(|error| match error {
        TooManyWatchers::Project => ApiError::too_many("too_many_streams", error.to_string()),
        TooManyWatchers::All => ApiError::unavailable("too_many_streams", error.to_string()),
    })?;
    ready.extend(presences(&app.services, project, &shown).await?);
    let mut newest = None;
    if device.is_some() {
        newest = after.as_deref().and_then(parse_event_id);
    }
    match (&device, newest) {
        (Some(access), Some(after)) => {
            newest = Some(
                replay(
                    &app.services,
                    access.scope(),
                    (after, filter.as_ref()),
                    &mut ready,
                )
                .await?,
            );
        }
        // A page that connects again, and whose missed messages are not known: histories are read device by device.
        _ if presence_alone => {}
        _ if after.is_some_and(|after| !after.is_empty()) => {
            ready.push_back(event_of("skipped", &json!({ "count": null })))
        }
        _ => {}
    }
    let viewer = visitor.project.principal().address;
    let second = Second {
        project,
        counts: wanted.counts.is_some().then_some(None),
        viewer: viewer.filter(|_| wanted.arrival.is_some()),
        near: None,
        device: device.as_ref().map(|access| access.scope()),
    };
    let feed = Feed {
        ready,
        live,
        newest,
        filter,
        undecided: 0,
        jobs,
        is_quiet: wanted.quiet.is_some(),
        changed: Parts::default(),
        told: None,
        second,
        shown: (project, shown),
        services: app.services.clone(),
        not_before: Instant::now(),
        _place: place,
    };
    let end = Box::pin(ended(app, visitor.session, project));
    Ok(Sse::new(feed.run(end)).into_response())
}

/// Resolves when a stream has to end: with the server, or with its login.
async fn ended(app: App, session: Session, project: ProjectId) {
    let rest = session.ends.saturating_sub(clock::steady());
    tokio::select! {
        () = until_true(app.closing) => {}
        () = tokio::time::sleep(rest) => {}
        () = session.over() => {}
        () = permission_ended(&app.services, &session, project) => {}
    }
}

/// Resolves when the token or user of a login is not valid any more, or the user is no member of the project's organisation.
async fn permission_ended(services: &WebServices, session: &Session, project: ProjectId) {
    loop {
        tokio::time::sleep(TOKEN_CHECK).await;
        match still_reads(services, session, project).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => tracing::debug!(%error, "failed to look up the token of a login; retrying in 15 s"),
        }
    }
}

async fn still_reads(
    services: &WebServices,
    session: &Session,
    project: ProjectId,
) -> iottly_store::Result<bool> {
    if let Holder::Person(person) = &session.login.holder
        && services.store.role_in(project, person.id).await?.is_none()
    {
        return Ok(false);
    }
    still_logged_in(services, session).await
}

/// Events that a page has not got yet.
struct Feed {
    ready: VecDeque<Event>,
    live: LiveStream,
    /// Permit of the stream, of the limited number of its login.
    _place: OwnedSemaphorePermit,
    /// Cursor of the latest message that was sent; older ones were replayed already.
    newest: Option<Cursor>,
    /// Filter of the messages; none for all.
    filter: Option<MessageFilter>,
    /// Number of messages that the filter could not decide within its steps, not reported yet.
    undecided: u64,
    /// Jobs that the page shows; none once they have ended.
    jobs: Option<Follower>,
    /// True for a page without messages and presence.
    is_quiet: bool,
    /// Parts that have changed and that the page was not told of yet.
    changed: Parts,
    /// Time at which the page was told of changed parts.
    told: Option<Instant>,
    second: Second,
    /// Devices whose presence the page shows, with their project.
    shown: (ProjectId, Vec<DeviceId>),
    services: WebServices,
    /// Time before which no further live events are taken.
    not_before: Instant,
}

impl Feed {
    fn run(
        self,
        end: impl Future<Output = ()> + Send + Unpin + 'static,
    ) -> impl Stream<Item = Result<Event, Infallible>> + Send {
        let mut ticks = (tokio::time::interval(BEAT), tokio::time::interval(SECOND));
        for tick in [&mut ticks.0, &mut ticks.1] {
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        stream::unfold((self, end, ticks), async |(mut feed, mut end, mut ticks)| {
            let mut has_sent = true;
            loop {
                if let Some(event) = feed.ready.pop_front() {
                    return Some((Ok(event), (feed, end, ticks)));
                }
                // What has gathered goes out together, in one write, and after it the stream pauses.
                if Instant::now() >= feed.not_before {
                    if let Some(event) = feed.live.ready() {
                        feed.take(event).await?;
                        continue;
                    }
                    if feed.undecided > 0 {
                        let count = std::mem::take(&mut feed.undecided);
                        feed.ready.push_back(undecided(count));
                        continue;
                    }
                    if std::mem::take(&mut has_sent) {
                        feed.not_before = Instant::now() + PAUSE;
                    }
                }
                let event = async {
                    sleep_until(feed.not_before).await;
                    feed.live.recv().await
                };
                tokio::select! {
                    event = event => feed.take(event).await?,
                    _ = ticks.0.tick() => feed.beat().await,
                    _ = ticks.1.tick() => feed.each_second().await,
                    job = followed(feed.jobs.as_mut()) => match job {
                        Some(job) => feed.ready.push_back(jobs::event(&job)),
                        None => feed.jobs = None,
                    },
                    () = &mut end => return None,
                }
            }
        })
    }

    /// Queues the event that shows that the stream works, and the presence of the page's device with its newest proof.
    async fn beat(&mut self) {
        self.ready.push_back(beat());
        if let Some(scope) = self.second.device
            && let Ok(known) = presences(&self.services, scope.project, &[scope.device]).await
        {
            self.ready.extend(known);
        }
    }

    async fn each_second(&mut self) {
        self.ready.extend(self.second.look(&self.services).await);
        self.tell();
    }

    /// Notifies the page of the parts that have changed, at most once a second.
    fn tell(&mut self) {
        let now = Instant::now();
        if self.changed.is_empty() || self.told.is_some_and(|told| now < told + SECOND) {
            return;
        }
        self.told = Some(now);
        let parts: Vec<_> = std::mem::take(&mut self.changed).names().collect();
        self.ready
            .push_back(event_of("changed", &json!({ "parts": parts })));
    }

    /// Queues an event for the page; returns `None` for the last one.
    async fn take(&mut self, event: LiveEvent) -> Option<()> {
        match event {
            LiveEvent::Ended => return None,
            LiveEvent::Lagged(skipped) => self
                .ready
                .push_back(event_of("skipped", &json!({ "count": skipped }))),
            // Only watchers of developer leases get these.
            LiveEvent::Observed(_) => {}
            LiveEvent::Changed(parts) => {
                self.changed = self.changed | parts;
                self.tell();
            }
            LiveEvent::Presence(_) | LiveEvent::Message(_) if self.is_quiet => {}
            LiveEvent::PresenceSkipped => self.all_presences().await,
            LiveEvent::Presence(change) => {
                self.ready
                    .push_back(presence(change.scope.device, change.online, change.view.clone()))
            }
            LiveEvent::Message(message) => {
                let cursor = Cursor {
                    timestamp: message.timestamp,
                    id: message.id,
                };
                if self.newest.is_some_and(|newest| cursor <= newest) {
                    return Some(());
                }
                if wants(
                    &self.services,
                    self.filter.as_ref(),
                    &message,
                    &mut self.undecided,
                )
                .await
                {
                    let (services, scope) = (&self.services, message.scope);
                    let make = async {
                        let name = services.names.of(services.store.as_ref(), scope).await;
                        message_data(&message, name.as_ref().map(|sender| sender.name.as_str()))
                    };
                    let data = message.shown(make).await;
                    let event = Event::default().event("entry").data(data);
                    self.ready.push_back(event.id(event_id(&message)));
                }
            }
        }
        Some(())
    }

    /// Queues the presence of all devices that the page shows.
    async fn all_presences(&mut self) {
        let (project, devices) = &self.shown;
        match presences(&self.services, *project, devices).await {
            Ok(events) => self.ready.extend(events),
            Err(error) => {
                tracing::warn!(%error, "failed to read the devices of a page; it shows their former presence until they change or it is loaded again");
            }
        }
    }
}

/// Returns true if a message matches the filter. One that cannot be decided within its steps is counted and not shown.
async fn wants(
    services: &WebServices,
    filter: Option<&MessageFilter>,
    message: &StoredMessage,
    undecided: &mut u64,
) -> bool {
    let Some(filter) = filter else { return true };
    match filter.matches(services, message).await {
        Ok(matches) => matches,
        Err(_) => {
            *undecided += 1;
            false
        }
    }
}

/// Returns the event about messages that the filter could not decide.
fn undecided(count: u64) -> Event {
    event_of("skipped", &json!({ "count": count, "undecided": true }))
}

/// Waits for a change of the jobs of a page; for ever, if it follows none.
async fn followed(jobs: Option<&mut Follower>) -> Option<JobDto> {
    match jobs {
        Some(jobs) => jobs.next().await,
        None => std::future::pending().await,
    }
}

/// Reads the ids of jobs that a page follows.
fn job_ids(ids: &str) -> Vec<JobId> {
    let ids = ids.split(',').filter_map(|id| id.parse().ok());
    ids.take(MAX_JOBS).collect()
}

/// Queues the messages newer than `after` that match the filter, oldest first, and returns the cursor of the newest.
async fn replay(
    services: &WebServices,
    scope: Scope,
    (after, filter): (Cursor, Option<&MessageFilter>),
    ready: &mut VecDeque<Event>,
) -> Result<Cursor, ApiError> {
    let bounds = ScanBounds {
        from: Some(after.timestamp),
        ..ScanBounds::default()
    };
    let mut missed = services.store.scan(scope, bounds, REPLAY + 1).await?;
    missed.retain(|message| {
        Cursor {
            timestamp: message.timestamp,
            id: message.id,
        } > after
    });
    let newest = missed.first().map_or(after, |message| Cursor {
        timestamp: message.timestamp,
        id: message.id,
    });
    if missed.len() > REPLAY {
        missed.truncate(REPLAY);
        ready.push_back(event_of("skipped", &json!({ "count": null })));
    }
    let mut left_out = 0;
    for message in missed.iter().rev() {
        if wants(services, filter, message, &mut left_out).await {
            ready.push_back(message_event(message, None));
        }
    }
    if left_out > 0 {
        ready.push_back(undecided(left_out));
    }
    Ok(newest)
}

fn message_event(message: &StoredMessage, name: Option<&str>) -> Event {
    let event = Event::default().event("entry");
    event.data(message_data(message, name)).id(event_id(message))
}

/// Returns a message as pages show it, as JSON text: without line breaks, so that it cannot end an event early.
fn message_data(message: &StoredMessage, name: Option<&str>) -> String {
    let (payload, size) = text::beginning(message.payload.get());
    let mut data = json!({
        "device": message.scope.device,
        "name": name,
        "at": message.timestamp,
        "iso": text::iso(message.timestamp),
        "clock": text::clock(message.timestamp),
        "type": message.kind,
        "channel": message.channel,
        "payload": payload,
    });
    if let Some(size) = size {
        data["size"] = json!(size);
    }
    data.to_string()
}

pub(super) fn event_of(name: &str, data: &Value) -> Event {
    // JSON text has no line breaks, so a device's message cannot end the event early.
    Event::default().event(name).data(data.to_string())
}

/// Returns the position of a message in its history, as an event id.
pub(super) fn event_id(message: &StoredMessage) -> String {
    format!("{}-{}", message.timestamp, message.id)
}

fn parse_event_id(text: &str) -> Option<Cursor> {
    let (timestamp, id) = text.rsplit_once('-')?;
    Some(Cursor {
        timestamp: timestamp.parse().ok()?,
        id: id.parse::<MessageId>().ok()?,
    })
}
