//! Sends directives to devices, and composes them. Decides nothing.

use iottly_protocol::release::{Action, Audience};
use iottly_protocol::{DeviceId, Down, ProjectId, SignedDirective};
use serde_json::value::RawValue;

use super::Rollouts;
use crate::releases::NewDirective;
use iottly_core::model::Policy;
use iottly_core::model::{Rollout, Scope, UnixMs};
use iottly_store::StoreError;

/// Number of seconds of a day.
pub(super) const DAY_S: u64 = 86_400;

impl Rollouts {
    /// Handles a device's hello: later directives get counters above the highest that the device has
    /// accepted, and the device is sent its open directive.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn on_hello(&self, scope: Scope, counter: u64) -> Result<(), StoreError> {
        if counter > 0 {
            self.store.raise_counter(scope, counter).await?;
        }
        self.announce_to(scope).await?;
        self.send_open_directive(scope).await?;
        self.wake();
        Ok(())
    }

    /// Sends a device the directive that it may still have to follow.
    pub(super) async fn send_open_directive(&self, scope: Scope) -> Result<(), StoreError> {
        if let Some(document) = self.store.open_directive(scope).await? {
            self.send_directive(scope.device, document).await;
        }
        Ok(())
    }

    pub(super) async fn send_directive(&self, device: DeviceId, document: Box<RawValue>) {
        let down = Down::Directive(SignedDirective { document });
        if let Err(error) = self.broker.publish(device, down.encode().into()).await {
            tracing::debug!(device.id = %device, %error, "failed to send a directive; it waits for the device's next hello");
        }
    }
}

/// Returns a rollout's directive to one of its devices, with its counter.
pub(super) fn directive(
    project: ProjectId,
    rollout: &Rollout,
    target: &str,
    device: DeviceId,
    (action, again): (Action, bool),
) -> NewDirective {
    let policy: &Policy = &rollout.policy;
    // The device may get to the directive, and to its window, a day later.
    let waiting = policy.window.map_or(0, |_| DAY_S);
    NewDirective {
        project,
        audience: Audience::Device(device),
        action,
        target: target.to_owned(),
        valid_s: policy.deadline_s.max(policy.silence_s).saturating_add(waiting),
        // Devices do not count the time in which they wait for the window.
        deadline_s: policy.deadline_s,
        window: policy.window,
        max_bps: policy.max_bps,
        force_retry: again || rollout.force,
        approved: rollout.approved.clone(),
    }
}

/// Returns a counter above `before`, and above those that a cloud restored from a backup had given.
pub(super) fn counter(before: u64, now: UnixMs) -> u64 {
    u64::try_from(now).unwrap_or(0).max(before.saturating_add(1))
}
