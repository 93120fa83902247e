//! Rules that raise alerts, and the alerts.

use iottly_protocol::{DeviceId, GroupId, ProjectId};

use super::{AlertId, AlertRuleId, UnixMs};

/// Maximum number of rules of a project.
pub const MAX_ALERT_RULES: i64 = 100;
/// Maximum number of raised alerts of a project; while there are so many, none about a device is raised.
pub const MAX_OPEN_ALERTS: i64 = 1000;
/// Number of raised alerts beyond [`MAX_OPEN_ALERTS`] that are left for the cloud and for deployment groups, so that no
/// number of devices keeps an alert about them away.
pub const MAX_OTHER_ALERTS: i64 = 100;
/// Number of cleared alerts of a project that are kept, the newest.
pub const MAX_KEPT_ALERTS: i64 = 1000;
/// Shortest length of time in a condition, in milliseconds.
pub const SHORTEST_MS: UnixMs = 1000;
/// Longest length of time in a condition, in milliseconds: 90 days.
pub const LONGEST_MS: UnixMs = 90 * 24 * 60 * 60 * 1000;

/// Id under which entries about a project itself are stored; no device has it.
pub const NO_DEVICE: DeviceId = DeviceId::from_bytes([0; 16]);

/// Part of a project that a rule watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertTarget {
    /// All devices, and the project itself.
    Project,
    /// Devices of a deployment group.
    Group(GroupId),
    /// A single device.
    Device(DeviceId),
}

/// Condition of a rule. Lengths of time are in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The device is offline for longer than this, without a planned absence.
    Offline(UnixMs),
    /// The device's firmware has sent no message for longer than this.
    NoData(UnixMs),
    /// Records of the device were lost.
    Gap,
    /// A message of the device waited in its queue for longer than this.
    QueueAge(UnixMs),
    /// The device's firmware failed.
    Trap,
    /// A rollout has halted itself.
    RolloutHalted,
    /// The cloud's certificate ends in less than this.
    Certificate(UnixMs),
    /// A message of the device's firmware matches a filter; it clears with one that matches the other.
    Value {
        /// Filter that raises the alert: JSON of the filter language.
        filter: String,
        /// Filter that clears it; none to clear it after a quiet time.
        clear: Option<String>,
    },
}

/// Reason for which a condition is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// The name is unknown.
    #[error(
        "the condition is none of offline, no_data, gap, queue_age, trap, rollout_halted, certificate and value"
    )]
    Unknown,
    /// The length of time is missing, too short or too long.
    #[error("the condition needs a length of time, after_ms, from 1000 to 7776000000")]
    Length,
    /// The condition has no length of time.
    #[error("the condition has no length of time, after_ms")]
    NoLength,
    /// The filter is missing.
    #[error("the condition needs a filter")]
    Filter,
    /// The condition has no filter.
    #[error("only the condition value has a filter")]
    NoFilter,
}

impl Condition {
    /// Returns the condition of this name.
    ///
    /// # Errors
    /// If the name is unknown, or what belongs to it is missing or out of range.
    pub fn new(
        name: &str,
        after: Option<UnixMs>,
        filter: Option<String>,
        clear: Option<String>,
    ) -> Result<Self, ConditionError> {
        let length = || {
            after
                .filter(|after| (SHORTEST_MS..=LONGEST_MS).contains(after))
                .ok_or(ConditionError::Length)
        };
        let condition = match name {
            "offline" => Self::Offline(length()?),
            "no_data" => Self::NoData(length()?),
            "gap" => Self::Gap,
            "queue_age" => Self::QueueAge(length()?),
            "trap" => Self::Trap,
            "rollout_halted" => Self::RolloutHalted,
            "certificate" => Self::Certificate(length()?),
            "value" => {
                let filter = filter.clone().ok_or(ConditionError::Filter)?;
                let clear = clear.clone();
                Self::Value { filter, clear }
            }
            _ => return Err(ConditionError::Unknown),
        };
        if condition.after().is_none() && after.is_some() {
            return Err(ConditionError::NoLength);
        }
        if !matches!(condition, Self::Value { .. }) && (filter.is_some() || clear.is_some()) {
            return Err(ConditionError::NoFilter);
        }
        Ok(condition)
    }

