//! Alerts of a project: those that are raised, those that were, and the rules, with a form for a new one.

use std::collections::{BTreeSet, HashMap};

use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use iottly_core::model::{Alert, AlertFilter, AlertId, Group, MAX_OPEN_ALERTS, Scopes, UnixMs};
use iottly_protocol::{DeviceId, GroupId};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;

use super::forms::Fields;
use super::kit::age::ago;
use super::kit::csv::csv_link;
use super::kit::empty::{broken, empty, nothing_matches};
use super::kit::notice::{Tone, notice};
use super::kit::script::script_for;
use super::layout::failure;
use super::shell::{Screen, Section};
use super::text;
use super::visitor::Visitor;
use crate::api::alert_mails;
use crate::api::alerts as rest;
use crate::api::body::JsonBody;
use crate::api::dto::{AlertDto, AlertRuleDto, TestMailBody};
use crate::api::named_device::named_device;
use crate::auth::ProjectAccess;
use crate::error::ApiError;
use iottly_cloud::clock;

mod form;
mod mails;
mod mute;

/// Number of cleared alerts of a page.
const CLEARED: usize = 20;
/// Number of raised alerts of a page.
const RAISED: usize = 200;
/// Conditions that the form offers: their words in the API, and their descriptions.
const CONDITIONS: [(&str, &str); 8] = [
    ("offline", "a device is offline for longer than"),
    ("no_data", "no message for longer than"),
    ("gap", "records were lost"),
    ("queue_age", "a message waited on the device for longer than"),
    ("trap", "the firmware failed"),
    ("rollout_halted", "a rollout has halted"),
    ("certificate", "the cloud's certificate ends within"),
    ("value", "a message matches the filter"),
];

/// Query of the page: its filter, and the places in its lists.
#[derive(Deserialize, Default)]
pub(super) struct Asked {
    device: Option<String>,
    rule: Option<String>,
    /// Alert behind which the list of raised ones continues.
    raised: Option<String>,
    /// Alert behind which the list of cleared ones continues.
    cleared: Option<String>,
}

impl Asked {
    fn given(text: Option<&String>) -> Option<&str> {
        text.map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    fn device(&self) -> Option<&str> {
        Self::given(self.device.as_ref())
    }

    fn rule(&self) -> Option<&str> {
        Self::given(self.rule.as_ref())
    }

    /// Returns the filter as a query string, which is empty without one.
    fn query(&self) -> String {
        let of =
            |name: &str, value: Option<&str>| value.map(|value| format!("{name}={}", text::escaped(value)));
        let parts: Vec<_> = [of("device", self.device()), of("rule", self.rule())]
            .into_iter()
            .flatten()
            .collect();
        if parts.is_empty() {
            String::new()
        } else {
            format!("?{}", parts.join("&"))
        }
    }

    /// Returns the address of the same page with a list continued behind an alert.
    fn continued(&self, own: &str, list: &str, last: AlertId) -> String {
        let query = self.query();
        let sign = if query.is_empty() { '?' } else { '&' };
        format!("{own}{query}{sign}{list}={last}#{list}")
    }

    /// Returns the filter of the API.
    async fn filter(&self, access: &ProjectAccess) -> Result<AlertFilter, ApiError> {
        let invalid = |text: &str| ApiError::invalid("invalid_filter", text);
        let device = match self.device() {
            Some(text) => Some(named_device(access, text).await?),
            None => None,
        };
        Ok(AlertFilter {
            device,
            rule: self
                .rule()
                .map(|id| id.parse().map_err(|_| invalid("rule is not the id of a rule")))
                .transpose()?,
            ..AlertFilter::default()
        })
    }
}

/// Form that was refused, with the reason.
struct Refused<'a> {
    error: &'a ApiError,
    fields: Option<&'a Fields>,
}

/// Names of what alerts and rules are about.
struct Names {
    base: String,
    devices: HashMap<DeviceId, String>,
    groups: Vec<Group>,
}

