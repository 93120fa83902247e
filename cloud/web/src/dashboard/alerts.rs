//! Alerts of a project: those that are raised, those that were, and the rules, with a form for a new one.

use std::collections::BTreeSet;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use iottly_core::model::{AlertFilter, Scopes, UnixMs};
use iottly_protocol::DeviceId;
use maud::{Markup, html};

use super::forms::Fields;
use super::kit::age::ago;
use super::kit::csv::csv_link;
use super::kit::empty::{broken, empty};
use super::kit::notice::{Tone, notice};
use super::kit::script::{script_for, snippet};
use super::layout::failure;
use super::shell::{Screen, Section};
use super::visitor::Visitor;
use crate::api::alert_mails;
use crate::api::alerts as rest;
use crate::api::body::JsonBody;
use crate::api::dto::{AlertDto, AlertRuleBody, AlertRuleDto, FilterBody, MailList, MuteBody, TestMailBody};
use crate::error::ApiError;
use iottly_cloud::clock;

mod mails;

/// Maximum number of cleared alerts on the page.
const CLEARED: usize = 20;
/// Maximum number of raised alerts on the page; the API lists all.
const RAISED: usize = 200;
/// Length of a mute that the page offers, in milliseconds: a day.
const MUTE_MS: UnixMs = 24 * 60 * 60 * 1000;
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

pub(super) async fn list(visitor: Visitor) -> Response {
    page(&visitor, None).await.unwrap_or_else(|error| failure(&error))
}

