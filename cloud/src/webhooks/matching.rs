//! Which messages go to which hooks, decided when they are stored: a later change of a hook is about later messages.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use iottly_protocol::ProjectId;

use crate::history;
use crate::model::{HookKey, HookKind, StoredMessage, Webhook};
use iottly_filter::{Filter, FilterError};

/// Projects whose hooks are remembered; beyond, all are forgotten and read again.
const MAX_PROJECTS: usize = 10_000;

/// A hook, ready to be asked about messages.
#[derive(Debug)]
pub struct Matcher {
    /// The hook.
    pub key: HookKey,
    /// Whether it sends; otherwise what matches is recorded as skipped.
    pub enabled: bool,
    /// Why it does not.
    pub reason: String,
    kind: HookKind,
    channel: Option<String>,
    filter: Option<Filter>,
}

impl Matcher {
    /// Compiles a hook.
    ///
    /// # Errors
    /// When its filter is none.
    pub fn new(hook: &Webhook) -> Result<Self, FilterError> {
        Ok(Self {
            key: hook.key,
            enabled: hook.enabled,
            reason: hook.reason.clone(),
            kind: hook.kind,
            channel: hook.channel.clone(),
            filter: hook.filter.as_deref().map(history::filter).transpose()?,
        })
    }
}

/// The hooks of a project, by id.
#[derive(Debug, Default)]
pub struct Matchers(Vec<Matcher>);

impl Matchers {
    /// These hooks.
    #[must_use]
    pub fn new(mut hooks: Vec<Matcher>) -> Self {
        hooks.sort_by_key(|hook| hook.key);
        Self(hooks)
    }

    /// For each hook the messages that are for it, in their order; hooks without any are left out.
    #[must_use]
    pub fn split<'a>(&self, messages: &[&'a StoredMessage]) -> Vec<(&Matcher, Vec<&'a StoredMessage>)> {
        let mut found: Vec<_> = self.0.iter().map(|hook| (hook, Vec::new())).collect();
        for message in messages {
            let mut document = None;
            for (hook, matching) in &mut found {
                let fits = hook.key.project == message.scope.project
                    && hook.kind.takes(message.kind)
                    && hook.channel.as_ref().is_none_or(|channel| message.channel.as_ref() == Some(channel))
                    && hook
                        .filter
                        .as_ref()
                        .is_none_or(|filter| filter.matches(document.get_or_insert_with(|| history::document(message))));
                if fits {
                    matching.push(*message);
                }
            }
        }
        found.retain(|(_, matching)| !matching.is_empty());
        found
    }
}

/// The compiled hooks of projects, each with the number of changes that it has seen.
#[derive(Debug, Default)]
pub struct MatcherCache(Mutex<HashMap<ProjectId, (i64, Arc<Matchers>)>>);

impl MatcherCache {
    /// The hooks of a project, if they are remembered as they are now.
    pub fn get(&self, project: ProjectId, version: i64) -> Option<Arc<Matchers>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&project).filter(|(seen, _)| *seen == version).map(|(_, hooks)| Arc::clone(hooks))
    }

    /// Remembers a project's hooks.
    pub fn put(&self, project: ProjectId, version: i64, hooks: Matchers) -> Arc<Matchers> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_PROJECTS {
            known.clear();
        }
        let hooks = Arc::new(hooks);
        known.insert(project, (version, Arc::clone(&hooks)));
        hooks
    }
}

#[cfg(test)]
mod tests {
    use iottly_protocol::{DeviceId, MessageKind};
    use serde_json::value::RawValue;

    use super::*;
    use crate::model::{MessageId, Scope, WebhookId};
    use crate::seal::Sealed;

    const PROJECT: ProjectId = ProjectId::from_bytes([1; 12]);

    fn message(n: u8, kind: MessageKind, channel: Option<&str>, payload: &str) -> StoredMessage {
        StoredMessage {
            id: MessageId([n; 12]),
            scope: Scope { project: PROJECT, device: DeviceId::from_bytes([1; 16]) },
            kind,
            timestamp: 0,
            device_timestamp: 0,
            channel: channel.map(str::to_owned),
            payload: RawValue::from_string(payload.to_owned()).expect("JSON"),
            origin: None,
        }
    }

    fn matcher(change: impl FnOnce(&mut Webhook)) -> Matcher {
        let mut hook = Webhook {
            key: HookKey { project: PROJECT, hook: WebhookId::random() },
            description: String::new(),
            url: String::new(),
            kind: HookKind::All,
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
        Matcher::new(&hook).expect("compiles")
    }

    fn taken(matcher: Matcher) -> Vec<u8> {
        let messages = [
            message(1, MessageKind::UserDefined, None, r#"{"t":21.5}"#),
            message(2, MessageKind::IottlyAgent, None, r#"{"connectionstatus":"connected"}"#),
            message(3, MessageKind::UserDefined, Some("north"), r#"{"t":30}"#),
        ];
        let messages: Vec<_> = messages.iter().collect();
        let hooks = Matchers::new(vec![matcher]);
        hooks.split(&messages).into_iter().flat_map(|(_, found)| found).map(|message| message.id.0[0]).collect()
    }

    #[test]
    fn type_channel_and_filter_all_have_to_fit() {
        assert_eq!(taken(matcher(|_| {})), [1, 2, 3]);
        assert_eq!(taken(matcher(|hook| hook.kind = HookKind::User)), [1, 3]);
        assert_eq!(taken(matcher(|hook| hook.kind = HookKind::Iottly)), [2]);
        assert_eq!(taken(matcher(|hook| hook.channel = Some("north".into()))), [3]);
        assert_eq!(taken(matcher(|hook| hook.filter = Some(r#"{"t":{"$gt":25}}"#.into()))), [3]);
        assert_eq!(taken(matcher(|hook| hook.filter = Some(r#"{"connectionstatus":"connected"}"#.into()))), [2]);
        assert_eq!(taken(matcher(|hook| hook.key.project = ProjectId::from_bytes([2; 12]))), [0; 0]);
    }

    #[test]
    fn what_is_remembered_counts_while_its_version_does() {
        let cache = MatcherCache::default();
        assert!(cache.get(PROJECT, 1).is_none());
        cache.put(PROJECT, 1, Matchers::default());
        assert!(cache.get(PROJECT, 1).is_some() && cache.get(PROJECT, 2).is_none());
    }
}
