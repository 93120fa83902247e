//! JSON types for alerts and the rules that raise them.

use std::borrow::Cow;

use iottly_protocol::{DeviceId, GroupId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{Date, FilterBody};
use iottly_core::model::{
    Alert, AlertId, AlertRule, AlertRuleId, AlertSubject, AlertTarget, Condition, UnixMs,
};

/// Rule that raises alerts.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = AlertRule)]
pub struct AlertRuleDto {
    /// Id of the rule.
    #[schema(value_type = String, format = "uuid")]
    pub id: AlertRuleId,
    /// Name of the rule.
    pub name: String,
    /// `offline`, `no_data`, `gap`, `queue_age`, `trap`, `rollout_halted`, `certificate` or `value`.
    #[schema(value_type = String)]
    pub condition: Cow<'static, str>,
    /// Length of time of the condition, in milliseconds; null for conditions without one.
    pub after_ms: Option<UnixMs>,
    /// Filter that raises an alert of the condition `value`; null for others.
    #[schema(value_type = Option<Object>)]
    pub filter: Option<Box<RawValue>>,
    /// Filter that clears it; null to clear it after ten quiet minutes.
    #[schema(value_type = Option<Object>)]
    pub clear: Option<Box<RawValue>>,
    /// Device that the rule watches; null for several.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub device: Option<DeviceId>,
    /// Deployment group that the rule watches; null for all devices, or for one.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub deployment_group: Option<GroupId>,
    /// Addresses that get a mail.
    pub mails: Vec<String>,
    /// Time until which its alerts make no entries; null while it is not mute.
    pub muted_until: Option<Date>,
    /// Creation time.
    pub created: Date,
    /// Number of messages that the filter was not applied to, because the filters of the project's rules took too many steps.
    #[serde(default)]
    pub unexamined: u64,
}

impl AlertRuleDto {
    pub(crate) fn new(rule: AlertRule, now: UnixMs) -> Self {
        let (condition, after_ms) = (rule.condition.as_str(), rule.condition.after());
        let (filter, clear) = match rule.condition {
            Condition::Value { filter, clear } => (Some(filter), clear),
            _ => (None, None),
        };
        let json = |text: Option<String>| text.and_then(|text| RawValue::from_string(text).ok());
        let (device, group) = match rule.target {
            AlertTarget::Project => (None, None),
            AlertTarget::Group(group) => (None, Some(group)),
            AlertTarget::Device(device) => (Some(device), None),
        };
        Self {
            id: rule.id,
            name: rule.name,
            condition: condition.into(),
            after_ms,
            filter: json(filter),
            clear: json(clear),
            device,
            deployment_group: group,
            mails: rule.mails,
            muted_until: rule.muted_until.filter(|until| now < *until).map(Into::into),
            created: rule.created.into(),
            unexamined: rule.unexamined,
        }
    }
}

/// Rules of a project.
#[derive(Serialize, ToSchema)]
pub(crate) struct AlertRuleList {
    /// Rules, by name.
    pub(crate) rules: Vec<AlertRuleDto>,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}

/// Rule.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct OneAlertRule {
    /// The rule.
    pub rule: AlertRuleDto,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Rule to add. It watches the whole project unless a device or a deployment group is given.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AlertRuleSettings)]
pub(crate) struct AlertRuleBody {
    /// Name: 1 to 128 bytes without control characters.
    pub(crate) name: String,
    /// `offline`, `no_data`, `gap`, `queue_age`, `trap`, `rollout_halted`, `certificate` or `value`.
    #[schema(pattern = "^(offline|no_data|gap|queue_age|trap|rollout_halted|certificate|value)$")]
    pub(crate) condition: String,
    /// Length of time in milliseconds, from 1,000 to 7,776,000,000 (90 days): of `offline`, `no_data`, `queue_age` (time on
    /// the device) and `certificate` (time before its end).
    #[schema(value_type = Option<i64>)]
    pub(crate) after_ms: Option<UnixMs>,
    /// Filter of the condition `value`.
    pub(crate) filter: Option<FilterBody>,
    /// Filter that clears an alert of `value`; without it an alert clears after ten quiet minutes.
    pub(crate) clear: Option<FilterBody>,
    /// Id of the device to watch.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) device: Option<DeviceId>,
    /// Id of the deployment group to watch.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) deployment_group: Option<GroupId>,
    /// Addresses that get a mail: ten at most, each one that the operator of the cloud allows.
    #[serde(default)]
    pub(crate) mails: Vec<String>,
}

/// Time until which a rule or an alert is mute.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MuteSettings)]
pub(crate) struct MuteBody {
    /// Time in Unix milliseconds: within 366 days.
    #[schema(value_type = i64)]
    pub(crate) until: UnixMs,
}

/// Alert.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = Alert)]
pub struct AlertDto {
    /// Id of the alert.
    #[schema(value_type = String, format = "uuid")]
    pub id: AlertId,
    /// `raised` or `cleared`.
    #[schema(value_type = String)]
    pub state: Cow<'static, str>,
    /// Id of the rule that raised it; the rule may be gone.
    #[schema(value_type = String, format = "uuid")]
    pub rule: AlertRuleId,
    /// Name of the rule.
    pub name: String,
    /// Condition of the rule.
    pub condition: String,
    /// Device of the alert; null for alerts about a group or the cloud.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub device: Option<DeviceId>,
    /// Deployment group of the alert; null unless it is about a rollout.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub deployment_group: Option<GroupId>,
    /// Description, for people.
    pub detail: String,
    /// Time at which it was raised.
    pub raised: Date,
    /// Time at which its condition was seen last, of conditions about single messages.
    pub seen: Date,
    /// Time at which it was cleared; null while it is raised.
    pub cleared: Option<Date>,
    /// Time until which its end makes no entry; null while it is not mute.
    pub muted_until: Option<Date>,
}

impl AlertDto {
    pub(crate) fn new(alert: Alert, now: UnixMs) -> Self {
        let (device, group) = match alert.subject {
            AlertSubject::Device(device) => (Some(device), None),
            AlertSubject::Group(group) => (None, Some(group)),
            AlertSubject::Project => (None, None),
        };
        Self {
            id: alert.id,
            state: if alert.cleared.is_some() {
                "cleared"
            } else {
                "raised"
            }
            .into(),
            rule: alert.rule,
            name: alert.rule_name,
            condition: alert.condition,
            device,
            deployment_group: group,
            detail: alert.detail,
            raised: alert.raised.into(),
            seen: alert.seen.into(),
            cleared: alert.cleared.map(Into::into),
            muted_until: alert.muted_until.filter(|until| now < *until).map(Into::into),
        }
    }
}

/// Alerts of a project.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct AlertList {
    /// Alerts, the newest raise first.
    pub alerts: Vec<AlertDto>,
    /// Number of all raised alerts of the project.
    pub raised: u64,
    /// Number of raised alerts from which on no other one about a device is raised.
    pub max_raised: u64,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Alert.
#[derive(Serialize, ToSchema)]
pub(crate) struct OneAlert {
    /// The alert.
    pub(crate) alert: AlertDto,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}
