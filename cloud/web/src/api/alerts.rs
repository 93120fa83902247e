//! Endpoints for alerts and the rules that raise them.

use axum::extract::Path;

use super::Answer;
use super::alert_mails;
use super::body::JsonBody;
use super::dto::{
    AlertDto, AlertList, AlertRuleBody, AlertRuleDto, AlertRuleList, Done, FilterBody, MuteBody, OK,
    OneAlert, OneAlertRule,
};
use super::names;
use super::query::Params;
use super::spaced::Spaced;
use crate::auth::ProjectAccess;
use crate::error::ApiError;
use iottly_cloud::clock;
use iottly_core::model::{
    AlertFilter, AlertId, AlertRule, AlertRuleId, AlertTarget, Change, Condition, MAX_ABSENCE_MS,
    MAX_OPEN_ALERTS, Scopes, UnixMs,
};

/// Maximum number of alerts of one response.
const MAX_ALERTS: u64 = 1000;
/// Number of alerts of a response that names none.
const ALERTS: u64 = 100;

fn invalid(text: impl Into<String>) -> ApiError {
    ApiError::invalid("invalid_body", text)
}

/// Lists alerts, the newest raise first.
///
/// While `raised` has reached `max_raised`, no further alert about a device is raised.
#[utoipa::path(
    get,
    path = "/alerts",
    tag = "alerts",
    params(
        ("state" = Option<String>, Query, pattern = "^(raised|cleared|all)$", description = "`raised` (default), `cleared` or `all`"),
        ("device" = Option<String>, Query, format = "uuid", description = "Id of the device"),
        ("rule" = Option<String>, Query, format = "uuid", description = "Id of the rule; it may be gone"),
        ("before" = Option<String>, Query, description = "Time before which the alerts were raised, or the id of the alert behind which the list continues"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000, description = "Maximum number of alerts; 100 by default"),
    ),
    responses((status = 200, description = "The alerts", body = AlertList))
)]
pub(super) async fn all(access: ProjectAccess, params: Params) -> Answer<AlertList> {
    let query = |text: &str| ApiError::invalid("invalid_query", text);
    let raised = match params.get("state") {
        None | Some("raised") => Some(true),
        Some("cleared") => Some(false),
        Some("all") => None,
        Some(_) => return Err(query("state is not raised, cleared or all")),
    };
    let device = params
        .get("device")
        .map(|id| id.parse().map_err(|_| query("device is not the id of a device")));
    let rule = params
        .get("rule")
        .map(|id| id.parse().map_err(|_| query("rule is not the id of a rule")));
    let before = match params.get("before").map(str::parse::<AlertId>) {
        Some(Ok(id)) => Some(place(&access, id).await?),
        _ => {
            let first = AlertId::from_bytes([0; 16]);
            params.moment("before")?.map(|before| (before, first))
        }
    };
    let limit = params.number("limit")?.unwrap_or(ALERTS);
    if limit > MAX_ALERTS {
        return Err(query("limit is more than 1000"));
    }
    let filter = AlertFilter {
        raised,
        device: device.transpose()?,
        rule: rule.transpose()?,
        before,
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let (now, store) = (clock::now(), &access.services().store);
    let alerts = store.alerts(access.id(), filter, limit).await?;
    Ok(Spaced(AlertList {
        raised: store.raised_count(access.id()).await?,
        max_raised: MAX_OPEN_ALERTS.unsigned_abs(),
        alerts: alerts
            .into_iter()
            .map(|alert| AlertDto::new(alert, now))
            .collect(),
        status: OK,
    }))
}

/// Returns the place of an alert in the list.
pub(crate) async fn place(access: &ProjectAccess, id: AlertId) -> Result<(UnixMs, AlertId), ApiError> {
    let alert = access.services().store.alert(access.id(), id).await?;
    alert
        .map(|alert| (alert.raised, alert.id))
        .ok_or_else(|| ApiError::missing("project has no such alert"))
}

/// Returns an alert.
#[utoipa::path(
    get,
    path = "/alerts/{alert}",
    tag = "alerts",
    responses((status = 200, description = "The alert", body = OneAlert))
)]
pub(super) async fn show(access: ProjectAccess, Path((_, id)): Path<(String, String)>) -> Answer<OneAlert> {
    one(&access, alert_id(&id)?).await
}

fn alert_id(id: &str) -> Result<AlertId, ApiError> {
    id.parse()
        .map_err(|_| ApiError::missing("project has no such alert"))
}

async fn one(access: &ProjectAccess, id: AlertId) -> Answer<OneAlert> {
    let alert = access.services().store.alert(access.id(), id).await?;
    let alert = alert.ok_or_else(|| ApiError::missing("project has no such alert"))?;
    Ok(Spaced(OneAlert {
        alert: AlertDto::new(alert, clock::now()),
        status: OK,
    }))
}

/// Mutes a raised alert: its end makes no entry until then.
#[utoipa::path(
    post,
    path = "/alerts/{alert}/mute",
    tag = "alerts",
    request_body = MuteBody,
    responses((status = 200, description = "The alert after the change", body = OneAlert))
)]
pub(crate) async fn mute(
    access: ProjectAccess,
    Path((_, id)): Path<(String, String)>,
    JsonBody(body): JsonBody<MuteBody>,
) -> Answer<OneAlert> {
    let (now, id) = (clock::now(), alert_id(&id)?);
    one(&access, id).await?;
    let until = muted_until(&body, now)?;
    access.change(Change::MuteAlert(id, Some(until)), now).await?;
    one(&access, id).await
}

