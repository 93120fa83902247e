//! The first screen of a project: its numbers, what needs a person, and its groups.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use iottly_core::model::{Device, Group, RolloutStatus, UnixMs, WebhookState};
use iottly_store::GroupCounts;
use maud::{Markup, html};

use super::kit::age::ago;
use super::kit::empty::empty;
use super::kit::figure::{Figure, figures};
use super::layout::failure;
use super::shell::{Screen, Section, is_failing};
use super::visitor::{Refusal, Visitor};
use super::{copies, enroll, login, machine, person, text};
use crate::api::copies::CopyDto;
use crate::app::App;
use crate::error::ApiError;
use iottly_cloud::enrolment::ShownBoard;
use iottly_cloud::{PresenceCounts, clock};

/// Redirects a visitor to the overview of its project; shows the login form without a login.
pub(super) async fn home(
    visitor: Result<Visitor, Refusal>,
    State(app): State<App>,
    headers: HeaderMap,
) -> Response {
    match visitor {
        Ok(visitor) => {
            let https = app.services.https;
            let asked =
                machine::after_login(&headers, https).or_else(|| enroll::after_login(&headers, https));
            asked.unwrap_or_else(|| Redirect::to(&format!("{}/", visitor.base())).into_response())
        }
        Err(Refusal::LoggedOut) => login::form(&app, None),
        Err(Refusal::NoProject(session)) => person::no_project(&app, &session).await,
        Err(refusal) => refusal.into_response(),
    }
}

pub(super) async fn show(visitor: Visitor, State(app): State<App>) -> Response {
    let shown = page(&visitor)
        .await
        .map(|page| person::remember(&app, &visitor, page));
    shown.unwrap_or_else(|error| failure(&error))
}

/// Facts of a project that the overview shows.
struct Facts {
    groups: Vec<Group>,
    counts: PresenceCounts,
    /// Numbers of the groups' devices.
    members: Vec<GroupCounts>,
    /// Devices whose firmware failed too often, as many as are listed.
    failed: Vec<Device>,
    webhooks: Vec<WebhookState>,
    boards: Vec<ShownBoard>,
    copies: Vec<CopyDto>,
    /// Number of raised alerts.
    raised: usize,
    now: UnixMs,
}

async fn page(visitor: &Visitor) -> Result<Response, ApiError> {
    let access = &visitor.project;
    let facts = Facts {
        groups: access.groups().await?,
        counts: access.services().presence.counts(access.id()).await?,
        members: access.services().store.group_counts(access.id()).await?,
        failed: access
            .services()
            .store
            .quarantined_devices(access.id(), MAX_NEEDS)
            .await?,
        webhooks: access.services().store.webhooks(access.id()).await?,
        boards: access.services().enrolment.waiting(access.id()),
        copies: copies::of(access).await?,
        raised: access
            .services()
            .store
            .attention(access.id())
            .await?
            .raised_alerts,
        now: clock::now(),
    };
    let base = visitor.base();
    let content = html! {
        div.head {
            div {
                h1 { "Overview" }
                p.lede { (text::counted(facts.counts.total, "device")) " in " (text::counted(facts.groups.len(), "group")) ". All times are UTC." }
            }
            div.actions { a.button href={ (base) "/devices/add" } { "Add a device" } }
        }
        (numbers(&facts, &base))
        live-part #attention data-on="alert webhook waiting group crash" data-least="5" {
            (copies::panel(&facts.copies, &base))
            (needs(&facts, &base))
            (groups(&facts, &base))
        }
    };
    let screen = Screen {
        section: Section::Overview,
        title: "Overview",
        crumbs: &[],
        events: Some(format!("{base}/events?quiet=1&counts=1")),
        scripts: &["numbers.js"],
        content,
    };
    screen.respond(visitor).await
}

fn numbers(facts: &Facts, base: &str) -> Markup {
    // Silent devices are connected.
    let online = facts.counts.online + facts.counts.silent;
    let running: Vec<_> = facts.groups.iter().filter(|group| is_running(group)).collect();
    let failing = facts
        .webhooks
        .iter()
        .filter(|webhook| is_failing(webhook))
        .count();
    let waiting: u64 = facts.webhooks.iter().map(|webhook| webhook.queue.waiting).sum();
    figures(&[
        Figure {
            name: "Online",
            value: online.to_string(),
            unit: html! { "of " span data-live="total" { (facts.counts.total) } },
            aside: html! {
                span data-live="silent" { (facts.counts.silent) } " of them silent, "
                span data-live="offline" { (facts.counts.offline) } " offline, "
                span data-live="absent" { (facts.counts.absent) } " absent as planned"
            },
            href: Some(format!("{base}/devices?filter=presence:online,silent")),
            tone: None,
            live: Some("online"),
        },
        Figure {
            name: "Rollouts running",
            value: running.len().to_string(),
            unit: html! {},
            aside: html! { @for group in running.iter().take(3) { span.break { (group.name) " " } } },
            href: Some(format!("{base}/groups")),
            tone: None,
            live: Some("rollouts"),
        },
        Figure {
            name: "Boards waiting",
            value: facts.boards.len().to_string(),
            unit: html! {},
            aside: html! { "for approval" },
            href: Some(format!("{base}/devices/waiting")),
            tone: (!facts.boards.is_empty()).then_some("warn"),
            live: Some("boards"),
        },
        Figure {
            name: "Webhooks failing",
            value: failing.to_string(),
            unit: html! { "of " (facts.webhooks.len()) },
            aside: html! { (waiting) " deliveries wait" },
            href: Some(format!("{base}/webhooks")),
            tone: (failing > 0).then_some("warn"),
            live: Some("failing"),
        },
    ])
}