impl Names {
    async fn of(
        visitor: &Visitor,
        alerts: impl Iterator<Item = &AlertDto>,
        rules: &[AlertRuleDto],
    ) -> Result<Self, ApiError> {
        let access = &visitor.project;
        let of_rules = rules.iter().filter_map(|rule| rule.device);
        let ids: BTreeSet<DeviceId> = alerts.filter_map(|alert| alert.device).chain(of_rules).collect();
        let ids: Vec<DeviceId> = ids.into_iter().collect();
        let devices = access
            .services()
            .store
            .devices_with_ids(access.id(), &ids)
            .await?;
        Ok(Self {
            base: visitor.base(),
            devices: devices
                .into_iter()
                .map(|device| (device.scope.device, device.name))
                .collect(),
            groups: access.groups().await?,
        })
    }

    /// Returns a device or a group as a link with its name; `otherwise` for neither.
    fn show(&self, device: Option<DeviceId>, group: Option<GroupId>, otherwise: &str) -> Markup {
        let base = &self.base;
        html! {
            @match (device, group) {
                (Some(device), _) => @match self.devices.get(&device) {
                    Some(name) => a.break href={ (base) "/devices/" (device) } { (name) },
                    None => span.mono { (device) },
                },
                (None, Some(group)) => @match self.groups.iter().find(|known| known.id == group) {
                    Some(known) => a.break href={ (base) "/groups/" (group) } { "group " (known.name) },
                    None => span { "group " span.mono { (group) } },
                },
                (None, None) => (otherwise),
            }
        }
    }
}

/// List of raised or of cleared alerts: its alerts and the address of the rest, or the reason for which it cannot be read.
struct Listed {
    alerts: Result<Vec<AlertDto>, String>,
    rest: Option<String>,
}

impl Listed {
    async fn read(
        visitor: &Visitor,
        asked: &Asked,
        (filter, is_raised): (AlertFilter, bool),
        now: UnixMs,
    ) -> Result<Self, ApiError> {
        let (list, behind, most) = match is_raised {
            true => ("raised", &asked.raised, RAISED),
            false => ("cleared", &asked.cleared, CLEARED),
        };
        let before = match behind.as_deref().map(str::parse::<AlertId>) {
            // The alert may have been deleted since the page was made: then the list begins again.
            Some(Ok(id)) => rest::place(&visitor.project, id).await.ok(),
            Some(Err(_)) | None => None,
        };
        let filter = AlertFilter {
            raised: Some(is_raised),
            before,
            ..filter
        };
        let store = &visitor.project.services().store;
        let found: iottly_store::Result<Vec<Alert>> =
            store.alerts(visitor.project.id(), filter, most + 1).await;
        let mut alerts = match found {
            Ok(alerts) => alerts,
            // A part that cannot be read leaves the others.
            Err(error) => {
                return Ok(Self {
                    alerts: Err(ApiError::from(error).message().to_owned()),
                    rest: None,
                });
            }
        };
        let more = alerts.len() > most;
        alerts.truncate(most);
        let own = format!("{}/alerts", visitor.base());
        let rest = alerts
            .last()
            .filter(|_| more)
            .map(|last| asked.continued(&own, list, last.id));
        Ok(Self {
            alerts: Ok(alerts
                .into_iter()
                .map(|alert| AlertDto::new(alert, now))
                .collect()),
            rest,
        })
    }

    fn all(&self) -> impl Iterator<Item = &AlertDto> {
        self.alerts.iter().flatten()
    }
}

pub(super) async fn list(visitor: Visitor, Query(asked): Query<Asked>) -> Response {
    page(&visitor, &asked, None)
        .await
        .unwrap_or_else(|error| failure(&error))
}

