//! Timeline of a device: its presence, releases, settings, commands, gaps, failures and alerts as one line of time, made of
//! what is stored already. Pure.

mod events;
mod spans;

use iottly_protocol::{CommandId, GroupId};

use crate::model::{AlertId, DirectiveStatus, MessageId, RolloutId, UnixMs};
use crate::series::Range;

pub use events::{of_alert, of_change, of_command, of_message, of_settings, of_update, presence_of};
pub use spans::{Span, presence_spans, release_spans};

/// Lane of a timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Connection to the cloud.
    Presence,
    /// Releases and starts of the firmware.
    Release,
    /// Settings, name, tags and other properties.
    Settings,
    /// Commands.
    Commands,
    /// Messages that are missing.
    Gaps,
    /// Failures and warnings of the firmware and the agent.
    Failures,
    /// Alerts about the device.
    Alerts,
}

impl Lane {
    /// All lanes, in the order in which they are drawn.
    pub const ALL: [Self; 7] = [
        Self::Presence,
        Self::Release,
        Self::Settings,
        Self::Commands,
        Self::Gaps,
        Self::Failures,
        Self::Alerts,
    ];

    /// Returns the name in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Presence => "presence",
            Self::Release => "release",
            Self::Settings => "settings",
            Self::Commands => "commands",
            Self::Gaps => "gaps",
            Self::Failures => "failures",
            Self::Alerts => "alerts",
        }
    }
}

/// Meaning of an event for the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Something ended well.
    Good,
    /// A fact, neither good nor bad.
    Plain,
    /// Something that may need a person.
    Warn,
    /// Something failed.
    Bad,
}

impl Tone {
    /// Returns the name in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Plain => "plain",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

/// Object that an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Entry of the device's history.
    Message(MessageId),
    /// Command of the device.
    Command(CommandId),
    /// Entry of the project's audit log.
    Change(u64),
    /// Rollout of a group.
    Rollout(GroupId, RolloutId),
    /// Alert.
    Alert(AlertId),
    /// Settings of the device.
    Settings,
}

/// Event of a timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Time of the event, or of its beginning.
    pub at: UnixMs,
    /// End of an event that lasts; none for a moment, and while it lasts.
    pub until: Option<UnixMs>,
    /// True if the event has begun and has no end yet.
    pub lasts: bool,
    /// Lane of the event.
    pub lane: Lane,
    /// Meaning of the event.
    pub tone: Tone,
    /// Sentence that tells the event.
    pub title: String,
    /// Further facts; empty if there are none.
    pub detail: String,
    /// Name of the token or person that caused it; none if the device or the cloud did.
    pub author: Option<String>,
    /// Object that the event is about.
    pub place: Place,
}

/// Update of a device by a rollout.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// The rollout.
    pub rollout: RolloutId,
    /// Group of the rollout.
    pub group: GroupId,
    /// Number of the release.
    pub release: u64,
    /// Branch of the release.
    pub branch: String,
    /// Revision of the release.
    pub revision: u64,
    /// Directive to the device and what it reported.
    pub status: DirectiveStatus,
}

impl Update {
    /// Returns the release as people call it.
    #[must_use]
    pub fn name(&self) -> String {
        format!(
            "release {} ({} revision {})",
            self.release, self.branch, self.revision
        )
    }
}

/// Events of one kind within the range of a page.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// Events, in any order.
    pub events: Vec<Event>,
    /// Time from which on all events of the kind are there: the beginning of the range, unless there were too many.
    pub complete_from: UnixMs,
}

impl Source {
    /// Returns a source of rows that were read newest first, at most `limit`; `at` returns the time of a row.
    pub fn of_rows<T>(
        rows: &[T],
        (from, limit): (UnixMs, usize),
        at: impl Fn(&T) -> UnixMs,
        event: impl Fn(&T) -> Option<Event>,
    ) -> Self {
        let complete_from = match (rows.first(), rows.last()) {
            // Older rows may have the time of the last one. If all have it, there is no way to tell them apart.
            (Some(first), Some(last)) if rows.len() >= limit => {
                let oldest = at(last);
                if at(first) > oldest {
                    oldest.saturating_add(1)
                } else {
                    oldest
                }
            }
            _ => from,
        };
        Self {
            events: rows.iter().filter_map(event).collect(),
            complete_from,
        }
    }
}

