//! Rules about single messages: finds what a message means for them, as it is stored.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use iottly_filter::{Budget, Document, Filter};
use iottly_protocol::{DeviceId, MessageKind};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Effect;
use crate::history::{self, Sender};
use crate::model::{AlertRule, AlertRuleId, AlertSubject, AlertTarget, Condition, StoredMessage, UnixMs};
use iottly_protocol::limits::clip;

/// Maximum number of steps of the filters of a project's rules for the messages of a transaction; beyond it, rules about
/// values are not applied to the rest, which is counted.
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

/// Meaning of the messages of a transaction for the rules, by rule and device: the first raise and the last state. An alert
/// that is raised and cleared within the transaction is both.
#[derive(Debug, Default)]
pub struct Observations(BTreeMap<(AlertRuleId, DeviceId), Observation>);

/// Meaning of the messages of a device for a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Part of the project that the rule watches; the caller knows the device's group.
    pub target: AlertTarget,
    /// Description of the first message that raises the alert.
    pub raise: Option<String>,
    /// True if the last message that concerns the rule clears its alert.
    pub is_clear: bool,
    /// Number of messages that the rule was not applied to, because the steps of the transaction were used up.
    pub unexamined: u64,
}

impl Observation {
    /// Returns true if there is something to carry out or to count, given that the rule has or has not a raised alert of
    /// the device.
    #[must_use]
    pub fn matters(&self, is_raised: bool) -> bool {
        self.raise.is_some() || self.unexamined > 0 || (self.is_clear && is_raised)
    }
}

impl Observations {
    /// Returns true if no message concerned a rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the rules that messages concerned, in order.
    #[must_use]
    pub fn rules(&self) -> Vec<AlertRuleId> {
        let mut rules: Vec<_> = self.0.keys().map(|(rule, _)| *rule).collect();
        rules.dedup();
        rules
    }

    /// Returns the devices whose group decides, in order.
    #[must_use]
    pub fn devices_of_groups(&self) -> Vec<DeviceId> {
        let of_groups = self
            .0
            .iter()
            .filter(|(_, seen)| matches!(seen.target, AlertTarget::Group(_)));
        let mut devices: Vec<_> = of_groups.map(|((_, device), _)| *device).collect();
        devices.sort_unstable();
        devices.dedup();
        devices
    }

    /// Keeps the observations for which `stays` returns true.
    pub fn retain(&mut self, stays: impl Fn(AlertRuleId, DeviceId, &Observation) -> bool) {
        self.0.retain(|(rule, device), seen| stays(*rule, *device, seen));
    }

    /// Returns the number of messages that each rule was not applied to, of those that have any.
    #[must_use]
    pub fn unexamined(&self) -> BTreeMap<AlertRuleId, u64> {
        let mut sums = BTreeMap::new();
        for ((rule, _), seen) in self.0.iter().filter(|(_, seen)| seen.unexamined > 0) {
            *sums.entry(*rule).or_default() += seen.unexamined;
        }
        sums
    }

    /// Returns the effects, in the order in which they are carried out.
    #[must_use]
    pub fn effects(self) -> Vec<Effect> {
        let mut effects = Vec::new();
        for ((rule, device), seen) in self.0 {
            let subject = AlertSubject::Device(device);
            effects.extend(seen.raise.map(|detail| Effect::Raise {
                rule,
                subject,
                detail,
            }));
            if seen.is_clear {
                effects.push(Effect::Clear { rule, subject });
            }
        }
        effects
    }

    fn add(&mut self, rule: &Compiled, device: DeviceId, meaning: Meaning) {
        let seen = self.0.entry((rule.id, device)).or_insert_with(|| Observation {
            target: rule.target,
            raise: None,
            is_clear: false,
            unexamined: 0,
        });
        match meaning {
            Meaning::Raise(detail) => {
                seen.raise.get_or_insert(detail);
                seen.is_clear = false;
            }
            Meaning::Clear => seen.is_clear = true,
            Meaning::Unexamined => seen.unexamined += 1,
        }
    }
}

/// Meaning of a message for a rule.
enum Meaning {
    /// The condition holds, with the description.
    Raise(String),
    /// The condition does not hold any more.
    Clear,
    /// Unknown: the steps are used up.
    Unexamined,
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

    /// Adds what a message means for the rules. `senders` has the devices that rules [ask for](Self::senders_of); `steps` are
    /// those that are left for filters.
    pub fn observe(
        &self,
        message: &StoredMessage,
        senders: &Senders,
        steps: &mut u64,
        observations: &mut Observations,
    ) {
        let agent = (message.kind == MessageKind::IottlyAgent)
            .then(|| serde_json::from_str::<AgentEntry<'_>>(message.payload.get()).ok())
            .flatten();
        let mut document = None;
        for rule in &self.0 {
            if !rule.concerns(message.scope.device) {
                continue;
            }
            let meaning = match (&rule.watch, &agent, message.kind) {
                (Watch::Gap, Some(entry), _) if message.origin.is_none() => entry.gap.map(|gap| {
                    let text = format!("records were lost: {}", gap.get());
                    Meaning::Raise(clip(&text, DETAIL_BYTES).to_owned())
                }),
                (Watch::Trap, Some(entry), _) if message.origin.is_some() => {
                    entry.process.as_ref().and_then(trap).map(Meaning::Raise)
                }
                (Watch::QueueAge(after), _, MessageKind::UserDefined) => {
                    let waited = message.timestamp.saturating_sub(message.device_timestamp);
                    Some(if waited > *after {
                        Meaning::Raise(format!("a message waited for {} s on the device", waited / 1000))
                    } else {
                        Meaning::Clear
                    })
                }
                (Watch::Value { raise, clear }, _, MessageKind::UserDefined) => {
                    let from = (message, senders.get(&message.scope.device));
                    value((raise, clear.as_deref()), from, steps, &mut document)
                }
                _ => None,
            };
            if let Some(meaning) = meaning {
                observations.add(rule, message.scope.device, meaning);
            }
        }
    }
}

/// Returns the meaning of a message for a rule about values; `document` is made once for all rules.
fn value(
    (raise, clear): (&Filter, Option<&Filter>),
    (message, sender): (&StoredMessage, Option<&Sender>),
    steps: &mut u64,
    document: &mut Option<Document>,
) -> Option<Meaning> {
    let bytes = message.payload.get().len() as u64;
    if document.is_none() {
        let Some(left) = steps.checked_sub(bytes) else {
            return Some(Meaning::Unexamined);
        };
        *steps = left;
    }
    let document = document.get_or_insert_with(|| history::document(message, sender));
    let mut budget = Budget::steps(*steps);
    let raised = raise.matches(document, &mut budget);
    let cleared = match raised {
        Ok(false) => clear.map(|clear| clear.matches(document, &mut budget)),
        Ok(true) | Err(_) => None,
    };
    *steps = budget.left();
    match (raised, cleared) {
        (Ok(true), _) => {
            let text = format!("a message matches: {}", message.payload.get());
            Some(Meaning::Raise(clip(&text, DETAIL_BYTES).to_owned()))
        }
        (Err(_), _) | (_, Some(Err(_))) => Some(Meaning::Unexamined),
        (Ok(false), Some(Ok(true))) => Some(Meaning::Clear),
        (Ok(false), Some(Ok(false)) | None) => None,
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
