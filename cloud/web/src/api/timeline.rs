//! Endpoint for the timeline of a device: reads what is stored about it, and joins it to one line of time.

use super::Answer;
use super::dto::TimelineDto;
use super::query::Params;
use super::series::duration;
use super::spaced::Spaced;
use crate::auth::DeviceAccess;
use crate::error::ApiError;
use iottly_cloud::clock;
use iottly_core::model::{AlertFilter, AlertId, Scopes, UnixMs};
use iottly_core::series::Range;
use iottly_core::timeline::{
    Event, Source, Span, Update, of_alert, of_change, of_command, of_message, of_settings, of_update, page,
    presence_of, presence_spans, release_spans,
};
use iottly_protocol::CommandId;
use iottly_store::CommandQuery;

const HOUR_MS: UnixMs = 60 * 60 * 1000;
/// Range unless the caller says otherwise: a day.
const DEFAULT_RANGE_MS: UnixMs = 24 * HOUR_MS;
/// Maximum range, in milliseconds: a year.
const MAX_RANGE_MS: UnixMs = 366 * 24 * HOUR_MS;
/// Default and largest number of events in a response.
const DEFAULT_EVENTS: usize = 100;
pub(crate) const MAX_EVENTS: usize = 500;
/// Maximum number of updates of a device that are looked at, the newest ones.
const UPDATES: usize = 200;
/// Maximum number of entries after a range that are searched for a change of presence.
const LATER: usize = 50;

/// Returns the timeline of a device: presence, releases, settings, commands, gaps, failures and alerts, newest first.
#[utoipa::path(
    get,
    path = "/device/{device}/timeline",
    tag = "devices",
    params(
        ("since" = Option<String>, Query, description = "Length of the time before `to`, such as `1h`, `24h` or `30d`; `24h` by default"),
        ("from" = Option<String>, Query, description = "Beginning, in place of `since`: ISO 8601 or Unix milliseconds; at most 366 days before `to`"),
        ("to" = Option<String>, Query, description = "End, excluded; now by default. `next` of the previous page for the page before it"),
        ("numEvents" = Option<i64>, Query, minimum = 1, description = "Maximum number of events; 100 by default, 500 at most. Events of one millisecond are not divided"),
    ),
    responses((status = 200, description = "The timeline", body = TimelineDto))
)]
pub(super) async fn show(access: DeviceAccess, params: Params) -> Answer<TimelineDto> {
    let range = range(
        params.get("since"),
        params.moment("from")?,
        params.moment("to")?,
        clock::now(),
    )?;
    let limit = params.count("numEvents", DEFAULT_EVENTS, MAX_EVENTS)?;
    Ok(Spaced(TimelineDto::new(read(&access, range, limit).await?)))
}

/// Returns the range of a request.
///
/// # Errors
/// 400 if it is empty, too long, or not understood.
pub(crate) fn range(
    since: Option<&str>,
    from: Option<UnixMs>,
    to: Option<UnixMs>,
    now: UnixMs,
) -> Result<Range, ApiError> {
    let invalid = |text: &str| ApiError::invalid("invalid_query", text);
    // The current millisecond belongs to a timeline that ends now.
    let to = to.unwrap_or(now.saturating_add(1));
    let from = match (from, since.map(str::trim).filter(|since| !since.is_empty())) {
        (Some(from), _) => from,
        (None, Some(since)) => to.saturating_sub(
            duration(since).ok_or_else(|| invalid("since is not a time such as 1h, 24h or 30d"))?,
        ),
        (None, None) => to.saturating_sub(DEFAULT_RANGE_MS),
    };
    if from >= to {
        return Err(invalid("from is not before to"));
    }
    if to.saturating_sub(from) > MAX_RANGE_MS {
        return Err(invalid("a timeline has at most 366 days"));
    }
    Ok(Range { from, to })
}

/// Part of a device's timeline that has been read.
pub(crate) struct Timeline {
    /// Range in which it is complete.
    pub(crate) range: Range,
    /// True if there are older events in the range that was asked for.
    pub(crate) more: bool,
    /// Events, newest first.
    pub(crate) events: Vec<Event>,
    /// Spans in which the device was online (true) or offline (false).
    pub(crate) presence: Vec<Span<bool>>,
    /// Spans in which the device ran a release, with its number and name.
    pub(crate) releases: Vec<Span<(u64, String)>>,
}

