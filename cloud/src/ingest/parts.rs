//! Which parts of pages a write of the ingest has changed.

use iottly_core::ingest::Outcome;
use iottly_protocol::MessageKind;

use crate::live::{LiveHub, Parts};
use iottly_core::model::Scope;

/// Notifies pages of what the writes of some devices have changed.
pub(super) fn tell(live: &LiveHub, scopes: &[Scope], outcomes: &[Option<Outcome>]) {
    for (scope, outcome) in scopes.iter().zip(outcomes) {
        let parts = outcome.as_ref().map(changed).unwrap_or_default();
        live.changed(scope.project, Some(scope.device), parts);
    }
}

/// Returns the parts of pages that a write has changed.
fn changed(outcome: &Outcome) -> Parts {
    let mut parts = Parts::default();
    if !outcome.results.is_empty() {
        parts = parts | Parts::COMMAND;
    }
    // Reports of the agent, among them those about its firmware.
    let reports = || {
        let stored = outcome.stored.iter();
        stored.filter(|message| message.kind == MessageKind::IottlyAgent)
    };
    if reports().next().is_some() {
        parts = parts | Parts::DEVICE;
    }
    let is_failure = |text: &str| text.contains("\"process\"") && text.contains("\"error\"");
    if reports().any(|message| is_failure(message.payload.get())) {
        parts = parts | Parts::CRASH;
    }
    if outcome.updated {
        parts = parts | Parts::GROUP | Parts::DEVICE;
    }
    parts
}
