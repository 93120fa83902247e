//! Decides which webhooks get a message, at the time when it is stored: a later change of a webhook applies
//! to later messages only. Pure.

use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use iottly_protocol::{DeviceId, ProjectId};

use crate::history::{self, Sender};
use crate::model::{StoredMessage, Webhook, WebhookKey, WebhookKind};
use iottly_filter::{Budget, Document, Filter, Undecided};

/// Maximum number of projects whose webhooks are cached; beyond it, the cache is cleared.
const MAX_PROJECTS: usize = 10_000;
/// Maximum number of regular expressions in cached webhooks; beyond it, the cache is cleared. Each takes up
/// to 384 KiB, most take a few.
const MAX_PATTERNS: usize = 500;
/// Maximum number of steps of the filters of all projects in a transaction; about thirty milliseconds.
pub const STORING_STEPS_OF_ALL: u64 = 5_000_000;
/// Maximum number of steps of a project's filters while its messages are stored; about three milliseconds.
/// Messages that are not decided by then are decided before they are sent.
const STORING_STEPS: u64 = 500_000;
/// Part of these steps that a filter may use for a message.
const STORING_STEPS_EACH: u64 = 100_000;

/// Compiled webhook.
#[derive(Debug)]
pub struct Matcher {
    /// Key of the webhook.
    pub key: WebhookKey,
    /// True if the webhook is enabled; otherwise matching messages are recorded as skipped.
    pub enabled: bool,
    /// Reason for which the webhook is disabled.
    pub reason: String,
    /// True if the filter asks for the name, group or tags of the device.
    pub asks_for_sender: bool,
    kind: WebhookKind,
    channel: Option<String>,
    rule: Rule,
}

#[derive(Debug)]
enum Rule {
    /// All messages match.
    All,
    /// Messages that match the filter.
    Filter(Filter),
    /// Undecidable, because the filter's text is not valid any more.
    Unusable(String),
}

/// Reason for which it is not known whether a message matches a webhook.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatchError {
    /// The evaluation was stopped.
    #[error(transparent)]
    Filter(#[from] Undecided),
    /// The filter was valid when it was set, but is not any more.
    #[error("filter is not valid any more: {0}")]
    Unusable(String),
    /// The evaluation panicked.
    #[error("evaluation of the filter failed")]
    Broken,
}

impl Matcher {
    /// Compiles a webhook. If its filter is not valid any more, its messages stay undecided.
    #[must_use]
    pub fn new(hook: &Webhook) -> Self {
        let rule = match hook.filter.as_deref().map(history::filter).transpose() {
            Ok(None) => Rule::All,
            Ok(Some(filter)) => Rule::Filter(filter),
            Err(error) => Rule::Unusable(error.to_string()),
        };
        Self {
            key: hook.key,
            enabled: hook.enabled,
            reason: hook.reason.clone(),
            asks_for_sender: matches!(&rule, Rule::Filter(filter) if history::asks_for_sender(filter)),
            kind: hook.kind,
            channel: hook.channel.clone(),
            rule,
        }
    }

    /// Returns true if a message has the type and the channel of the webhook.
    fn concerns(&self, message: &StoredMessage) -> bool {
        self.key.project == message.scope.project
            && self.kind.takes(message.kind)
            && self
                .channel
                .as_ref()
                .is_none_or(|channel| message.channel.as_ref() == Some(channel))
    }

    /// Returns true if a message matches the webhook. `sender` is read if the filter asks for it.
    ///
    /// # Errors
    /// When that cannot be decided within the budget, or at all.
    pub fn decide(
        &self,
        message: &StoredMessage,
        sender: Option<&Sender>,
        budget: &mut Budget<'_>,
    ) -> Result<bool, MatchError> {
        if !self.concerns(message) {
            return Ok(false);
        }
        match &self.rule {
            Rule::All => Ok(true),
            Rule::Unusable(reason) => Err(MatchError::Unusable(reason.clone())),
            Rule::Filter(filter) => {
                // A defect in the evaluation of a filter only affects its own webhook.
                let evaluation = catch_unwind(AssertUnwindSafe(|| {
                    filter.matches(&history::document(message, sender), budget)
                }));
                evaluation
                    .map_err(|_| MatchError::Broken)?
                    .map_err(MatchError::from)
            }
        }
    }