async fn page(visitor: &Visitor, asked: &Asked, refused: Option<Refused<'_>>) -> Result<Response, ApiError> {
    let (base, now) = (visitor.base(), clock::now());
    let own = format!("{base}/alerts");
    let (filter, problem) = match asked.filter(&visitor.project).await {
        Ok(filter) => (filter, None),
        Err(error) => (AlertFilter::default(), Some(error)),
    };
    let raised = Listed::read(visitor, asked, (filter, true), now).await?;
    let cleared = Listed::read(visitor, asked, (filter, false), now).await?;
    let rules = rest::rules(visitor.project.clone()).await?.0.rules;
    let mails = alert_mails::mails(visitor.project.clone()).await?.0;
    let names = Names::of(visitor, raised.all().chain(cleared.all()), &rules).await?;
    let store = &visitor.project.services().store;
    // A number that cannot be read leaves the lists, which say what failed.
    let count = store.raised_count(visitor.project.id()).await.unwrap_or_default();
    let is_full = count >= MAX_OPEN_ALERTS.unsigned_abs();
    let (may, query) = (visitor.may(Scopes::WRITE), asked.query());
    let rows = Rows {
        own: &own,
        query: &query,
        names: &names,
        now,
        may,
    };
    let nothing = |is_raised: bool| match (query.is_empty(), is_raised, rules.is_empty()) {
        (false, true, _) => nothing_matches(
            "raised alert",
            query.trim_start_matches('?'),
            usize::try_from(count).unwrap_or(usize::MAX),
            &own,
        ),
        (false, false, _) => empty(
            "None matches",
            "No alert that has ended is about this.",
            &html! { a.button href=(own) { "Show all" } },
        ),
        (true, false, _) => empty("None yet", "The last alerts that have ended are here.", &html! {}),
        (true, true, true) => empty(
            "Nothing is watched yet",
            "A rule raises an alert when a device stays away, its firmware fails or a value is too high.",
            &html! {},
        ),
        (true, true, false) => empty(
            "Nothing is raised",
            "All that the rules watch is as it should be.",
            &html! {},
        ),
    };
    let part = |listed: &Listed, is_raised: bool| {
        html! {
            @match &listed.alerts {
                Ok(alerts) if alerts.is_empty() => (nothing(is_raised)),
                Ok(alerts) => (rows.table(alerts, is_raised)),
                Err(reason) => (broken("These alerts could not be read", reason)),
            }
            @if let Some(rest) = &listed.rest { div.card-foot { span { "The newest are first" } a.button data-size="s" href=(rest) { "Older alerts" } } }
        }
    };
    let content = html! {
        div.head { div {
            live-part #alert-count data-on="alert" { h1 { "Alerts " span.count { (count) } } }
            p.lede { "A rule raises one alert for each device that its condition holds for. Webhooks deliver alerts as entries of the history" @if mails.allowed.is_some() { ", and rules can have addresses that get a mail" } "." }
        } div.actions { (csv_link(&format!("{base}/csv/alerts"), "alerts.csv")) a.button data-size="s" href={ (base) "/csv/rules" } download="rules.csv" { "CSV of the rules" } } }
        @if let Some(refused) = &refused { (notice(Tone::Bad, &html! { (refused.error.message()) })) }
        @if is_full { (notice(Tone::Warn, &html! { (count) " alerts are raised, the maximum of a project: no other one about a device is raised until some of them clear." })) }
        (filter_form(&own, asked, &rules, problem.as_ref()))
        section.card data-flush aria-labelledby="raised" {
            div.card-head { h2 #raised { "Raised" } }
            live-part #raised-alerts data-on="alert" { (part(&raised, true)) }
        }
        div.split {
            section.card data-flush aria-labelledby="rules" {
                div.card-head { h2 #rules { "Rules" } }
                @if rules.is_empty() { (empty("No rules", if may { "The form adds the first one." } else { "A person with the right to write can add one." }, &html! {})) }
                @else { (rows.rules(&rules)) }
            }
            @if may { (form::show(&own, &query, &mails, &names.groups, refused.as_ref().and_then(|refused| refused.fields))) }
        }
        section.card data-flush aria-labelledby="cleared" {
            div.card-head { h2 #cleared { "Cleared" } }
            live-part #cleared-alerts data-on="alert" { (part(&cleared, false)) }
        }
        live-part #mail-card data-on="alert" data-least="5" { (mails::card(&mails, &own, now, may)) }
        (scripts(asked, now))
    };
    let screen = Screen {
        section: Section::Alerts,
        title: "Alerts",
        crumbs: &[],
        events: Some(format!("{base}/events?messages=none&quiet=1")),
        scripts: &["suggest.js"],
        content,
    };
    let status = problem.map_or(StatusCode::OK, |problem| problem.status());
    Ok((status, screen.respond(visitor).await?).into_response())
}

fn filter_form(own: &str, asked: &Asked, rules: &[AlertRuleDto], problem: Option<&ApiError>) -> Markup {
    let (device, rule) = (
        asked.device().unwrap_or_default(),
        asked.rule().unwrap_or_default(),
    );
    let is_known = |id: &str| rules.iter().any(|known| known.id.to_string() == id);
    html! {
        form.filter role="search" action=(own) {
            div.actions {
                label.sr for="of-rule" { "Rule" }
                select #of-rule name="rule" {
                    option value="" { "All rules" }
                    @for known in rules { option value=(known.id) selected[known.id.to_string() == rule] { (known.name) } }
                    @if !rule.is_empty() && !is_known(rule) { option value=(rule) selected { "rule " (rule) } }
                }
                label.sr for="of-device" { "Device, by name or id" }
                input #of-device name="device" value=(device) placeholder="name or id of a device" autocomplete="off" spellcheck="false" aria-invalid=[problem.map(|_| "true")];
                button data-size="s" { "Filter" }
                @if !device.is_empty() || !rule.is_empty() { a.button data-size="s" href=(own) { "Show all" } }
            }
            @if let Some(problem) = problem { p.filter-note { span.field-problem role="alert" { (problem.message()) } } }
        }
    }
}

fn scripts(asked: &Asked, now: UnixMs) -> Markup {
    let mute = json!({ "until": now.saturating_add(mute::DAY_MS) }).to_string();
    let mut list = "iottly alert list --state all".to_owned();
    for (option, value) in [("--device", asked.device()), ("--rule", asked.rule())] {
        if let Some(value) = value {
            list += &format!(" {option} {}", text::escaped(value));
        }
    }
    let path = format!("/alerts?state=all{}", asked.query().replace('?', "&"));
    html! {
        (script_for("add a rule", "iottly alert rule add away --when offline --after 5m",
            ("POST", "/alerts/rules", Some(r#"{"name":"away","condition":"offline","after_ms":300000}"#))))
        (script_for("mute an alert", "iottly alert mute $ALERT --until 1d", ("POST", "/alerts/$ALERT/mute", Some(&mute))))
        (script_for("mute a rule", "iottly alert mute $RULE --until 1d", ("POST", "/alerts/rules/$RULE/mute", Some(&mute))))
        (script_for("send a test mail", "iottly alert mail test anne@example.org",
            ("POST", "/alerts/mails", Some(r#"{"to":"anne@example.org"}"#))))
        (script_for("list mails", "iottly alert mail list", ("GET", "/alerts/mails", None)))
        (script_for("list", &list, ("GET", &path, None)))
    }
}

/// Inputs of the rows beside what they show.
struct Rows<'a> {
    own: &'a str,
    query: &'a str,
    names: &'a Names,
    now: UnixMs,
    may: bool,
}

impl Rows<'_> {
    fn table(&self, alerts: &[AlertDto], is_raised: bool) -> Markup {
        let own = self.own;
        html! {
            table.table data-fold {
                thead { tr { th { "Alert" } th { "Subject" } th.p2 { @if is_raised { "Raised" } @else { "Cleared" } } th { span.sr { "Action" } } } }
                tbody { @for alert in alerts { tr {
                    td { a.break href={ (own) "?rule=" (alert.rule) } title="Alerts of this rule" { b { (alert.name) } } (mute::mark(alert.muted_until)) span.sub.break { (alert.detail) } }
                    td { (self.names.show(alert.device, alert.deployment_group, "cloud"))
                        @if let Some(device) = alert.device { span.sub { a href={ (own) "?device=" (device) } { "its alerts" } } } }
                    td.p2.soft { (since(if is_raised { alert.raised.at() } else { alert.cleared.map_or(0, |at| at.at()) }, self.now)) }
                    td { @if is_raised && self.may { (mute::control(&format!("{own}/{}", alert.id), self.query, alert.muted_until.is_some())) } }
                } } }
            }
        }
    }

    fn rules(&self, rules: &[AlertRuleDto]) -> Markup {
        let own = self.own;
        html! {
            table.table data-fold {
                thead { tr { th { "Rule" } th { "Condition" } th.p2 { "Watches" } th { span.sr { "Action" } } } }
                tbody { @for rule in rules { tr {
                    td { a.break href={ (own) "?rule=" (rule.id) } title="Alerts of this rule" { b { (rule.name) } } (mute::mark(rule.muted_until)) span.sub.mono { (rule.id) } }
                    td { (words(&rule.condition)) @if let Some(after) = rule.after_ms { " " (after / 1000) " s" }
                        @if let Some(filter) = &rule.filter { span.sub { code.break { (filter.get()) } } }
                        @if let Some(clear) = &rule.clear { span.sub { "clears with " code.break { (clear.get()) } } }
                        @if !rule.mails.is_empty() { span.sub.break { "mails to " (rule.mails.join(", ")) } }
                        @if rule.unexamined > 0 { span.sub.field-problem { "not applied to " (rule.unexamined) " messages: the filters of the project's rules take too many steps" } } }
                    td.p2 { (self.names.show(rule.device, rule.deployment_group, "the project")) }
                    td { @if self.may { span.actions {
                        (mute::control(&format!("{own}/rules/{}", rule.id), self.query, rule.muted_until.is_some()))
                        form method="post" action={ (own) "/rules/" (rule.id) "/remove" (self.query) } { button data-size="s" data-kind="danger" { "Remove" } }
                    } } }
                } } }
            }
        }
    }
}

fn since(at: UnixMs, now: UnixMs) -> Markup {
    html! { (ago(at, now)) " ago" }
}

fn words(condition: &str) -> &str {
    CONDITIONS
        .iter()
        .find(|(word, _)| *word == condition)
        .map_or(condition, |(_, words)| words)
}

/// Adds the rule of the form.
pub(super) async fn add(visitor: Visitor, Query(asked): Query<Asked>, fields: Fields) -> Response {
    let done = async {
        let body = form::read(&visitor.project, &fields).await?;
        rest::create(visitor.project.clone(), JsonBody(body)).await
    };
    ended(&visitor, &asked, Some(&fields), done.await.map(drop)).await
}

/// Sends a test mail to the address of the form.
pub(super) async fn test_mail(visitor: Visitor, fields: Fields) -> Response {
    let body = TestMailBody {
        to: fields.get("to").unwrap_or_default().trim().to_owned(),
    };
    let done = alert_mails::test(visitor.project.clone(), JsonBody(body)).await;
    ended(&visitor, &Asked::default(), None, done.map(drop)).await
}

/// Mutes or unmutes an alert.
pub(super) async fn act(
    visitor: Visitor,
    Path((project, alert, action)): Path<(String, String, String)>,
    Query(asked): Query<Asked>,
    fields: Fields,
) -> Response {
    let (access, path) = (visitor.project.clone(), Path((project, alert)));
    let done = match action.as_str() {
        "mute" => match mute::read(&fields, clock::now()) {
            Ok(body) => rest::mute(access, path, JsonBody(body)).await.map(drop),
            Err(error) => Err(error),
        },
        "unmute" => rest::unmute(access, path).await.map(drop),
        _ => Err(ApiError::not_found()),
    };
    ended(&visitor, &asked, None, done).await
}

/// Mutes, unmutes or removes a rule.
pub(super) async fn act_on_rule(
    visitor: Visitor,
    Path((project, rule, action)): Path<(String, String, String)>,
    Query(mut asked): Query<Asked>,
    fields: Fields,
) -> Response {
    let (access, path) = (visitor.project.clone(), Path((project, rule.clone())));
    let done = match action.as_str() {
        "mute" => match mute::read(&fields, clock::now()) {
            Ok(body) => rest::mute_rule(access, path, JsonBody(body)).await.map(drop),
            Err(error) => Err(error),
        },
        "unmute" => rest::unmute_rule(access, path).await.map(drop),
        "remove" => {
            // A filter by a rule that is gone would hide the others.
            asked.rule = asked.rule.filter(|shown| *shown != rule);
            rest::delete(access, path).await.map(drop)
        }
        _ => Err(ApiError::not_found()),
    };
    ended(&visitor, &asked, None, done).await
}

/// Returns to the page after an action, or shows it with the reason for which the action was refused and what was typed.
async fn ended(
    visitor: &Visitor,
    asked: &Asked,
    fields: Option<&Fields>,
    done: Result<(), ApiError>,
) -> Response {
    match done {
        Ok(()) => Redirect::to(&format!("{}/alerts{}", visitor.base(), asked.query())).into_response(),
        Err(error) if error.status().is_client_error() => {
            let refused = Refused {
                error: &error,
                fields,
            };
            match page(visitor, asked, Some(refused)).await {
                Ok(shown) => (error.status(), shown).into_response(),
                Err(error) => failure(&error),
            }
        }
        Err(error) => failure(&error),
    }
}
