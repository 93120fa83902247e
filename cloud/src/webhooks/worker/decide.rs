//! Evaluates filters that were too expensive while their messages were stored, on a thread of their own,
//! before the messages are sent.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use iottly_protocol::{DeviceId, ProjectId};

use crate::fair_queue::{FairQueue, Turn};
use crate::history_reader::ENTRY_STEPS;
use iottly_core::history::Sender;
use iottly_core::model::Webhook;
use iottly_core::webhooks::Claim;
use iottly_core::webhooks::matching::{MatchError, Matcher};
use iottly_filter::Budget;
use iottly_store::WebhookStore;

/// Maximum time for which the filters of a claim are evaluated, well within a lease; the remaining deliveries
/// are given back.
const DECIDE_TIME: Duration = Duration::from_secs(10);

/// Claimed deliveries of a webhook, sorted by the result of the filter.
#[derive(Default)]
pub(super) struct Decided {
    /// Deliveries to send, in their order.
    pub(super) ready: Vec<Claim>,
    /// Deliveries whose messages do not match.
    pub(super) foreign: Vec<Claim>,
    /// Deliveries of which it cannot be decided whether they match.
    pub(super) undecidable: Vec<(Claim, MatchError)>,
    /// Deliveries to claim again: there was no time for them, or they have to wait for an earlier one.
    pub(super) back: Vec<Claim>,
}

impl Decided {
    /// Gives all deliveries back.
    pub(super) fn nothing(claims: Vec<Claim>) -> Self {
        Self {
            back: claims,
            ..Self::default()
        }
    }
}

/// Cancels an evaluation when its result is not awaited any more.
struct Cancel(Arc<AtomicBool>);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Evaluates the filter of `hook` for the deliveries that are still undecided. Name, group and tags of a device are those
/// of now.
pub(super) async fn decide(
    (turns, store): (FairQueue<ProjectId>, Arc<dyn WebhookStore>),
    hook: Arc<Webhook>,
    claims: Vec<Claim>,
) -> Decided {
    let Ok(turn) = turns.take(hook.key.project).await else {
        return Decided::nothing(claims);
    };
    let asking = hook.filter.as_deref().is_some_and(may_ask_for_sender);
    let undecided = claims.iter().filter(|claim| asking && claim.undecided);
    let devices: BTreeSet<_> = undecided.map(|claim| claim.device).collect();
    let senders = match store.senders(hook.key.project, &devices).await {
        Ok(senders) => senders,
        Err(error) => {
            tracing::warn!(webhook.id = %hook.key.hook, %error, "failed to read the devices of messages; evaluating the filter of a webhook again in a second");
            return Decided::nothing(claims);
        }
    };
    let cancelled = Arc::new(AtomicBool::new(false));
    let _cancel = Cancel(Arc::clone(&cancelled));
    let deciding = tokio::task::spawn_blocking(move || all((&hook, &senders), claims, &cancelled, turn));
    // Evaluations do not panic; if one did, the leases would expire.
    deciding.await.unwrap_or_default()
}

/// Returns false if a filter surely does not ask for what is known of a device; a name may be written with escapes.
fn may_ask_for_sender(filter: &str) -> bool {
    filter.contains("device") || filter.contains('\\')
}

fn all(
    (hook, senders): (&Webhook, &HashMap<DeviceId, Sender>),
    claims: Vec<Claim>,
    cancelled: &AtomicBool,
    _turn: Turn<ProjectId>,
) -> Decided {
    let (matcher, end) = (Matcher::new(hook), Instant::now() + DECIDE_TIME);
    let mut decided = Decided::default();
    for claim in claims {
        let waits = hook.ordered && !decided.back.is_empty();
        let Some(message) = claim.body.as_ref().filter(|_| !waits) else {
            decided.back.push(claim);
            continue;
        };
        if !claim.undecided {
            decided.ready.push(claim);
            continue;
        }
        if Instant::now() >= end || cancelled.load(Ordering::Relaxed) {
            decided.back.push(claim);
            continue;
        }
        let mut budget = Budget::steps(ENTRY_STEPS).cancelled_by(cancelled);
        match matcher.decide(message, senders.get(&message.scope.device), &mut budget) {
            Ok(true) => decided.ready.push(claim),
            Ok(false) => decided.foreign.push(claim),
            Err(MatchError::Filter(iottly_filter::Undecided::Cancelled)) => decided.back.push(claim),
            Err(reason) => decided.undecidable.push((claim, reason)),
        }
    }
    decided
}