    /// Decides as [`decide`](Self::decide) does for a message that concerns the webhook, while the message is
    /// stored; `None` when that takes too much work.
    fn decide_now(
        &self,
        (message, sender): (&StoredMessage, Option<&Sender>),
        parsed: &mut Option<Document>,
        budget: &mut Budget<'_>,
    ) -> Option<bool> {
        let filter = match &self.rule {
            Rule::All => return Some(true),
            Rule::Unusable(_) => return None,
            Rule::Filter(filter) => filter,
        };
        let document = match parsed {
            Some(document) => document,
            None => {
                let bytes = message.payload.get().len() as u64;
                if bytes > budget.left() {
                    return None;
                }
                budget.charge(bytes);
                parsed.insert(history::document(message, sender))
            }
        };
        let granted = budget.left().min(STORING_STEPS_EACH);
        let mut each = Budget::steps(granted);
        let decided = catch_unwind(AssertUnwindSafe(|| filter.matches(document, &mut each)));
        budget.charge(granted - each.left());
        decided.ok()?.ok()
    }

    fn patterns(&self) -> usize {
        if let Rule::Filter(filter) = &self.rule {
            filter.patterns()
        } else {
            0
        }
    }
}

/// Messages of a webhook among those that are stored, in their order.
#[derive(Debug)]
pub struct Matched<'h, 'm> {
    /// The webhook.
    pub hook: &'h Matcher,
    /// Messages that match.
    pub matching: Vec<&'m StoredMessage>,
    /// Messages that are not decided yet.
    pub undecided: Vec<&'m StoredMessage>,
}

/// Webhooks of a project, by id.
#[derive(Debug, Default)]
pub struct Matchers(Vec<Matcher>);

impl Matchers {
    /// Creates the matchers of a project.
    #[must_use]
    pub fn new(mut hooks: Vec<Matcher>) -> Self {
        hooks.sort_by_key(|hook| hook.key);
        Self(hooks)
    }

    /// Returns the devices of those messages for which a filter asks for the name, group or tags of the device.
    #[must_use]
    pub fn senders_of(&self, messages: &[&StoredMessage]) -> BTreeSet<DeviceId> {
        let asking: Vec<_> = self.0.iter().filter(|hook| hook.asks_for_sender).collect();
        let asked = |message: &&&StoredMessage| asking.iter().any(|hook| hook.concerns(message));
        let asked = messages.iter().filter(asked);
        asked.map(|message| message.scope.device).collect()
    }

    /// Returns the matching and the undecided messages of each webhook; webhooks without any are left out.
    /// Takes a few milliseconds at most, because it is called inside the transaction that stores the messages
    /// of all tenants; `steps` is the remaining budget for all of them. `senders` has the devices that filters
    /// [ask for](Self::senders_of).
    #[must_use]
    pub fn split<'m>(
        &self,
        messages: &[&'m StoredMessage],
        senders: &HashMap<DeviceId, Sender>,
        steps: &mut u64,
    ) -> Vec<Matched<'_, 'm>> {
        let matched = |hook| Matched {
            hook,
            matching: Vec::new(),
            undecided: Vec::new(),
        };
        let mut found: Vec<_> = self.0.iter().map(matched).collect();
        let granted = STORING_STEPS.min(*steps);
        let mut budget = Budget::steps(granted);
        for message in messages {
            let mut parsed = None;
            for one in found.iter_mut().filter(|one| one.hook.concerns(message)) {
                let sender = senders.get(&message.scope.device);
                match one.hook.decide_now((message, sender), &mut parsed, &mut budget) {
                    Some(true) => one.matching.push(message),
                    Some(false) => {}
                    None => one.undecided.push(message),
                }
            }
        }
        *steps -= granted - budget.left();
        found.retain(|one| !one.matching.is_empty() || !one.undecided.is_empty());
        found
    }

