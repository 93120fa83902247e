//! The first screen of a project: its numbers, what needs a person, and its groups.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use iottly_core::model::{Device, Group, MinuteUsage, RolloutStatus, UnixMs, WebhookState};
use iottly_store::GroupCounts;
use maud::{Markup, html};

use super::kit::age::ago;
use super::kit::csv::csv_link;
use super::kit::empty::{broken, empty};
use super::kit::figure::{Figure, figures};
use super::kit::script::script;
use super::layout::failure;
use super::shell::{Screen, Section, is_failing};
use super::visitor::{Refusal, Visitor};
use super::{copies, enroll, login, machine, minutes, person, text};
use crate::api::copies::CopyDto;
use crate::api::minutes::{DEFAULT_MINUTES, read};
use crate::app::App;
use crate::auth::ProjectAccess;
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

/// Facts of a project that the overview shows. Those that cannot be read leave the others.
struct Facts {
    groups: Result<Vec<Group>, ApiError>,
    counts: Result<PresenceCounts, ApiError>,
    /// Numbers of the groups' devices.
    members: Result<Vec<GroupCounts>, ApiError>,
    /// Devices whose firmware failed too often, as many as are listed.
    failed: Result<Vec<Device>, ApiError>,
    webhooks: Result<Vec<WebhookState>, ApiError>,
    boards: Vec<ShownBoard>,
    copies: Result<Vec<CopyDto>, ApiError>,
    /// Number of raised alerts.
    raised: Result<usize, ApiError>,
    /// Messages of the last hour.
    minutes: Result<Vec<MinuteUsage>, ApiError>,
    now: UnixMs,
}

impl Facts {
    async fn of(access: &ProjectAccess) -> Self {
        let (services, project) = (access.services(), access.id());
        let store = &services.store;
        let raised = store
            .attention(project)
            .await
            .map(|attention| attention.raised_alerts);
        Self {
            groups: access.groups().await,
            counts: services.presence.counts(project).await.map_err(ApiError::from),
            members: store.group_counts(project).await.map_err(ApiError::from),
            failed: store
                .quarantined_devices(project, MAX_NEEDS)
                .await
                .map_err(ApiError::from),
            webhooks: store.webhooks(project).await.map_err(ApiError::from),
            boards: services.enrolment.waiting(project),
            copies: copies::of(access).await,
            raised: raised.map_err(ApiError::from),
            minutes: read(access, DEFAULT_MINUTES).await,
            now: clock::now(),
        }
    }

    fn groups(&self) -> &[Group] {
        self.groups.as_deref().unwrap_or_default()
    }

    /// Returns the reason for which a part of what needs a person is not known.
    fn unknown(&self) -> Option<&ApiError> {
        let lists = [
            self.groups.as_ref().err(),
            self.failed.as_ref().err(),
            self.webhooks.as_ref().err(),
            self.raised.as_ref().err(),
        ];
        lists.into_iter().flatten().next()
    }
}

async fn page(visitor: &Visitor) -> Result<Response, ApiError> {
    let facts = Facts::of(&visitor.project).await;
    let base = visitor.base();
    let content = html! {
        div.head {
            div {
                h1 { "Overview" }
                p.lede {
                    @if let (Ok(counts), Ok(groups)) = (&facts.counts, &facts.groups) { (text::counted(counts.total, "device")) " in " (text::counted(groups.len(), "group")) ". " }
                    "All times are UTC."
                }
            }
            div.actions { a.button href={ (base) "/devices/add" } { "Add a device" } }
        }
        (numbers(&facts, &base))
        (minutes::minutes(&facts.minutes, &base))
        live-part #attention data-on="alert webhook waiting group crash" data-least="5" {
        @match &facts.copies {
            Ok(copies) => (copies::panel(copies, visitor)),
            Err(error) => section.card data-flush { (broken("Boards with the same keys could not be read", error.message())) },
        }
        (needs(&facts, &base))
        (groups(&facts, &base))
        }
        (script("iottly project minutes", ("GET", "/usage/minutes", None)))
    };
    let screen = Screen {
        section: Section::Overview,
        title: "Overview",
        crumbs: &[],
        events: Some(format!("{base}/events?messages=none&quiet=1&counts=1")),
        scripts: &["numbers.js"],
        content,
    };
    screen.respond(visitor).await
}