fn is_running(group: &Group) -> bool {
    matches!(group.status, Some(RolloutStatus::Deploying))
}

/// A row of the list of what needs a person.
struct Need {
    tone: &'static str,
    word: &'static str,
    heading: String,
    detail: String,
    since: Option<UnixMs>,
    link: (&'static str, String),
}

fn needs(facts: &Facts, base: &str) -> Markup {
    let rows = needed(facts, base);
    html! {
        section.card data-flush aria-labelledby="needs" {
            div.card-head { h2 #needs { "Needs you" } span.soft.small { "Worst first" } }
            @if rows.is_empty() {
                @if facts.counts.total == 0 {
                    (empty("No devices yet", "A device sends messages and runs your code. Install the agent on a board, or start simulated devices.",
                        &html! { a.button data-kind="main" href={ (base) "/devices/add" } { "Add a device" } }))
                } @else {
                    div.empty { p { "Nothing needs you." } }
                }
            } @else {
                table.table data-fold {
                    thead.sr { tr { th { "State" } th { "Reason" } th { "Since" } th { "Next" } } }
                    tbody { @for row in &rows { tr {
                        td { span.tag data-tone=(row.tone) { (row.word) } }
                        td { b.break { (row.heading) } span.sub.break { (row.detail) } }
                        td.num.soft { @if let Some(since) = row.since { (ago(since, facts.now)) } }
                        td.num { a href=(row.link.1) { (row.link.0) } }
                    } } }
                }
            }
        }
    }
}

fn needed(facts: &Facts, base: &str) -> Vec<Need> {
    let mut rows = Vec::new();
    if facts.raised > 0 {
        rows.push(Need {
            tone: "bad",
            word: "raised",
            heading: match facts.raised {
                1 => "1 alert is raised".to_owned(),
                raised => format!("{raised} alerts are raised"),
            },
            detail: String::new(),
            since: None,
            link: ("Open the alerts", format!("{base}/alerts")),
        });
    }
    for group in &facts.groups {
        if group.status == Some(RolloutStatus::Halted) {
            rows.push(Need {
                tone: "bad",
                word: "halted",
                heading: format!("The rollout to {} was halted", group.name),
                detail: "More devices failed than its policy allows.".to_owned(),
                since: None,
                link: ("Open the group", format!("{base}/groups/{}", group.id)),
            });
        }
    }
    for device in &facts.failed {
        let report = device.firmware.as_ref();
        if let Some(report) = report
            && report.state == iottly_protocol::FirmwareState::Quarantined
            && rows.len() < MAX_NEEDS
        {
            rows.push(Need {
                tone: "bad",
                word: "stopped",
                heading: format!("The firmware of {} failed too often", device.name),
                detail: report.detail.clone().unwrap_or_default(),
                since: None,
                link: (
                    "Open the log",
                    format!("{base}/devices/{}/logs", device.scope.device),
                ),
            });
        }
    }
    for webhook in facts.webhooks.iter().filter(|webhook| is_failing(webhook)) {
        rows.push(Need {
            tone: "warn",
            word: "failing",
            heading: format!("Webhook {}", name_of(webhook)),
            detail: format!(
                "{} attempts failed in a row; {} deliveries wait, none is lost",
                webhook.queue.failures, webhook.queue.waiting
            ),
            since: webhook.queue.failing_since,
            link: (
                "Delivery log",
                format!("{base}/webhooks/{}", webhook.hook.key.hook),
            ),
        });
    }
    if !facts.boards.is_empty() {
        let names = facts.boards.iter().map(|board| board.code.to_string());
        rows.push(Need {
            tone: "warn",
            word: "waiting",
            heading: format!("{} boards wait for approval", facts.boards.len()),
            detail: names.take(5).collect::<Vec<_>>().join(", "),
            since: None,
            link: ("Compare codes", format!("{base}/devices/waiting")),
        });
    }
    rows.truncate(MAX_NEEDS);
    rows
}

/// Maximum number of rows of the list.
const MAX_NEEDS: usize = 20;

fn name_of(webhook: &WebhookState) -> &str {
    if webhook.hook.description.is_empty() {
        &webhook.hook.url
    } else {
        &webhook.hook.description
    }
}

fn groups(facts: &Facts, base: &str) -> Markup {
    html! {
        section.card data-flush aria-labelledby="groups" {
            div.card-head { h2 #groups { "Groups" } }
            table.table data-rows="link" {
                thead { tr { th { "Group" } th.num { "Devices" } th.num { "Online" } th { "Revision" } th.p2 { "Rollout" } } }
                tbody { @for group in &facts.groups {
                    @let members = facts.members.iter().find(|counts| counts.group == group.id);
                    tr {
                        td { a.row-link href={ (base) "/groups/" (group.id) } { (group.name) } }
                        td.num { (members.map_or(0, |counts| counts.total)) }
                        td.num { (members.map_or(0, |counts| counts.online)) }
                        td { code { (group.current_revision.as_deref().map_or("none", |revision| revision.get(..8).unwrap_or(revision))) } }
                        td.p2 { @match group.status { Some(status) => span.tag { (status.as_str()) }, None => span.soft { "none yet" } } }
                    }
                } }
            }
        }
    }
}