    fn patterns(&self) -> usize {
        self.0.iter().map(Matcher::patterns).sum()
    }
}

/// Cache of the compiled webhooks of projects, each with the version of its webhooks.
#[derive(Debug, Default)]
pub struct MatcherCache(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    projects: HashMap<ProjectId, (i64, Arc<Matchers>)>,
    patterns: usize,
}

impl MatcherCache {
    /// Returns the webhooks of a project if they are cached in this version.
    pub fn get(&self, project: ProjectId, version: i64) -> Option<Arc<Matchers>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .projects
            .get(&project)
            .filter(|(seen, _)| *seen == version)
            .map(|(_, hooks)| Arc::clone(hooks))
    }

    /// Caches a project's webhooks.
    pub fn put(&self, project: ProjectId, version: i64, hooks: Matchers) -> Arc<Matchers> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, former)) = known.projects.remove(&project) {
            known.patterns -= former.patterns();
        }
        if known.projects.len() >= MAX_PROJECTS || known.patterns + hooks.patterns() > MAX_PATTERNS {
            *known = Known::default();
        }
        let hooks = Arc::new(hooks);
        known.patterns += hooks.patterns();
        known.projects.insert(project, (version, Arc::clone(&hooks)));
        hooks
    }
}

#[cfg(test)]
mod tests {
    use iottly_protocol::MessageKind;
    use serde_json::value::RawValue;

    use super::*;
    use crate::model::{MessageId, Scope, WebhookId};
    use crate::seal::Sealed;

    const PROJECT: ProjectId = ProjectId::from_bytes([1; 12]);

    fn message(n: u8, kind: MessageKind, channel: Option<&str>, payload: &str) -> StoredMessage {
        StoredMessage {
            id: MessageId([n; 12]),
            scope: Scope {
                project: PROJECT,
                device: DeviceId::from_bytes([1; 16]),
            },
            kind,
            timestamp: 0,
            device_timestamp: 0,
            channel: channel.map(str::to_owned),
            payload: RawValue::from_string(payload.to_owned()).expect("JSON"),
            origin: None,
            firmware: None,
        }
    }

    fn matcher(change: impl FnOnce(&mut Webhook)) -> Matcher {
        let mut hook = Webhook {
            key: WebhookKey {
                project: PROJECT,
                hook: WebhookId::random(),
            },
            description: String::new(),
            url: String::new(),
            kind: WebhookKind::All,
            channel: None,
            filter: None,
            payload_only: false,
            ordered: false,
            enabled: true,
            reason: String::new(),
            headers: Sealed(Vec::new()),
            secret: Sealed(Vec::new()),
            former: None,
            created: 0,
            changed: 0,
        };
        change(&mut hook);
        Matcher::new(&hook)
    }