/// Reads a timeline of at most about `limit` events.
pub(crate) async fn read(access: &DeviceAccess, range: Range, limit: usize) -> Result<Timeline, ApiError> {
    let (store, scope) = (&access.services().store, access.scope());
    let most = limit.saturating_add(1);
    let bound = (range.from, most);
    let entries = store.agent_entries(scope, range, true, most).await?;
    let query = CommandQuery {
        status: None,
        before: Some((range.to, CommandId::from_bytes([0; 16]))),
        limit: most,
    };
    let commands = store.commands(scope, &query).await?;
    let changes = store.device_changes(scope, range, most).await?;
    let filter = AlertFilter {
        device: Some(scope.device),
        before: Some((range.to, AlertId::from_bytes([0; 16]))),
        ..AlertFilter::default()
    };
    let alerts = store.alerts(scope.project, filter, most).await?;
    let updates = store.device_updates(scope, UPDATES).await?;
    let settings = store.device_settings(scope).await?;
    let named = access.project().principal().scopes.contains(Scopes::ADMIN);
    let change = |entry: &_| {
        of_change(entry).map(|event| Event {
            // Names of people are in the audit log, which not everyone may read.
            author: event.author.filter(|_| named),
            ..event
        })
    };
    let taken = settings.and_then(|settings| settings.acknowledged);
    let sources = vec![
        Source::of_rows(&entries, bound, |entry| entry.timestamp, of_message),
        Source::of_rows(
            &commands,
            bound,
            |command| command.created,
            |command| Some(of_command(command)),
        ),
        Source::of_rows(&changes, bound, |entry| entry.at, change),
        Source::of_rows(
            &alerts,
            bound,
            |alert| alert.raised,
            |alert| Some(of_alert(alert)),
        ),
        of_updates(&updates, range),
        Source {
            events: taken.iter().map(of_settings).collect(),
            complete_from: range.from,
        },
    ];
    let page = page(sources, range, limit);
    let range = Range {
        from: page.from,
        to: range.to,
    };
    let changes: Vec<_> = entries
        .iter()
        .rev()
        .filter(|entry| entry.timestamp >= range.from)
        .filter_map(|entry| Some((entry.timestamp, presence_of(entry)?)))
        .collect();
    let before = match changes.first() {
        // An entry is written for a change only.
        Some((_, online)) => Some(!online),
        None => presence_without_change(access, range).await?,
    };
    Ok(Timeline {
        presence: presence_spans(before, &changes, range),
        releases: release_spans(&updates, range),
        range,
        more: page.more,
        events: page.events,
    })
}

/// Returns the events of updates. Their number is small, so that they are all there unless more were looked at than are
/// read.
fn of_updates(updates: &[Update], range: Range) -> Source {
    let oldest = updates.last().filter(|_| updates.len() >= UPDATES);
    Source {
        events: updates.iter().flat_map(of_update).collect(),
        complete_from: oldest.map_or(range.from, |oldest| oldest.status.sent),
    }
}

/// Returns the presence of a device in a range without a change: by the next change, or what it is now.
async fn presence_without_change(access: &DeviceAccess, range: Range) -> Result<Option<bool>, ApiError> {
    let device = access.device();
    if device.online_since.is_some_and(|since| since < range.to) {
        return Ok(device
            .online_since
            .filter(|since| *since <= range.from)
            .map(|_| device.online));
    }
    let later = Range {
        from: range.to,
        to: UnixMs::MAX,
    };
    let store = &access.services().store;
    let entries = store.agent_entries(access.scope(), later, false, LATER).await?;
    Ok(entries.iter().find_map(presence_of).map(|online| !online))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_bounded() {
        let now = 1_790_000_000_000;
        let read = |since, from, to| {
            range(since, from, to, now)
                .ok()
                .map(|range| (now - range.from, now - range.to))
        };
        assert_eq!(read(None, None, None), Some((DEFAULT_RANGE_MS - 1, -1)));
        assert_eq!(read(Some("1h"), None, Some(now)), Some((HOUR_MS, 0)));
        assert_eq!(
            read(Some("1h"), Some(now - 5), Some(now)),
            Some((5, 0)),
            "from goes first"
        );
        for (since, from, to) in [
            (Some("soon"), None, None),
            (Some("367d"), None, None),
            (None, Some(now), Some(now)),
            (None, Some(UnixMs::MIN), Some(UnixMs::MAX)),
            (Some("9999999999999d"), None, Some(UnixMs::MIN)),
        ] {
            assert_eq!(read(since, from, to), None, "{since:?} {from:?} {to:?}");
        }
    }
}