/// Ends the mute of an alert.
#[utoipa::path(
    delete,
    path = "/alerts/{alert}/mute",
    tag = "alerts",
    responses((status = 200, description = "The alert after the change", body = OneAlert))
)]
pub(crate) async fn unmute(access: ProjectAccess, Path((_, id)): Path<(String, String)>) -> Answer<OneAlert> {
    let id = alert_id(&id)?;
    access.change(Change::MuteAlert(id, None), clock::now()).await?;
    one(&access, id).await
}

fn muted_until(body: &MuteBody, now: UnixMs) -> Result<UnixMs, ApiError> {
    if body.until <= now || body.until.saturating_sub(now) > MAX_ABSENCE_MS {
        return Err(invalid("until is not within the next 366 days"));
    }
    Ok(body.until)
}

/// Lists the rules of the project.
#[utoipa::path(
    get,
    path = "/alerts/rules",
    tag = "alerts",
    responses((status = 200, description = "The rules", body = AlertRuleList))
)]
pub(crate) async fn rules(access: ProjectAccess) -> Answer<AlertRuleList> {
    let now = clock::now();
    let rules = access.services().store.alert_rules(access.id()).await?;
    Ok(Spaced(AlertRuleList {
        rules: rules
            .into_iter()
            .map(|rule| AlertRuleDto::new(rule, now))
            .collect(),
        status: OK,
    }))
}

/// Adds a rule.
///
/// An alert is raised once for each device, group or cloud that the condition holds for, within five seconds. It becomes an
/// entry `{"alert": …}` in the history of its device, or of the device `00000000-0000-0000-0000-000000000000`, and webhooks
/// deliver it as such.
#[utoipa::path(
    post,
    path = "/alerts/rules",
    tag = "alerts",
    request_body = AlertRuleBody,
    responses((status = 200, description = "The new rule", body = OneAlertRule))
)]
pub(crate) async fn create(
    access: ProjectAccess,
    JsonBody(body): JsonBody<AlertRuleBody>,
) -> Answer<OneAlertRule> {
    let rule = add_rule(&access, body, clock::now()).await?;
    Ok(Spaced(OneAlertRule {
        rule: AlertRuleDto::new(rule, clock::now()),
        status: OK,
    }))
}

/// Checks and adds a rule.
pub(crate) async fn add_rule(
    access: &ProjectAccess,
    body: AlertRuleBody,
    now: UnixMs,
) -> Result<AlertRule, ApiError> {
    // A rule shows parts of messages.
    access.require(Scopes::READ)?;
    let filter = body.filter.map(FilterBody::of_messages).transpose()?.flatten();
    let clear = body.clear.map(FilterBody::of_messages).transpose()?.flatten();
    let condition = Condition::new(&body.condition, body.after_ms, filter, clear)
        .map_err(|error| invalid(error.to_string()))?;
    let target = match (body.device, body.deployment_group) {
        (None, None) => AlertTarget::Project,
        (Some(device), None) => AlertTarget::Device(device),
        (None, Some(group)) => AlertTarget::Group(group),
        (Some(_), Some(_)) => return Err(invalid("a rule watches a device or a deployment group, not both")),
    };
    let mut mails = Vec::new();
    for address in body.mails {
        if !mails.contains(&address) {
            mails.push(address);
        }
    }
    alert_mails::check(access, &mails)?;
    let rule = AlertRule {
        id: AlertRuleId::random(),
        project: access.id(),
        name: names::name("name", &body.name)?,
        condition,
        target,
        mails,
        muted_until: None,
        created: now,
        unexamined: 0,
    };
    access
        .change(Change::CreateAlertRule(Box::new(rule.clone())), now)
        .await?;
    Ok(rule)
}

fn rule_id(id: &str) -> Result<AlertRuleId, ApiError> {
    id.parse()
        .map_err(|_| ApiError::missing("project has no such alert rule"))
}

/// Removes a rule and clears its alerts, without entries.
#[utoipa::path(
    delete,
    path = "/alerts/rules/{rule}",
    tag = "alerts",
    responses((status = 200, description = "The rule was removed", body = Done))
)]
pub(crate) async fn delete(access: ProjectAccess, Path((_, id)): Path<(String, String)>) -> Answer<Done> {
    access
        .change(Change::DeleteAlertRule(rule_id(&id)?), clock::now())
        .await?;
    Ok(Done::answer())
}

/// Mutes a rule: until then its alerts are raised and cleared without entries.
#[utoipa::path(
    post,
    path = "/alerts/rules/{rule}/mute",
    tag = "alerts",
    request_body = MuteBody,
    responses((status = 200, description = "The rule is mute", body = Done))
)]
pub(crate) async fn mute_rule(
    access: ProjectAccess,
    Path((_, id)): Path<(String, String)>,
    JsonBody(body): JsonBody<MuteBody>,
) -> Answer<Done> {
    let (now, id) = (clock::now(), rule_id(&id)?);
    let rules = access.services().store.alert_rules(access.id()).await?;
    if rules.iter().all(|rule| rule.id != id) {
        return Err(ApiError::missing("project has no such alert rule"));
    }
    let until = muted_until(&body, now)?;
    access.change(Change::MuteAlertRule(id, Some(until)), now).await?;
    Ok(Done::answer())
}

/// Ends the mute of a rule.
#[utoipa::path(
    delete,
    path = "/alerts/rules/{rule}/mute",
    tag = "alerts",
    responses((status = 200, description = "The rule is not mute any more", body = Done))
)]
pub(crate) async fn unmute_rule(
    access: ProjectAccess,
    Path((_, id)): Path<(String, String)>,
) -> Answer<Done> {
    access
        .change(Change::MuteAlertRule(rule_id(&id)?, None), clock::now())
        .await?;
    Ok(Done::answer())
}