    /// Returns the word in the API and in the database.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Offline(_) => "offline",
            Self::NoData(_) => "no_data",
            Self::Gap => "gap",
            Self::QueueAge(_) => "queue_age",
            Self::Trap => "trap",
            Self::RolloutHalted => "rollout_halted",
            Self::Certificate(_) => "certificate",
            Self::Value { .. } => "value",
        }
    }

    /// Returns the length of time, if the condition has one.
    #[must_use]
    pub const fn after(&self) -> Option<UnixMs> {
        match self {
            Self::Offline(after) | Self::NoData(after) | Self::QueueAge(after) | Self::Certificate(after) => {
                Some(*after)
            }
            Self::Gap | Self::Trap | Self::RolloutHalted | Self::Value { .. } => None,
        }
    }

    /// Returns true if the condition is about single messages, which are looked at as they are stored.
    #[must_use]
    pub const fn is_of_messages(&self) -> bool {
        matches!(
            self,
            Self::Gap | Self::QueueAge(_) | Self::Trap | Self::Value { .. }
        )
    }
}

/// Rule that raises alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertRule {
    /// Id of the rule.
    pub id: AlertRuleId,
    /// Project of the rule.
    pub project: ProjectId,
    /// Name, for people.
    pub name: String,
    /// Condition that raises an alert for each subject.
    pub condition: Condition,
    /// Part of the project that the rule watches.
    pub target: AlertTarget,
    /// Addresses that get a mail.
    pub mails: Vec<String>,
    /// Time until which alerts are raised without entries and mails.
    pub muted_until: Option<UnixMs>,
    /// Creation time.
    pub created: UnixMs,
    /// Number of messages that the filter was not applied to, because the filters of the project had used up the steps of
    /// the transaction. Kept by the store.
    pub unexamined: u64,
}

impl AlertSubject {
    /// Returns the number of raised alerts of a project from which on no other one about such a subject is raised.
    #[must_use]
    pub const fn max_open(&self) -> i64 {
        match self {
            Self::Device(_) => MAX_OPEN_ALERTS,
            Self::Group(_) | Self::Project => MAX_OPEN_ALERTS + MAX_OTHER_ALERTS,
        }
    }
}

impl AlertRule {
    /// Returns true if the rule is mute at `now`.
    #[must_use]
    pub fn is_mute(&self, now: UnixMs) -> bool {
        self.muted_until.is_some_and(|until| now < until)
    }
}

/// Subject of an alert: a rule has one raised alert for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AlertSubject {
    /// A device.
    Device(DeviceId),
    /// A deployment group, for its rollout.
    Group(GroupId),
    /// The project, for its cloud.
    Project,
}

/// Alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Id of the alert.
    pub id: AlertId,
    /// Project of the alert.
    pub project: ProjectId,
    /// Rule that raised it; it may be gone.
    pub rule: AlertRuleId,
    /// Name of the rule.
    pub rule_name: String,
    /// Word of the condition.
    pub condition: String,
    /// Subject of the alert.
    pub subject: AlertSubject,
    /// Description, for people.
    pub detail: String,
    /// Time at which it was raised.
    pub raised: UnixMs,
    /// Time at which its condition was seen last.
    pub seen: UnixMs,
    /// Time at which it was cleared; none while it is raised.
    pub cleared: Option<UnixMs>,
    /// Time until which its end makes no entry and no mail.
    pub muted_until: Option<UnixMs>,
}

/// Alerts to return.
#[derive(Debug, Clone, Copy, Default)]
pub struct AlertFilter {
    /// Only raised alerts, or only cleared ones; none for all.
    pub raised: Option<bool>,
    /// Only alerts of this device.
    pub device: Option<DeviceId>,
    /// Only alerts of this rule.
    pub rule: Option<AlertRuleId>,
    /// Only alerts behind this place in the list: raised before the time, or at it and with a smaller id.
    pub before: Option<(UnixMs, AlertId)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_has_what_belongs_to_it_and_nothing_else() {
        let new = |name, after| Condition::new(name, after, None, None);
        assert_eq!(new("offline", Some(60_000)), Ok(Condition::Offline(60_000)));
        assert_eq!(new("offline", None), Err(ConditionError::Length));
        assert_eq!(new("offline", Some(1)), Err(ConditionError::Length));
        assert_eq!(new("gap", Some(60_000)), Err(ConditionError::NoLength));
        assert_eq!(new("value", None), Err(ConditionError::Filter));
        assert_eq!(new("sunset", None), Err(ConditionError::Unknown));
        assert_eq!(
            Condition::new("gap", None, Some("{}".into()), None),
            Err(ConditionError::NoFilter)
        );
    }
}
