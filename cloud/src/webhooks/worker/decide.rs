//! Filters that were too much work while their messages were stored: evaluated on a thread of their own
//! before anything is sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use iottly_protocol::ProjectId;

use crate::reading::ENTRY_STEPS;
use crate::turns::{Turn, Turns};
use iottly_core::model::Webhook;
use iottly_core::webhooks::Claim;
use iottly_core::webhooks::matching::{Matcher, Undecidable};
use iottly_filter::Budget;

/// Longest time that one claim's filters are evaluated for, well within a lease; what is left is given back.
const DECIDE_TIME: Duration = Duration::from_secs(10);

/// A hook's claimed deliveries, sorted by what is known now.
#[derive(Default)]
pub(super) struct Decided {
    /// To be sent, in their order.
    pub(super) ready: Vec<Claim>,
    /// Messages that do not match.
    pub(super) foreign: Vec<Claim>,
    /// Messages of which it is not known whether they match, and never will be.
    pub(super) undecidable: Vec<(Claim, Undecidable)>,
    /// To be claimed again: there was no time for them, or one that comes before them waits.
    pub(super) back: Vec<Claim>,
}

impl Decided {
    /// Gives everything back.
    pub(super) fn nothing(claims: Vec<Claim>) -> Self {
        Self {
            back: claims,
            ..Self::default()
        }
    }
}

/// Ends an evaluation when nobody waits for it any more.
struct Cancel(Arc<AtomicBool>);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Evaluates the filter of `hook` where that is still to be done.
pub(super) async fn decide(turns: Turns<ProjectId>, hook: Arc<Webhook>, claims: Vec<Claim>) -> Decided {
    let Ok(turn) = turns.take(hook.key.project).await else {
        return Decided::nothing(claims);
    };
    let cancelled = Arc::new(AtomicBool::new(false));
    let _cancel = Cancel(Arc::clone(&cancelled));
    let deciding = tokio::task::spawn_blocking(move || all(&hook, claims, &cancelled, turn));
    // Evaluations do not panic; were it so, the leases end by themselves.
    deciding.await.unwrap_or_default()
}

fn all(hook: &Webhook, claims: Vec<Claim>, cancelled: &AtomicBool, _turn: Turn<ProjectId>) -> Decided {
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
        match matcher.decide(message, &mut Budget::steps(ENTRY_STEPS).cancelled_by(cancelled)) {
            Ok(true) => decided.ready.push(claim),
            Ok(false) => decided.foreign.push(claim),
            Err(Undecidable::Filter(iottly_filter::Undecided::Cancelled)) => decided.back.push(claim),
            Err(reason) => decided.undecidable.push((claim, reason)),
        }
    }
    decided
}