/// Part of a timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Events, newest first.
    pub events: Vec<Event>,
    /// Time from which on the page is complete.
    pub from: UnixMs,
    /// True if the range has older events that are not on the page. They are before `from`.
    pub more: bool,
}

/// Joins sources to a page of about `limit` events: events of one millisecond are not divided.
#[must_use]
pub fn page(sources: Vec<Source>, range: Range, limit: usize) -> Page {
    let mut from = range.from;
    let mut events = Vec::new();
    for source in sources {
        from = from.max(source.complete_from);
        events.extend(source.events);
    }
    events.retain(|event| event.at >= from && event.at < range.to);
    events.sort_by_key(|event| (std::cmp::Reverse(event.at), event.lane));
    if let Some(cut) = events.get(limit).map(|event| event.at) {
        if events[0].at > cut {
            events.retain(|event| event.at > cut);
            from = cut.saturating_add(1);
        } else {
            events.retain(|event| event.at == cut);
            from = cut;
        }
    }
    Page {
        events,
        from,
        more: from > range.from,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(at: UnixMs, lane: Lane) -> Event {
        Event {
            at,
            until: None,
            lasts: false,
            lane,
            tone: Tone::Plain,
            title: String::new(),
            detail: String::new(),
            author: None,
            place: Place::Settings,
        }
    }

    /// Reads a source as the store does: newest first, before `to`, at most `limit`.
    fn source(all: &[UnixMs], lane: Lane, range: Range, limit: usize) -> Source {
        let mut rows: Vec<_> = all
            .iter()
            .copied()
            .filter(|at| (range.from..range.to).contains(at))
            .collect();
        rows.sort_by_key(|at| std::cmp::Reverse(*at));
        rows.truncate(limit);
        Source::of_rows(&rows, (range.from, limit), |at| *at, |at| Some(event(*at, lane)))
    }

    proptest! {
        /// Pages one after the other have all events once, if no millisecond has more than a source reads.
        #[test]
        fn pages_have_every_event_once(
            one in prop::collection::btree_set(0..2000_i64, 0..60),
            other in prop::collection::vec(0..2000_i64, 0..60),
            limit in 1..20_usize,
        ) {
            let (one, whole) = (one.into_iter().collect::<Vec<_>>(), Range { from: 10, to: 1900 });
            // Each time occurs at most 8 times in the other source, which reads 9 rows.
            let mut other = other;
            other.sort_unstable();
            let other: Vec<_> = other.chunk_by(|a, b| a == b).flat_map(|same| same.iter().take(8).copied()).collect();
            let mut seen = Vec::new();
            let mut to = whole.to;
            for _ in 0..1000 {
                let range = Range { from: whole.from, to };
                let page = page(vec![
                    source(&one, Lane::Presence, range, 5),
                    source(&other, Lane::Gaps, range, 9),
                ], range, limit);
                prop_assert!(page.events.is_sorted_by_key(|event| std::cmp::Reverse(event.at)));
                seen.extend(page.events.iter().map(|event| (event.at, event.lane)));
                if !page.more { break; }
                prop_assert!(page.from < to, "every page goes back");
                to = page.from;
            }
            let within = |at: &&UnixMs| (whole.from..whole.to).contains(*at);
            let mut expected: Vec<_> = one.iter().filter(within).map(|at| (*at, Lane::Presence))
                .chain(other.iter().filter(within).map(|at| (*at, Lane::Gaps))).collect();
            expected.sort_unstable();
            seen.sort_unstable();
            prop_assert_eq!(seen, expected);
        }
    }
}