fn numbers(facts: &Facts, base: &str) -> Markup {
    let (online, total, offline) = match &facts.counts {
        // Silent devices are connected.
        Ok(counts) => {
            let online = counts.online + counts.silent;
            (
                online.to_string(),
                html! { "of " span data-live="total" { (counts.total) } },
                html! {
                    span data-live="silent" { (counts.silent) } " of them silent, "
                    span data-live="offline" { (counts.offline) } " offline, "
                    span data-live="absent" { (counts.absent) } " absent as planned"
                },
            )
        }
        Err(_) => unread(),
    };
    let (running, _, names) = match &facts.groups {
        Ok(groups) => {
            let running: Vec<_> = groups.iter().filter(|group| is_running(group)).collect();
            let names = html! { @for group in running.iter().take(3) { span.break { (group.name) " " } } };
            (running.len().to_string(), html! {}, names)
        }
        Err(_) => unread(),
    };
    let known = facts.webhooks.as_deref().unwrap_or_default();
    let is_any_failing = known.iter().any(is_failing);
    let (failing, webhooks, waiting) = match &facts.webhooks {
        Ok(webhooks) => {
            let failing = webhooks.iter().filter(|webhook| is_failing(webhook)).count();
            let waiting: u64 = webhooks.iter().map(|webhook| webhook.queue.waiting).sum();
            (
                failing.to_string(),
                html! { "of " (webhooks.len()) },
                html! { (waiting) " deliveries wait" },
            )
        }
        Err(_) => unread(),
    };
    figures(&[
        Figure {
            name: "Online",
            value: online,
            unit: total,
            aside: offline,
            href: Some(format!("{base}/devices?filter=presence:online,silent")),
            tone: None,
            live: Some("online"),
        },
        Figure {
            name: "Rollouts running",
            value: running,
            unit: html! {},
            aside: names,
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
            value: failing,
            unit: webhooks,
            aside: waiting,
            href: Some(format!("{base}/webhooks")),
            tone: is_any_failing.then_some("warn"),
            live: Some("failing"),
        },
    ])
}

/// Returns value, unit and aside of a number that could not be read.
fn unread() -> (String, Markup, Markup) {
    ("–".to_owned(), html! {}, html! { "could not be read" })
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
            @if let Some(error) = facts.unknown() { (broken("Not all of this could be read", error.message())) }
            @if rows.is_empty() {
                @if facts.unknown().is_some() {
                } @else if facts.counts.as_ref().is_ok_and(|counts| counts.total == 0) {
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
    let raised = *facts.raised.as_ref().unwrap_or(&0);
    if raised > 0 {
        rows.push(Need {
            tone: "bad",
            word: "raised",
            heading: match raised {
                1 => "1 alert is raised".to_owned(),
                raised => format!("{raised} alerts are raised"),
            },
            detail: String::new(),
            since: None,
            link: ("Open the alerts", format!("{base}/alerts")),
        });
    }
    for group in facts.groups() {
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
    for device in facts.failed.iter().flatten() {
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
    for webhook in facts
        .webhooks
        .iter()
        .flatten()
        .filter(|webhook| is_failing(webhook))
    {
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
            div.card-head { h2 #groups { "Groups" } (csv_link(&format!("{base}/csv/groups"), "groups.csv")) }
            @match &facts.groups {
                Err(error) => (broken("The groups could not be read", error.message())),
                Ok(groups) => {
            table.table data-rows="link" {
                thead { tr { th { "Group" } th.num { "Devices" } th.num { "Online" } th { "Revision" } th.p2 { "Rollout" } } }
                tbody { @for group in groups {
                    @let counts = facts.members.as_ref().map(|members| members.iter().find(|counts| counts.group == group.id));
                    @let number = |of: fn(&GroupCounts) -> usize| counts.as_ref().map_or("–".to_owned(), |counts| counts.map_or(0, of).to_string());
                    tr {
                        td { a.row-link href={ (base) "/groups/" (group.id) } { (group.name) } }
                        td.num { (number(|counts| counts.total)) }
                        td.num { (number(|counts| counts.online)) }
                        td { code { (group.current_revision.as_deref().map_or("none", |revision| revision.get(..8).unwrap_or(revision))) } }
                        td.p2 { @match group.status { Some(status) => span.tag { (status.as_str()) }, None => span.soft { "none yet" } } }
                    }
                } }
            }
                }
            }
        }
    }
}
