//! State machine of alerts: events and the time in, raises and clears out.

use std::collections::{HashMap, HashSet};

use iottly_protocol::{DeviceId, GroupId};

use super::Uptime;
use crate::model::{
    Absence, AlertId, AlertRule, AlertRuleId, AlertSubject, AlertTarget, Condition, MAX_OPEN_ALERTS,
    MAX_OTHER_ALERTS, UnixMs,
};

/// Time after which an alert about single messages clears when none of them was seen again, in milliseconds.
pub const QUIET_MS: UnixMs = 10 * 60 * 1000;

/// Facts about a device that conditions over time are decided from.
#[derive(Debug, Clone)]
pub struct DeviceFacts {
    /// The device.
    pub device: DeviceId,
    /// Group of the device.
    pub group: GroupId,
    /// True while the device is connected.
    pub online: bool,
    /// Time of the last change of `online`; none before the first connection.
    pub changed: Option<UnixMs>,
    /// Planned absence.
    pub absence: Option<Absence>,
    /// Time of the last message of its firmware; none if it never sent one.
    pub sent: Option<UnixMs>,
    /// True if the device was connected before a restart of the cloud and still has time to return: nothing that it does not
    /// do by then raises an alert.
    pub expected: bool,
}

/// Raised alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raised {
    /// Id of the alert.
    pub id: AlertId,
    /// Rule that raised it.
    pub rule: AlertRuleId,
    /// Subject of the alert.
    pub subject: AlertSubject,
    /// Time at which its condition was seen last.
    pub seen: UnixMs,
}

/// Rules of a project and its raised alerts.
#[derive(Debug)]
pub struct Known<'a> {
    /// The rules.
    pub rules: &'a [AlertRule],
    /// The raised alerts.
    pub raised: &'a [Raised],
    /// Times in which the cloud was there.
    pub uptime: &'a Uptime,
}

/// Event that affects alerts.
#[derive(Debug)]
pub enum Event<'a> {
    /// All devices of the project, as they are now.
    Devices(&'a [DeviceFacts]),
    /// Groups whose rollout has halted itself.
    Halted(&'a [GroupId]),
    /// End of the validity of the cloud's certificate.
    Certificate(UnixMs),
    /// Time has passed.
    Tick,
}

/// Effect to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Raise an alert, unless the rule has one for this subject; then note that its condition was seen again.
    Raise {
        /// Rule of the alert.
        rule: AlertRuleId,
        /// Subject of the alert.
        subject: AlertSubject,
        /// Description, for people.
        detail: String,
    },
    /// Clear a raised alert.
    Clear {
        /// Rule of the alert.
        rule: AlertRuleId,
        /// Subject of the alert.
        subject: AlertSubject,
    },
}

impl Effect {
    fn is_of_device(&self) -> bool {
        let (Self::Raise { subject, .. } | Self::Clear { subject, .. }) = self;
        matches!(subject, AlertSubject::Device(_))
    }
}

