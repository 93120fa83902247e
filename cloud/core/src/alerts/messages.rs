//! Rules about single messages: finds what a message means for them, as it is stored.

use std::collections::{BTreeSet, HashMap};

use iottly_filter::{Budget, Filter};
use iottly_protocol::{DeviceId, MessageKind};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Effect;
use crate::history::{self, Sender};
use crate::model::{AlertRule, AlertRuleId, AlertSubject, AlertTarget, Condition, StoredMessage, UnixMs};
use iottly_protocol::limits::clip;

/// Maximum number of steps of the filters of a project's rules for the messages of a transaction; beyond it, the rest is
/// not looked at by rules about values.
const STEPS: u64 = 200_000;
/// Maximum length of a description, in bytes.
const DETAIL_BYTES: usize = 256;

/// Rules of a project about single messages, compiled.
#[derive(Debug, Default)]
pub struct RuleSet(Vec<Compiled>);

/// Devices of messages, as far as rules ask for them.
pub type Senders = HashMap<DeviceId, Sender>;

#[derive(Debug)]
struct Compiled {
    id: AlertRuleId,
    target: AlertTarget,
    watch: Watch,
}

#[derive(Debug)]
enum Watch {
    Gap,
    Trap,
    QueueAge(UnixMs),
    Value {
        raise: Box<Filter>,
        clear: Option<Box<Filter>>,
    },
}

/// Meaning of a message for a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurrence {
    /// The rule.
    pub rule: AlertRuleId,
    /// Part of the project that the rule watches; the caller knows the device's group.
    pub target: AlertTarget,
    /// Description of the condition that holds; none when it does not any more.
    pub detail: Option<String>,
}

impl Occurrence {
    pub(super) fn effect(&self, device: DeviceId) -> Effect {
        let (rule, subject) = (self.rule, AlertSubject::Device(device));
        match &self.detail {
            Some(detail) => Effect::Raise {
                rule,
                subject,
                detail: detail.clone(),
            },
            None => Effect::Clear { rule, subject },
        }
    }
}

/// Entry of a history that the agent or the cloud made.
#[derive(Deserialize)]
struct AgentEntry<'a> {
    #[serde(borrow)]
    gap: Option<&'a RawValue>,
    process: Option<Process>,
}

#[derive(Deserialize)]
struct Process {
    status: Option<Status>,
    function: Option<String>,
    description: Option<String>,
}

#[derive(Deserialize)]
struct Status {
    error: Option<String>,
}

impl Compiled {
    /// Returns false if the rule is about another device.
    fn concerns(&self, device: DeviceId) -> bool {
        !matches!(self.target, AlertTarget::Device(own) if own != device)
    }
}

impl RuleSet {
    /// Compiles the rules that are about single messages. A filter that is not valid any more matches nothing.
    #[must_use]
    pub fn new(rules: &[AlertRule]) -> Self {
        let compiled = rules.iter().filter_map(|rule| {
            let watch = match &rule.condition {
                Condition::Gap => Watch::Gap,
                Condition::Trap => Watch::Trap,
                Condition::QueueAge(after) => Watch::QueueAge(*after),
                Condition::Value { filter, clear } => Watch::Value {
                    raise: Box::new(history::filter(filter).ok()?),
                    clear: match clear {
                        Some(clear) => Some(Box::new(history::filter(clear).ok()?)),
                        None => None,
                    },
                },
                Condition::Offline(_)
                | Condition::NoData(_)
                | Condition::RolloutHalted
                | Condition::Certificate(_) => return None,
            };
            Some(Compiled {
                id: rule.id,
                target: rule.target,
                watch,
            })
        });
        Self(compiled.collect())
    }

    /// Returns true if no rule is about single messages.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the steps that the messages of a transaction may use.
    #[must_use]
    pub fn budget() -> u64 {
        STEPS
    }

    /// Returns the devices of those messages for which a rule asks for the name, group or tags of the device.
    #[must_use]
    pub fn senders_of(&self, messages: &[&StoredMessage]) -> BTreeSet<DeviceId> {
        let asks = |rule: &&Compiled| match &rule.watch {
            Watch::Value { raise, clear } => [Some(raise), clear.as_ref()]
                .into_iter()
                .flatten()
                .any(|filter| history::asks_for_sender(filter)),
            Watch::Gap | Watch::Trap | Watch::QueueAge(_) => false,
        };
        let asking: Vec<_> = self.0.iter().filter(asks).collect();
        let asked = messages.iter().filter(|message| {
            message.kind == MessageKind::UserDefined
                && asking.iter().any(|rule| rule.concerns(message.scope.device))
        });
        asked.map(|message| message.scope.device).collect()
    }

    /// Returns what a message means for the rules. `senders` has the devices that rules [ask for](Self::senders_of);
    /// `steps` are those that are left for filters.
    #[must_use]
    pub fn occurrences(
        &self,
        message: &StoredMessage,
        senders: &Senders,
        steps: &mut u64,
    ) -> Vec<Occurrence> {
        let agent = (message.kind == MessageKind::IottlyAgent)
            .then(|| serde_json::from_str::<AgentEntry<'_>>(message.payload.get()).ok())
            .flatten();
        let mut document = None;
        let mut found = Vec::new();
        for rule in &self.0 {
            if !rule.concerns(message.scope.device) {
                continue;
            }
            let detail = match (&rule.watch, &agent, message.kind) {
                (Watch::Gap, Some(entry), _) if message.origin.is_none() && entry.gap.is_some() => {
                    let gap = entry.gap.map_or("", RawValue::get);
                    Some(clip(&format!("records were lost: {gap}"), DETAIL_BYTES).to_owned())
                }
                (Watch::Trap, Some(entry), _) if message.origin.is_some() => {
                    match entry.process.as_ref().and_then(trap) {
                        Some(detail) => Some(detail),
                        None => continue,
                    }
                }
                (Watch::QueueAge(after), _, MessageKind::UserDefined) => {
                    let waited = message.timestamp.saturating_sub(message.device_timestamp);
                    (waited > *after)
                        .then(|| format!("a message waited for {} s on the device", waited / 1000))
                }
                (Watch::Value { raise, clear }, _, MessageKind::UserDefined) => {
                    let bytes = message.payload.get().len() as u64;
                    if *steps < bytes {
                        continue;
                    }
                    let document = document.get_or_insert_with(|| {
                        *steps -= bytes;
                        history::document(message, senders.get(&message.scope.device))
                    });
                    let mut budget = Budget::steps(*steps);
                    let raised = raise.matches(document, &mut budget);
                    let cleared = clear.as_ref().map(|clear| clear.matches(document, &mut budget));
                    *steps = budget.left();
                    match (raised, cleared) {
                        (Ok(true), _) => {
                            let text = format!("a message matches: {}", message.payload.get());
                            Some(clip(&text, DETAIL_BYTES).to_owned())
                        }
                        (Ok(false), Some(Ok(true))) => None,
                        _ => continue,
                    }
                }
                _ => continue,
            };
            found.push(Occurrence {
                rule: rule.id,
                target: rule.target,
                detail,
            });
        }
        found
    }
}

fn trap(process: &Process) -> Option<String> {
    let error = process.status.as_ref()?.error.as_ref()?;
    let function = process.function.as_deref().unwrap_or("firmware");
    let text = format!(
        "{function}: {error}: {}",
        process.description.as_deref().unwrap_or_default()
    );
    Some(clip(&text, DETAIL_BYTES).to_owned())
}