    fn taken(matcher: Matcher) -> Vec<u8> {
        let messages = [
            message(1, MessageKind::UserDefined, None, r#"{"t":21.5}"#),
            message(
                2,
                MessageKind::IottlyAgent,
                None,
                r#"{"connectionstatus":"connected"}"#,
            ),
            message(3, MessageKind::UserDefined, Some("north"), r#"{"t":30}"#),
        ];
        let messages: Vec<_> = messages.iter().collect();
        let hooks = Matchers::new(vec![matcher]);
        hooks
            .split(&messages, &HashMap::new(), &mut { STORING_STEPS_OF_ALL })
            .into_iter()
            .flat_map(|one| one.matching)
            .map(|message| message.id.0[0])
            .collect()
    }

    #[test]
    fn what_is_too_much_work_for_the_moment_stays_undecided() {
        let long = format!(r#"{{"s":"{}"}}"#, "01".repeat(300_000));
        let messages = [
            message(1, MessageKind::UserDefined, None, &long),
            message(2, MessageKind::UserDefined, None, r#"{"s":"1x"}"#),
        ];
        let messages: Vec<_> = messages.iter().collect();
        let of = |filter: &str| matcher(|hook| hook.filter = Some(filter.into()));
        let hooks = Matchers::new(vec![
            of(r#"{"s":{"$regex":"1x"}}"#),
            of(r#"{"s":"0"}"#),
            of(r#"{"$where":"no filter any more"}"#),
            matcher(|_| {}),
        ]);
        let ids = |found: &[&StoredMessage]| found.iter().map(|message| message.id.0[0]).collect::<Vec<_>>();
        let mut found: Vec<_> = hooks
            .split(&messages, &HashMap::new(), &mut { STORING_STEPS_OF_ALL })
            .iter()
            .map(|one| (ids(&one.matching), ids(&one.undecided)))
            .collect();
        found.sort();
        assert_eq!(
            found,
            [
                (vec![], vec![1]),
                (vec![], vec![1, 2]),
                (vec![1, 2], vec![]),
                (vec![2], vec![1])
            ]
        );
        // Another project has used up the common budget; a webhook that needs no steps is decided all the
        // same.
        let rest: Vec<_> = hooks
            .split(&messages, &HashMap::new(), &mut 0)
            .iter()
            .map(|one| one.matching.len())
            .collect();
        assert_eq!(rest.iter().sum::<usize>(), 2);
    }

    #[test]
    fn an_expensive_filter_is_told_from_one_that_is_no_filter() {
        let message = message(
            1,
            MessageKind::UserDefined,
            None,
            &format!(r#"{{"s":"{}"}}"#, "01".repeat(10_000)),
        );
        let decide = |filter: &str, steps| {
            matcher(|hook| hook.filter = Some(filter.into())).decide(
                &message,
                None,
                &mut Budget::steps(steps),
            )
        };
        assert_eq!(decide(r#"{"s":{"$regex":"1x"}}"#, 1_000_000), Ok(false));
        let expensive = decide(r#"{"s":{"$regex":"1x"}}"#, 1000).expect_err("too few steps");
        assert_eq!(
            expensive.to_string(),
            "filter is too expensive for this document (at payload.s)"
        );
        assert!(matches!(
            decide(r#"{"$where":"1"}"#, 1000),
            Err(MatchError::Unusable(_))
        ));
    }

    #[test]
    fn type_channel_and_filter_all_have_to_fit() {
        assert_eq!(taken(matcher(|_| {})), [1, 2, 3]);
        assert_eq!(taken(matcher(|hook| hook.kind = WebhookKind::User)), [1, 3]);
        assert_eq!(taken(matcher(|hook| hook.kind = WebhookKind::Iottly)), [2]);
        assert_eq!(taken(matcher(|hook| hook.channel = Some("north".into()))), [3]);
        assert_eq!(
            taken(matcher(|hook| hook.filter = Some(r#"{"t":{"$gt":25}}"#.into()))),
            [3]
        );
        assert_eq!(
            taken(matcher(
                |hook| hook.filter = Some(r#"{"connectionstatus":"connected"}"#.into())
            )),
            [2]
        );
        assert_eq!(
            taken(matcher(|hook| hook.key.project = ProjectId::from_bytes([2; 12]))),
            [0; 0]
        );
    }

    #[test]
    fn what_is_remembered_counts_while_its_version_does() {
        let cache = MatcherCache::default();
        assert!(cache.get(PROJECT, 1).is_none());
        cache.put(PROJECT, 1, Matchers::default());
        assert!(cache.get(PROJECT, 1).is_some() && cache.get(PROJECT, 2).is_none());
    }
}
