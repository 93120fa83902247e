//! Evaluation of alerts over time: looks at projects with rules every two seconds, lets the state machine decide, and has
//! the store carry the effects out. Rules about single messages are applied where messages are stored.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use iottly_protocol::ProjectId;
use tokio::time::{Instant, MissedTickBehavior};

use crate::broker::Broker;
use crate::guarded_clock::GuardedClock;
use crate::live::{LiveHub, Parts};
use crate::presence::PresenceService;
use iottly_core::RateLimitedLog;
use iottly_core::alerts::{DeviceFacts, Effect, Event, Known, Uptime, in_order};
use iottly_core::model::{AlertId, AlertRule, AlertTarget, Condition, Scope, UnixMs};
use iottly_store::{Result, Store};

/// Interval of evaluations.
const EVERY: Duration = Duration::from_secs(2);
/// Time from the start to the first evaluation: agents that wait for the cloud connect within it.
const FIRST: Duration = Duration::from_secs(1);
/// Pause after an evaluation, as a multiple of the time that it took: with very many devices the evaluation uses at most
/// a fifth of a core.
const REST: u32 = 4;
/// Maximum number of effects that are carried out in one transaction, so that none delays the ingest for long. The rest
/// follows at once, in further transactions.
const EFFECTS: usize = 200;

/// Limits the log rate: a condition that holds is looked at again and again.
static REFUSED: RateLimitedLog = RateLimitedLog::of_a_minute();

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
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) time: Arc<GuardedClock>,
    pub(crate) certificate: Arc<CertificateEnd>,
}

impl Evaluator {
    /// Runs until aborted. Devices that were connected before a restart get `grace` to connect again; what lasted already
    /// raises its alert at the first evaluation.
    pub(crate) async fn run(self, grace: Duration) {
        let (start, process) = (Instant::now(), AlertId::random());
        let mut tick = tokio::time::interval_at(start + FIRST, EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.look(*process.as_bytes()).await;
        let mut is_watched = true;
        loop {
            tick.tick().await;
            let began = Instant::now();
            let returning = began.duration_since(start) < grace;
            match self.round(returning).await {
                Ok(some) => is_watched = some,
                Err(error) => {
                    tracing::error!(%error, "failed to read which projects have alert rules; retrying in {} s", EVERY.as_secs());
                }
            }
            if is_watched {
                self.look(*process.as_bytes()).await;
            }
            let took = began.elapsed();
            if took * REST > EVERY {
                tokio::time::sleep((took * REST).saturating_sub(EVERY)).await;
            }
        }
    }

    /// Notes that the cloud is there.
    async fn look(&self, process: [u8; 16]) {
        if let Err(error) = self.store.look_at_alerts(process, self.time.received()).await {
            tracing::error!(%error, "failed to note that the cloud is running; after a restart, alerts may be late");
        }
    }

    /// Evaluates the alerts of all projects with rules; returns false if there is none.
    async fn round(&self, returning: bool) -> Result<bool> {
        let projects = self.store.projects_with_alert_rules().await?;
        if projects.is_empty() {
            return Ok(false);
        }
        let uptime = Uptime::new(self.store.alert_looks().await?);
        for project in projects {
            if let Err(error) = self.project(project, &uptime, returning).await {
                tracing::error!(project.id = %project, %error, "failed to evaluate the alerts of a project; retrying in {} s", EVERY.as_secs());
            }
        }
        Ok(true)
    }

    async fn project(&self, project: ProjectId, uptime: &Uptime, returning: bool) -> Result<()> {
        let rules = self.store.alert_rules(project).await?;
        let raised = self.store.raised_alerts(project).await?;
        let known = Known {
            rules: &rules,
            raised: &raised,
            uptime,
        };
        let now = self.time.received();
        let mut devices = self.facts(project, &rules, !raised.is_empty()).await?;
        if returning && let Some(devices) = &mut devices {
            for device in devices.iter_mut().filter(|device| device.online) {
                device.expected = !self.broker.is_connected(device.device).await;
            }
        }
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
        let (effects, refused) = in_order(effects, raised.len());
        if refused > 0
            && let Some(more) = REFUSED.ask(Instant::now().into_std())
        {
            tracing::warn!(project.id = %project, alerts.count = refused, lines.left_out = more,
                "a project has its maximum of raised alerts; others are not raised until some of them clear");
        }
        for effects in effects.chunks(EFFECTS) {
            self.carry_out(project, effects.to_vec(), now).await?;
        }
        Ok(())
    }

    async fn carry_out(&self, project: ProjectId, effects: Vec<Effect>, now: UnixMs) -> Result<()> {
        for entry in self.store.apply_alerts(project, effects, now).await? {
            self.live.publish(&entry);
        }
        self.live.changed(project, None, Parts::ALERT);
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
