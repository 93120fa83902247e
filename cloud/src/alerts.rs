//! Evaluation of alerts over time: looks at projects with rules every two seconds, lets the state machine decide, and has
//! the store carry the effects out. Rules about single messages are applied where messages are stored.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use iottly_protocol::ProjectId;
use tokio::time::{Instant, MissedTickBehavior};

use crate::guarded_clock::GuardedClock;
use crate::live::LiveHub;
use crate::presence::PresenceService;
use iottly_core::alerts::{DeviceFacts, Effect, Event, Known};
use iottly_core::model::{AlertRule, AlertTarget, Condition, Scope, UnixMs};
use iottly_store::{Result, Store};

/// Interval of evaluations.
const EVERY: Duration = Duration::from_secs(2);
/// Pause after an evaluation, as a multiple of the time that it took: with very many devices the evaluation uses at most
/// a fifth of a core.
const REST: u32 = 4;
/// Maximum number of effects that are carried out in one transaction; the rest follows in the next evaluation.
const EFFECTS: usize = 200;

/// End of the validity of the cloud's certificate, as far as it is known.
#[derive(Debug)]
pub struct CertificateEnd(AtomicI64);

impl Default for CertificateEnd {
    fn default() -> Self {
        Self(AtomicI64::new(UnixMs::MAX))
    }
}

impl CertificateEnd {
    /// Notes the end of the certificate that the cloud serves now.
    pub fn set(&self, end: UnixMs) {
        self.0.store(end, Ordering::Relaxed);
    }

    fn get(&self) -> Option<UnixMs> {
        Some(self.0.load(Ordering::Relaxed)).filter(|end| *end != UnixMs::MAX)
    }
}

/// Evaluates the alerts of all projects.
pub(crate) struct Evaluator {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) live: Arc<LiveHub>,
    pub(crate) presence: Arc<PresenceService>,
    pub(crate) time: Arc<GuardedClock>,
    pub(crate) certificate: Arc<CertificateEnd>,
}

impl Evaluator {
    /// Runs until aborted. After a restart, devices get `grace` to connect again before they are looked at.
    pub(crate) async fn run(self, grace: Duration) {
        let mut tick = tokio::time::interval_at(Instant::now() + grace, EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let began = Instant::now();
            match self.store.projects_with_alert_rules().await {
                Ok(projects) => {
                    for project in projects {
                        if let Err(error) = self.project(project).await {
                            tracing::error!(project.id = %project, %error, "failed to evaluate the alerts of a project; retrying in {} s", EVERY.as_secs());
                        }
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "failed to read which projects have alert rules; retrying in {} s", EVERY.as_secs());
                }
            }
            let took = began.elapsed();
            if took * REST > EVERY {
                tokio::time::sleep((took * REST).saturating_sub(EVERY)).await;
            }
        }
    }

    async fn project(&self, project: ProjectId) -> Result<()> {
        let rules = self.store.alert_rules(project).await?;
        let raised = self.store.raised_alerts(project).await?;
        let known = Known {
            rules: &rules,
            raised: &raised,
        };
        let now = self.time.received();
        let devices = self.facts(project, &rules, !raised.is_empty()).await?;
        let mut effects = known.handle(&Event::Tick, now);
        if let Some(devices) = &devices {
            effects.extend(known.handle(&Event::Devices(devices), now));
        }
        if has(&rules, |condition| matches!(condition, Condition::RolloutHalted)) {
            let halted = self.store.halted_groups(project).await?;
            effects.extend(known.handle(&Event::Halted(&halted), now));
        }
        if let Some(end) = self.certificate.get() {
            effects.extend(known.handle(&Event::Certificate(end), now));
        }
        effects.truncate(EFFECTS);
        self.carry_out(project, effects, now).await
    }

    async fn carry_out(&self, project: ProjectId, effects: Vec<Effect>, now: UnixMs) -> Result<()> {
        if effects.is_empty() {
            return Ok(());
        }
        for entry in self.store.apply_alerts(project, effects, now).await? {
            self.live.publish(&entry);
        }
        Ok(())
    }

    /// Returns the facts about the devices if a rule or a raised alert is about devices.
    async fn facts(
        &self,
        project: ProjectId,
        rules: &[AlertRule],
        raised: bool,
    ) -> Result<Option<Vec<DeviceFacts>>> {
        let lasting =
            |condition: &Condition| matches!(condition, Condition::Offline(_) | Condition::NoData(_));
        if !raised && !has(rules, lasting) {
            return Ok(None);
        }
        let mut devices = self.store.alert_facts(project).await?;
        let targets: HashSet<_> = rules
            .iter()
            .filter(|rule| matches!(rule.condition, Condition::NoData(_)))
            .map(|rule| Watched::from(rule.target))
            .collect();
        if !targets.is_empty() {
            for device in &mut devices {
                let watched = [
                    Watched::All,
                    Watched::Group(*device.group.as_bytes()),
                    Watched::Device(*device.device.as_bytes()),
                ];
                if watched.iter().any(|watched| targets.contains(watched)) {
                    let scope = Scope {
                        project,
                        device: device.device,
                    };
                    device.sent = self.presence.last_sent(scope).await?;
                }
            }
        }
        Ok(Some(devices))
    }
}

#[derive(PartialEq, Eq, Hash)]
enum Watched {
    All,
    Group([u8; 16]),
    Device([u8; 16]),
}

impl From<AlertTarget> for Watched {
    fn from(target: AlertTarget) -> Self {
        match target {
            AlertTarget::Project => Self::All,
            AlertTarget::Group(group) => Self::Group(*group.as_bytes()),
            AlertTarget::Device(device) => Self::Device(*device.as_bytes()),
        }
    }
}

fn has(rules: &[AlertRule], what: impl Fn(&Condition) -> bool) -> bool {
    rules.iter().any(|rule| what(&rule.condition))
}