impl Known<'_> {
    /// Returns the effects of an event.
    #[must_use]
    pub fn handle(&self, event: &Event<'_>, now: UnixMs) -> Vec<Effect> {
        match event {
            Event::Devices(devices) => self.devices(devices, now),
            Event::Halted(groups) => self.halted(groups),
            Event::Certificate(end) => self.certificate(*end, now),
            Event::Tick => self.quiet(now),
        }
    }

    /// Raises what is new, and clears what does not hold any more, of the rules that a condition selects.
    fn settle(
        &self,
        concerned: impl Fn(&Condition) -> bool,
        holds: Vec<(&AlertRule, AlertSubject, String)>,
    ) -> Vec<Effect> {
        let raised: HashSet<_> = self.raised.iter().map(|open| (open.rule, open.subject)).collect();
        let now: HashSet<_> = holds
            .iter()
            .map(|(rule, subject, _)| (rule.id, *subject))
            .collect();
        let rules: HashSet<_> = self
            .rules
            .iter()
            .filter(|rule| concerned(&rule.condition))
            .map(|rule| rule.id)
            .collect();
        let clears = self
            .raised
            .iter()
            .filter(|open| rules.contains(&open.rule) && !now.contains(&(open.rule, open.subject)))
            .map(|open| Effect::Clear {
                rule: open.rule,
                subject: open.subject,
            });
        let raises = holds
            .into_iter()
            .filter(|(rule, subject, _)| !raised.contains(&(rule.id, *subject)))
            .map(|(rule, subject, detail)| Effect::Raise {
                rule: rule.id,
                subject,
                detail,
            });
        clears.collect::<Vec<_>>().into_iter().chain(raises).collect()
    }

    fn is_raised(&self, rule: AlertRuleId, subject: AlertSubject) -> bool {
        let mut raised = self.raised.iter();
        raised.any(|open| (open.rule, open.subject) == (rule, subject))
    }

    fn devices(&self, devices: &[DeviceFacts], now: UnixMs) -> Vec<Effect> {
        let over_time =
            |condition: &Condition| matches!(condition, Condition::Offline(_) | Condition::NoData(_));
        let mut holds = Vec::new();
        for rule in self.rules.iter().filter(|rule| over_time(&rule.condition)) {
            for device in devices.iter().filter(|device| targets(rule.target, device)) {
                if device.absence.as_ref().is_some_and(|absence| absence.covers(now)) && !device.online {
                    continue;
                }
                let subject = AlertSubject::Device(device.device);
                if device.expected {
                    // What is raised stays until it is known how the device is.
                    if self.is_raised(rule.id, subject) {
                        holds.push((rule, subject, String::new()));
                    }
                } else if let Some(detail) =
                    lasting(&rule.condition, device, |from| self.uptime.since(from, now))
                {
                    holds.push((rule, subject, detail));
                }
            }
        }
        let mut effects = self.settle(over_time, holds);
        // An alert of a device that is gone, or has left the target, has no subject any more.
        let known: HashMap<_, _> = devices.iter().map(|device| (device.device, device)).collect();
        let targets_of: HashMap<_, _> = self
            .rules
            .iter()
            .filter(|rule| rule.condition.is_of_messages())
            .map(|rule| (rule.id, rule.target))
            .collect();
        effects.extend(self.raised.iter().filter_map(|open| {
            let AlertSubject::Device(device) = open.subject else {
                return None;
            };
            let target = targets_of.get(&open.rule)?;
            let stays = known.get(&device).is_some_and(|device| targets(*target, device));
            (!stays).then_some(Effect::Clear {
                rule: open.rule,
                subject: open.subject,
            })
        }));
        effects
    }

    fn halted(&self, groups: &[GroupId]) -> Vec<Effect> {
        let concerned = |condition: &Condition| matches!(condition, Condition::RolloutHalted);
        let mut holds = Vec::new();
        for rule in self.rules.iter().filter(|rule| concerned(&rule.condition)) {
            for group in groups {
                let watched = match rule.target {
                    AlertTarget::Project => true,
                    AlertTarget::Group(wanted) => wanted == *group,
                    AlertTarget::Device(_) => false,
                };
                if watched {
                    let detail = "the rollout of the group has halted itself".to_owned();
                    holds.push((rule, AlertSubject::Group(*group), detail));
                }
            }
        }
        self.settle(concerned, holds)
    }

    fn certificate(&self, end: UnixMs, now: UnixMs) -> Vec<Effect> {
        let concerned = |condition: &Condition| matches!(condition, Condition::Certificate(_));
        let holds = self.rules.iter().filter_map(|rule| match rule.condition {
            Condition::Certificate(before) => {
                if end.saturating_sub(now) >= before {
                    return None;
                }
                let detail = if end <= now {
                    "the cloud's certificate has ended".to_owned()
                } else {
                    format!("the cloud's certificate ends in {}", length(end - now))
                };
                Some((rule, AlertSubject::Project, detail))
            }
            Condition::Offline(_)
            | Condition::NoData(_)
            | Condition::Gap
            | Condition::QueueAge(_)
            | Condition::Trap
            | Condition::RolloutHalted
            | Condition::Value { .. } => None,
        });
        self.settle(concerned, holds.collect())
    }

    fn quiet(&self, now: UnixMs) -> Vec<Effect> {
        let of_messages: HashSet<_> = self
            .rules
            .iter()
            .filter(|rule| match &rule.condition {
                Condition::Value { clear, .. } => clear.is_none(),
                Condition::Offline(_)
                | Condition::NoData(_)
                | Condition::RolloutHalted
                | Condition::Certificate(_) => false,
                Condition::Gap | Condition::QueueAge(_) | Condition::Trap => true,
            })
            .map(|rule| rule.id)
            .collect();
        self.raised
            .iter()
            .filter(|open| of_messages.contains(&open.rule) && self.uptime.since(open.seen, now) >= QUIET_MS)
            .map(|open| Effect::Clear {
                rule: open.rule,
                subject: open.subject,
            })
            .collect()
    }
}

/// Returns effects in the order in which they are carried out: what clears makes room, alerts about the cloud and groups go
/// before those about devices. Raises for which a project with `open` raised alerts has no room are left out, and their
/// number is returned.
#[must_use]
pub fn in_order(effects: Vec<Effect>, open: usize) -> (Vec<Effect>, usize) {
    let (mut ordered, raises): (Vec<_>, Vec<_>) = effects
        .into_iter()
        .partition(|effect| matches!(effect, Effect::Clear { .. }));
    let (devices, others): (Vec<_>, Vec<_>) = raises.into_iter().partition(Effect::is_of_device);
    let (count, mut open) = (devices.len() + others.len(), open.saturating_sub(ordered.len()));
    let clears = ordered.len();
    for (raises, most) in [
        (others, MAX_OPEN_ALERTS + MAX_OTHER_ALERTS),
        (devices, MAX_OPEN_ALERTS),
    ] {
        let room = usize::try_from(most).unwrap_or(0).saturating_sub(open);
        let before = ordered.len();
        ordered.extend(raises.into_iter().take(room));
        open += ordered.len() - before;
    }
    let refused = count - (ordered.len() - clears);
    (ordered, refused)
}

fn targets(target: AlertTarget, device: &DeviceFacts) -> bool {
    match target {
        AlertTarget::Project => true,
        AlertTarget::Group(group) => device.group == group,
        AlertTarget::Device(wanted) => device.device == wanted,
    }
}

/// Returns the description of a condition over time if it holds; `since` returns the length of the time since another one.
fn lasting(condition: &Condition, device: &DeviceFacts, since: impl Fn(UnixMs) -> UnixMs) -> Option<String> {
    match *condition {
        Condition::Offline(_) if device.online => None,
        Condition::Offline(after) => {
            let lasts = since(device.changed?);
            (lasts >= after).then(|| format!("offline for longer than {}", length(after)))
        }
        Condition::NoData(after) => {
            let lasts = since(device.sent?);
            (lasts >= after).then(|| format!("no message for longer than {}", length(after)))
        }
        Condition::Gap
        | Condition::QueueAge(_)
        | Condition::Trap
        | Condition::RolloutHalted
        | Condition::Certificate(_)
        | Condition::Value { .. } => None,
    }
}

/// Returns a length of time in the largest unit that does not lose much.
fn length(ms: UnixMs) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
