//! Takes mails that are due from the store and sends them, a few at a time.

use std::sync::Arc;
use std::time::Duration;

use iottly_core::mail::{Reply, result};
use iottly_core::model::{MailResult, NewMail, UnixMs};
use iottly_store::{Result, Store};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::connection::Connection;
use super::{LEASE_MS, MailConfig, message};
use crate::guarded_clock::GuardedClock;
use crate::metrics::Metrics;

/// Interval at which mails that are due are looked for.
const EVERY: Duration = Duration::from_secs(1);
/// Number of mails that are sent at the same time, each over a connection of its own.
const LANES: usize = 4;
/// Shortest and longest pause after a round in which the server could not be reached.
const PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// Sends mails.
pub(crate) struct Mailer {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) time: Arc<GuardedClock>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) config: Arc<MailConfig>,
}

/// Result of an attempt, with the connection if it can be used again.
struct Attempt {
    mail: NewMail,
    reply: Reply,
    connection: Option<Connection>,
    /// False if the server could not be reached.
    reached: bool,
}

impl Mailer {
    /// Runs until aborted.
    pub(crate) async fn run(self) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut idle, mut pause, mut released) = (Vec::new(), PAUSES.0, false);
        loop {
            tick.tick().await;
            if !released {
                match self.store.release_alert_mails(self.time.received()).await {
                    Ok(_) => released = true,
                    Err(error) => {
                        tracing::error!(%error, "failed to take up mails of before the restart; retrying in {} s", EVERY.as_secs());
                        continue;
                    }
                }
            }
            match self.round(&mut idle).await {
                Ok(None) => close_stale(&mut idle).await,
                Ok(Some(true)) => pause = PAUSES.0,
                Ok(Some(false)) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
                Err(error) => {
                    tracing::error!(%error, "failed to read or record mails; retrying in {} s", EVERY.as_secs());
                }
            }
        }
    }

    /// Sends what is due, at most one mail a lane. Returns false if the server could not be reached, and none if nothing was
    /// due.
    async fn round(&self, idle: &mut Vec<Connection>) -> Result<Option<bool>> {
        self.metrics
            .mails_waiting(self.store.alert_mails_waiting().await?);
        let mut reached = None;
        loop {
            let now = self.time.received();
            if !self.store.alert_mail_is_due(now).await? {
                return Ok(reached);
            }
            let mails = self.store.claim_alert_mails(now, now + LEASE_MS, LANES).await?;
            let mut lanes = JoinSet::new();
            for mail in mails {
                let (config, connection) = (Arc::clone(&self.config), idle.pop());
                lanes.spawn(async move { attempt(&config, mail, connection).await });
            }
            while let Some(ended) = lanes.join_next().await {
                let Ok(attempt) = ended else {
                    tracing::error!("an attempt to send a mail panicked; it is repeated after its lease");
                    continue;
                };
                idle.extend(attempt.connection);
                reached = Some(reached.unwrap_or(true) && attempt.reached);
                self.settle(&attempt.mail, attempt.reply).await?;
            }
            if reached == Some(false) {
                return Ok(reached);
            }
        }
    }

    async fn settle(&self, mail: &NewMail, reply: Reply) -> Result<()> {
        let now: UnixMs = self.time.received();
        // Without randomness the pause does not vary.
        let chance = crate::random::bytes::<1>().map_or(0, |[chance]| chance);
        let result = result(reply, mail.attempt, mail.queued, now, chance);
        let (alert, kind) = (mail.alert, mail.kind.as_str());
        match &result {
            MailResult::Sent => {
                tracing::info!(project.id = %mail.project, alert.id = %alert, mail.kind = kind, "sent a mail");
                self.metrics.mail("sent");
            }
            MailResult::Retry { due, reason } => {
                let retry_s = (due - now) / 1000;
                tracing::warn!(project.id = %mail.project, alert.id = %alert, mail.kind = kind, reason, "failed to send a mail; retrying in {retry_s} s");
                self.metrics.mail("retried");
            }
            MailResult::Refused { reason } => {
                tracing::warn!(project.id = %mail.project, alert.id = %alert, mail.kind = kind, reason, "failed to send a mail; it is not tried again");
                self.metrics.mail("refused");
            }
        }
        self.store.settle_alert_mail(mail, &result, now).await
    }
}

async fn close_stale(idle: &mut Vec<Connection>) {
    let (stale, fresh) = std::mem::take(idle)
        .into_iter()
        .partition::<Vec<_>, _>(Connection::is_stale);
    *idle = fresh;
    for connection in stale {
        connection.close().await;
    }
}

async fn attempt(config: &MailConfig, mail: NewMail, known: Option<Connection>) -> Attempt {
    let ended = |mail, reply, connection, reached| Attempt {
        mail,
        reply,
        connection,
        reached,
    };
    let (envelope, bytes) = match message::built(&mail, config) {
        Ok(built) => built,
        Err(reason) => return ended(mail, Reply::Never(reason), known, true),
    };
    // The operator may allow fewer addresses than when the rule was made.
    if let Err(error) = config.recipients.check(&mail.recipient) {
        return ended(mail, Reply::Never(error.to_string()), known, true);
    }
    let mut connection = match known.filter(|known| !known.is_stale()) {
        Some(known) => known,
        None => match Connection::open(config).await {
            Ok(connection) => connection,
            Err(reason) => return ended(mail, Reply::Later(reason), None, false),
        },
    };
    let reply = connection.send(&envelope, &bytes).await;
    // After a refusal the server may have closed the connection.
    let again = (reply == Reply::Taken).then_some(connection);
    ended(mail, reply, again, true)
}
