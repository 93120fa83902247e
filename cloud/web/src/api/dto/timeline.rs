//! JSON types of the timeline of a device.

use std::borrow::Cow;

use iottly_protocol::{CommandId, GroupId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Date, OK};
use crate::api::timeline::Timeline;
use iottly_core::model::{AlertId, RolloutId, UnixMs};
use iottly_core::timeline::{Event, Place};

/// Timeline of a device.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = Timeline)]
pub struct TimelineDto {
    /// Beginning of the time in which this page has all events, included.
    pub from: Date,
    /// End, excluded.
    pub to: Date,
    /// Times for which the device was online or offline, oldest first; without those for which it is not known.
    pub presence: Vec<PresenceSpanDto>,
    /// Times for which the device ran a release, oldest first; without those of which nothing is stored.
    pub releases: Vec<ReleaseSpanDto>,
    /// Events, newest first.
    pub events: Vec<TimelineEventDto>,
    /// Parameter `to` of the page before this one, in Unix milliseconds; null if there is none.
    pub next: Option<UnixMs>,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Time for which the device was online or offline.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = PresenceSpan)]
pub struct PresenceSpanDto {
    /// Beginning, included.
    pub from: Date,
    /// End, excluded.
    pub to: Date,
    /// `online` or `offline`.
    #[schema(value_type = String)]
    pub state: Cow<'static, str>,
}

/// Time for which the device ran a release.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = ReleaseSpan)]
pub struct ReleaseSpanDto {
    /// Beginning, included.
    pub from: Date,
    /// End, excluded.
    pub to: Date,
    /// Number of the release.
    pub release: u64,
    /// Name for people: number, branch and revision.
    pub name: String,
}

/// Event of a timeline.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = TimelineEvent)]
pub struct TimelineEventDto {
    /// Time of the event, or of its beginning.
    pub at: Date,
    /// End of an event that lasted; null for a moment, and while it lasts.
    pub until: Option<Date>,
    /// True while the event has no end yet.
    pub lasts: bool,
    /// `presence`, `release`, `settings`, `commands`, `gaps`, `failures` or `alerts`.
    #[schema(value_type = String)]
    pub lane: Cow<'static, str>,
    /// `good`, `plain`, `warn` or `bad`.
    #[schema(value_type = String)]
    pub tone: Cow<'static, str>,
    /// Sentence that tells the event.
    pub title: String,
    /// Further facts; empty if there are none.
    pub detail: String,
    /// Name of the token or person that caused it, for requests with the scope `admin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Id of the entry of the history, for events that are one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Id of the command, for events of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub command: Option<CommandId>,
    /// Id of the alert, for events of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub alert: Option<AlertId>,
    /// Id of the rollout, for events of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub rollout: Option<RolloutId>,
    /// Id of the rollout's deployment group.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub deployment_group: Option<GroupId>,
    /// Number of the entry of the audit log, for events that are one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<u64>,
}

impl TimelineDto {
    pub(crate) fn new(timeline: Timeline) -> Self {
        let presence = timeline.presence.into_iter().map(|span| PresenceSpanDto {
            from: span.from.into(),
            to: span.to.into(),
            state: if span.state { "online" } else { "offline" }.into(),
        });
        let releases = timeline.releases.into_iter().map(|span| ReleaseSpanDto {
            from: span.from.into(),
            to: span.to.into(),
            release: span.state.0,
            name: span.state.1,
        });
        Self {
            from: timeline.range.from.into(),
            to: timeline.range.to.into(),
            presence: presence.collect(),
            releases: releases.collect(),
            events: timeline.events.into_iter().map(TimelineEventDto::from).collect(),
            next: timeline.more.then_some(timeline.range.from),
            status: OK,
        }
    }
}

impl From<Event> for TimelineEventDto {
    fn from(event: Event) -> Self {
        let mut dto = Self {
            at: event.at.into(),
            until: event.until.map(Into::into),
            lasts: event.lasts,
            lane: event.lane.as_str().into(),
            tone: event.tone.as_str().into(),
            title: event.title,
            detail: event.detail,
            author: event.author,
            message: None,
            command: None,
            alert: None,
            rollout: None,
            deployment_group: None,
            change: None,
        };
        match event.place {
            Place::Message(id) => dto.message = Some(id.to_string()),
            Place::Command(id) => dto.command = Some(id),
            Place::Change(number) => dto.change = Some(number),
            Place::Rollout(group, rollout) => {
                (dto.deployment_group, dto.rollout) = (Some(group), Some(rollout));
            }
            Place::Alert(id) => dto.alert = Some(id),
            Place::Settings => {}
        }
        dto
    }
}