async fn page(visitor: &Visitor, problem: Option<&ApiError>) -> Result<Response, ApiError> {
    let (own, now) = (format!("{}/alerts", visitor.base()), clock::now());
    let (store, project) = (&visitor.project.services().store, visitor.project.id());
    let filter = |raised| AlertFilter {
        raised: Some(raised),
        ..AlertFilter::default()
    };
    // A part that cannot be read leaves the others.
    let shown = |found: iottly_store::Result<Vec<iottly_core::model::Alert>>| {
        found
            .map(|alerts| {
                alerts
                    .into_iter()
                    .map(|alert| AlertDto::new(alert, now))
                    .collect::<Vec<_>>()
            })
            .map_err(|error| ApiError::from(error).message().to_owned())
    };
    let raised = shown(store.alerts(project, filter(true), RAISED).await);
    let cleared = shown(store.alerts(project, filter(false), CLEARED).await);
    let rules = rest::rules(visitor.project.clone()).await?.0.rules;
    let mails = alert_mails::mails(visitor.project.clone()).await?.0;
    let listed = raised.iter().chain(cleared.iter()).flatten();
    let ids: BTreeSet<DeviceId> = listed.filter_map(|alert| alert.device).collect();
    let ids: Vec<DeviceId> = ids.into_iter().collect();
    let names: std::collections::HashMap<_, _> = store
        .devices_with_ids(project, &ids)
        .await?
        .into_iter()
        .map(|device| (device.scope.device, device.name))
        .collect();
    let name = |alert: &AlertDto| alert.device.and_then(|device| names.get(&device)).cloned();
    let (base, may) = (visitor.base(), visitor.may(Scopes::WRITE));
    let table = |alerts: &[AlertDto], open: bool| {
        html! {
            table.table data-fold {
                thead { tr { th { "Alert" } th { "Subject" } th.p2 { @if open { "Raised" } @else { "Cleared" } } th { span.sr { "Action" } } } }
                tbody { @for alert in alerts { tr {
                    td { b.break { (alert.name) } @if alert.muted_until.is_some() { " " span.tag { "mute" } } span.sub.break { (alert.detail) } }
                    td { @match (alert.device, name(alert)) {
                        (Some(device), Some(name)) => a href={ (base) "/devices/" (device) } { (name) },
                        (Some(device), None) => span.mono { (device) },
                        (None, _) => @match alert.deployment_group {
                            Some(group) => a href={ (base) "/groups/" (group) } { "deployment group" },
                            None => "cloud",
                        },
                    } }
                    td.p2.soft { (since(if open { alert.raised.at() } else { alert.cleared.map_or(0, |at| at.at()) }, now)) }
                    td { @if open && may { (mute_button(&format!("{own}/{}", alert.id), alert.muted_until.is_some())) } }
                } } }
            }
        }
    };
    let part = |found: &Result<Vec<AlertDto>, String>, open: bool, nothing: Markup| match found {
        Ok(alerts) if alerts.is_empty() => nothing,
        Ok(alerts) => table(alerts, open),
        Err(reason) => broken("These alerts could not be read", reason),
    };
    let count = raised.as_ref().map_or(0, Vec::len);
    let calm = if rules.is_empty() {
        empty(
            "Nothing is watched yet",
            "A rule raises an alert when a device stays away, its firmware fails or a value is too high.",
            &html! {},
        )
    } else {
        empty(
            "Nothing is raised",
            "All that the rules watch is as it should be.",
            &html! {},
        )
    };
    let content = html! {
        div.head { div {
            live-part #alert-count data-on="alert" { h1 { "Alerts " span.count { (count) } } }
            p.lede { "A rule raises one alert for each device that its condition holds for. Webhooks deliver alerts as entries of the history" @if mails.allowed.is_some() { ", and rules can have addresses that get a mail" } "." }
        } div.actions { (csv_link(&format!("{base}/csv/alerts"), "alerts.csv")) a.button data-size="s" href={ (base) "/csv/rules" } download="rules.csv" { "CSV of the rules" } } }
        @if let Some(problem) = problem { (notice(Tone::Bad, &html! { (problem.message()) })) }
        section.card data-flush aria-labelledby="raised" {
            div.card-head { h2 #raised { "Raised" } }
            live-part #raised-alerts data-on="alert" { (part(&raised, true, calm)) }
        }
        div.split {
            section.card data-flush aria-labelledby="rules" {
                div.card-head { h2 #rules { "Rules" } }
                @if rules.is_empty() { (empty("No rules", if may { "The form adds the first one." } else { "A person with the right to write can add one." }, &html! {})) }
                @else { (rule_table(&rules, &own, may)) }
            }
            @if may { (form(&own, &mails)) }
        }
        section.card data-flush aria-labelledby="cleared" {
            div.card-head { h2 #cleared { "Cleared" } }
            live-part #cleared-alerts data-on="alert" { (part(&cleared, false, empty("None yet", "The last alerts that have ended are here.", &html! {}))) }
        }
        live-part #mail-card data-on="alert" data-least="5" { (mails::card(&mails, &own, now, may)) }
        (script_for("add a rule", "iottly alert rule add away --when offline --after 5m",
            ("POST", "/alerts/rules", Some(r#"{"name":"away","condition":"offline","after_ms":300000}"#))))
        (script_for("mute an alert or a rule", "iottly alert mute ID --until 1d",
            ("POST", "/alerts/$ALERT/mute", Some(r#"{"until":1798761600000}"#))))
        (script_for("send a test mail", "iottly alert mail test anne@example.org",
            ("POST", "/alerts/mails", Some(r#"{"to":"anne@example.org"}"#))))
        (script_for("list mails", "iottly alert mail list", ("GET", "/alerts/mails", None)))
        (script_for("list", "iottly alert list --state all", ("GET", "/alerts?state=all", None)))
    };
    let screen = Screen {
        section: Section::Alerts,
        title: "Alerts",
        crumbs: &[],
        events: Some(format!("{base}/events?quiet=1")),
        scripts: &[],
        content,
    };
    screen.respond(visitor).await
}

fn since(at: UnixMs, now: UnixMs) -> Markup {
    html! { (ago(at, now)) " ago" }
}

fn mute_button(own: &str, is_mute: bool) -> Markup {
    let (action, word) = if is_mute {
        ("unmute", "Unmute")
    } else {
        ("mute", "Mute for a day")
    };
    html! { form method="post" action={ (own) "/" (action) } { button data-size="s" { (word) } } }
}

fn rule_table(rules: &[AlertRuleDto], own: &str, may: bool) -> Markup {
    html! {
        table.table data-fold {
            thead { tr { th { "Rule" } th { "Condition" } th.p2 { "Watches" } th { span.sr { "Action" } } } }
            tbody { @for rule in rules { tr {
                td { b.break { (rule.name) } @if rule.muted_until.is_some() { " " span.tag { "mute" } } span.sub.mono { (rule.id) } }
                td { (words(&rule.condition)) @if let Some(after) = rule.after_ms { " " (after / 1000) " s" }
                    @if let Some(filter) = &rule.filter { span.sub { code.break { (filter.get()) } } }
                    @if let Some(clear) = &rule.clear { span.sub { "clears with " code.break { (clear.get()) } } }
                    @if !rule.mails.is_empty() { span.sub.break { "mails to " (rule.mails.join(", ")) } } }
                td.p2 { @if rule.device.is_some() { "a device" } @else if rule.deployment_group.is_some() { "a group" } @else { "the project" } }
                td { @if may { span.actions {
                    (mute_button(&format!("{own}/rules/{}", rule.id), rule.muted_until.is_some()))
                    form method="post" action={ (own) "/rules/" (rule.id) "/remove" } { button data-size="s" data-kind="danger" { "Remove" } }
                } } }
            } } }
        }
    }
}

fn words(condition: &str) -> &str {
    CONDITIONS
        .iter()
        .find(|(word, _)| *word == condition)
        .map_or(condition, |(_, words)| words)
}

fn form(own: &str, mails: &MailList) -> Markup {
    html! {
        form.card.stack method="post" action={ (own) "/rules" } {
            h2 { "New rule" }
            div.field { label for="name" { "Name" } input #name name="name" required maxlength="128" placeholder="away"; }
            div.field { label for="condition" { "Raise when" } select #condition name="condition" { @for (word, words) in CONDITIONS { option value=(word) { (words) } } } }
            div.field { label for="after" { "Minutes, if the condition has a length of time" } input #after name="after" type="number" min="1" max="129600" placeholder="5"; }
            div.field { label for="filter" { "Filter, for a message that matches" } input #filter name="filter" placeholder="temp>30" autocomplete="off" spellcheck="false";
                p.hint { "The list of rules shows the MongoDB filter that it stands for; that is taken as well." } }
            div.field { label for="clear" { "Filter that clears it" } input #clear name="clear" placeholder="temp<28" autocomplete="off" spellcheck="false";
                p.hint { "Without it, an alert clears after ten minutes without a match." } }
            div.field { label for="device" { "Id of a device, to watch only that" } input #device name="device"; }
            @if let Some(allowed) = &mails.allowed {
                div.field { label for="mails" { "Addresses that get a mail" } input #mails name="mails" autocomplete="off" placeholder="anne@example.org, ben@example.org";
                    p.hint { "Ten at most; this cloud sends to " (allowed) "." } }
            }
            div.actions { button data-kind="main" { "Add the rule" } }
            p.hint { "A webhook with this filter delivers alerts only:" }
            (snippet(r#"{"payload.alert":{"$exists":true}}"#))
        }
    }
}

/// Adds the rule of the form.
pub(super) async fn add(visitor: Visitor, fields: Fields) -> Response {
    let done = async {
        let body = body(&fields)?;
        rest::create(visitor.project.clone(), JsonBody(body)).await
    };
    ended(&visitor, done.await.map(drop)).await
}

fn body(fields: &Fields) -> Result<AlertRuleBody, ApiError> {
    let given = |name: &str| fields.get(name).map(str::trim).filter(|text| !text.is_empty());
    let invalid = |text: String| ApiError::invalid("invalid_form", text);
    let filter = |name: &str| given(name).map(|text| FilterBody::Text(text.to_owned()));
    let minutes = given("after")
        .map(|text| {
            text.parse::<UnixMs>()
                .map_err(|_| invalid("minutes are not a number".to_owned()))
        })
        .transpose()?;
    let device = given("device")
        .map(|text| {
            text.parse()
                .map_err(|_| invalid("device is not the id of a device".to_owned()))
        })
        .transpose()?;
    Ok(AlertRuleBody {
        name: given("name").unwrap_or_default().to_owned(),
        condition: given("condition").unwrap_or_default().to_owned(),
        after_ms: minutes.map(|minutes| minutes.saturating_mul(60_000)),
        filter: filter("filter"),
        clear: filter("clear"),
        device,
        deployment_group: None,
        mails: given("mails")
            .into_iter()
            .flat_map(|text| text.split([',', ' ']))
            .filter(|address| !address.is_empty())
            .map(str::to_owned)
            .collect(),
    })
}

/// Sends a test mail to the address of the form.
pub(super) async fn test_mail(visitor: Visitor, fields: Fields) -> Response {
    let body = TestMailBody {
        to: fields.get("to").unwrap_or_default().trim().to_owned(),
    };
    let done = alert_mails::test(visitor.project.clone(), JsonBody(body)).await;
    ended(&visitor, done.map(drop)).await
}

/// Mutes or unmutes an alert.
pub(super) async fn act(
    visitor: Visitor,
    Path((project, alert, action)): Path<(String, String, String)>,
) -> Response {
    let (access, path) = (visitor.project.clone(), Path((project, alert)));
    let done = match action.as_str() {
        "mute" => rest::mute(access, path, JsonBody(for_a_day())).await.map(drop),
        "unmute" => rest::unmute(access, path).await.map(drop),
        _ => Err(ApiError::not_found()),
    };
    ended(&visitor, done).await
}

/// Mutes, unmutes or removes a rule.
pub(super) async fn act_on_rule(
    visitor: Visitor,
    Path((project, rule, action)): Path<(String, String, String)>,
) -> Response {
    let (access, path) = (visitor.project.clone(), Path((project, rule)));
    let done = match action.as_str() {
        "mute" => rest::mute_rule(access, path, JsonBody(for_a_day()))
            .await
            .map(drop),
        "unmute" => rest::unmute_rule(access, path).await.map(drop),
        "remove" => rest::delete(access, path).await.map(drop),
        _ => Err(ApiError::not_found()),
    };
    ended(&visitor, done).await
}

fn for_a_day() -> MuteBody {
    MuteBody {
        until: clock::now().saturating_add(MUTE_MS),
    }
}

/// Returns to the page after an action, or shows it with the reason for which the action was refused.
async fn ended(visitor: &Visitor, done: Result<(), ApiError>) -> Response {
    match done {
        Ok(()) => Redirect::to(&format!("{}/alerts", visitor.base())).into_response(),
        Err(error) if error.status().is_client_error() => {
            let status: StatusCode = error.status();
            match page(visitor, Some(&error)).await {
                Ok(shown) => (status, shown).into_response(),
                Err(error) => failure(&error),
            }
        }
        Err(error) => failure(&error),
    }
}
