//! Decision about a delivery whose attempt has ended: retried, failed or done, and its webhook disabled when the
//! receiver is gone. The schedule and the breaker decide; this file applies their decisions.

use std::sync::Arc;

use tracing::Instrument;

use super::pump::{Finished, Pump, result_of};
use crate::random;
use iottly_core::model::{Change, Principal, UnixMs, WebhookKey};
use iottly_core::webhooks::breaker::Effect;
use iottly_core::webhooks::schedule::{self, Verdict};
use iottly_store::webhooks::Disposition;

/// Name under which the audit log shows that the platform disabled a webhook.
const SYSTEM_NAME: &str = "platform";

impl Pump {
    /// Decides about a delivery whose attempt has ended.
    pub(super) async fn settle(&mut self, finished: Finished) {
        let Finished {
            key,
            slot,
            claim,
            probe,
            attempted,
            span: _,
        } = finished;
        let now = self.now();
        self.slots.give(slot);
        self.parts.metrics.webhook_attempt(&attempted.record.result);
        let attempts = claim.attempts.saturating_add(1);
        let verdict = schedule::decide(attempted.outcome, attempts, attempted.retry_after, jitter(), now);
        let mut one = result_of(key, &claim, Disposition::Done);
        let (mut back, mut gives_up, mut ordered) = (Vec::new(), false, false);
        if let Some(lane) = self.lanes.get_mut(&key) {
            let effects;
            (effects, back) = lane.ended(attempted.outcome, attempted.record.at, attempted.retry_after, now);
            for effect in effects {
                let open = effect == Effect::Opened;
                tracing::warn!(
                    breaker.open = open,
                    "the circuit breaker of a webhook has changed"
                );
            }
            one.health = Some(lane.health());
            (gives_up, ordered) = (lane.gives_up(now), lane.target.ordered);
        }
        let probe_at = one.health.and_then(|health| health.probe_at);
        one.disposition = match verdict {
            Verdict::Delivered => Disposition::Done,
            // A failed probe uses up no attempt.
            Verdict::Retry(_) | Verdict::Failed if probe => Disposition::Wait {
                due: probe_at.unwrap_or(now),
                attempts: claim.attempts,
            },
            Verdict::Retry(due) => Disposition::Wait { due, attempts },
            Verdict::Failed => Disposition::Failed {
                attempts,
                reason: attempted.record.result.clone(),
            },
            Verdict::Gone => Disposition::Wait {
                due: now,
                attempts: claim.attempts,
            },
        };
        one.attempt = Some(attempted.record);
        one.announce = ordered;
        self.record(one).await;
        self.give_back(key, back, now).await;
        if verdict == Verdict::Gone {
            self.disable(key, "receiver answered 410", now).await;
        } else if gives_up {
            self.disable(key, "every attempt failed for five days", now).await;
        }
    }

    /// Disables a webhook, with an entry in the audit log.
    pub(super) async fn disable(&mut self, key: WebhookKey, reason: &str, now: UnixMs) {
        tracing::warn!(webhook.id = %key.hook, webhook.reason = reason, "disabling a webhook");
        self.close(key).await;
        let (store, metrics) = (Arc::clone(&self.parts.changes), Arc::clone(&self.parts.metrics));
        let change = Change::DisableWebhook {
            id: key.hook,
            reason: reason.to_owned(),
        };
        let disabling = async move {
            match store
                .change(
                    key.project,
                    &Principal::system(key.project, SYSTEM_NAME),
                    change,
                    now,
                )
                .await
            {
                Ok(changed) if changed.affected > 0 => metrics.webhook_disabled(),
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(webhook.id = %key.hook, %error, "failed to disable a webhook; retrying after its next attempt")
                }
            }
        };
        self.disabling.spawn(disabling.in_current_span());
    }
}

/// Returns a random number between -1 and 1; 0 without randomness, which only means that retries are not
/// spread out.
fn jitter() -> f64 {
    let Ok(bytes) = random::bytes() else { return 0.0 };
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX) * 2.0 - 1.0
}
