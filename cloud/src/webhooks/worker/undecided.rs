//! Handles deliveries whose filter is evaluated before they are sent, including those for which that is too
//! expensive.

use std::sync::Arc;

use super::decide::{self, Decided};
use super::pump::{Pump, StoreReply, result_of};
use iottly_core::model::{UnixMs, WebhookAttempt, WebhookKey};
use iottly_core::webhooks::Claim;
use iottly_core::webhooks::NOT_MATCHED;
use iottly_store::webhooks::{DeliveryResult, Disposition};

/// Maximum number of webhooks whose filters are being evaluated; beyond it, deliveries are given back.
const MAX_DECIDING: usize = 32;
/// Delay of a delivery that was given back because its filter could not be evaluated at present, in
/// milliseconds.
const DECIDE_AGAIN_MS: UnixMs = 1000;

impl Pump {
    /// Has the filter of a webhook evaluated for the undecided deliveries. No more deliveries of the webhook
    /// are claimed in the meantime.
    pub(super) async fn decide(&mut self, key: WebhookKey, claims: Vec<Claim>, full: bool, until: UnixMs) {
        let hook = self.lanes.get(&key).map(|lane| Arc::clone(&lane.hook));
        match hook {
            Some(hook) if self.deciding.len() < MAX_DECIDING => {
                let from = (self.turns.clone(), Arc::clone(&self.parts.store));
                self.deciding.spawn(async move {
                    StoreReply::Decided {
                        key,
                        full,
                        until,
                        decided: decide::decide(from, hook, claims).await,
                    }
                });
            }
            _ => self.decided(key, Decided::nothing(claims), full, until).await,
        }
    }

    /// Handles the result of evaluating the filter of deliveries.
    pub(super) async fn decided(&mut self, key: WebhookKey, decided: Decided, full: bool, until: UnixMs) {
        let now = self.now();
        let Decided {
            ready,
            foreign,
            undecidable,
            back,
        } = decided;
        for claim in &foreign {
            self.record(result_of(key, claim, Disposition::Done)).await;
        }
        let mut reason = None;
        for (claim, why) in &undecidable {
            tracing::warn!(webhook.id = %key.hook, message.id = %claim.message, error = %why, "failed to evaluate the filter of a webhook; keeping the delivery as failed");
            self.parts.metrics.webhook_attempt("not_matched");
            self.record(not_matched(key, claim, &why.to_string(), now)).await;
            reason = Some(format!("{why}, for ten messages in a row"));
        }
        self.give_back(key, back, now + DECIDE_AGAIN_MS).await;
        let Some(lane) = self.lanes.get_mut(&key) else {
            return self.give_back(key, ready, now).await;
        };
        let broken = lane.evaluated(ready.len() + foreign.len(), undecidable.len());
        lane.claimed(ready, full, until);
        match reason {
            Some(reason) if broken => self.disable(key, &reason, now).await,
            _ => self.advance(key),
        }
    }
}

/// Returns the outcome that gives back a delivery whose message was not read, and announces it at once.
pub(super) fn again(key: WebhookKey, claim: &Claim, now: UnixMs) -> DeliveryResult {
    DeliveryResult {
        announce: true,
        ..result_of(
            key,
            claim,
            Disposition::Wait {
                due: now,
                attempts: claim.attempts,
            },
        )
    }
}

/// Returns the outcome that keeps a delivery as failed because it is not known whether its message matches,
/// with a log entry.
fn not_matched(key: WebhookKey, claim: &Claim, why: &str, now: UnixMs) -> DeliveryResult {
    let attempt = WebhookAttempt {
        number: 0,
        at: now,
        message: claim.message,
        device: Some(claim.device),
        attempt: claim.attempts.saturating_add(1),
        result: "not_matched".to_owned(),
        millis: 0,
        bytes: 0,
        answer: why.to_owned(),
    };
    let disposition = Disposition::Failed {
        attempts: claim.attempts,
        reason: format!("{NOT_MATCHED}{why}"),
    };
    DeliveryResult {
        attempt: Some(attempt),
        ..result_of(key, claim, disposition)
    }
}
