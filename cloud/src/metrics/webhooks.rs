//! Metrics about webhooks.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use iottly_core::model::UnixMs;
use iottly_store::webhooks::WebhookTotals;

/// Label of an attempt: its result.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    result: &'static str,
}

/// Metrics about webhooks.
#[derive(Default)]
pub(super) struct WebhookMetrics {
    attempts: Family<Ended, Counter>,
    pub(super) disabled: Counter,
    dropped: Counter,
    waiting: Gauge,
    open: Gauge,
    oldest: Gauge<f64, AtomicU64>,
}

impl WebhookMetrics {
    pub(super) fn register(&self, to: &mut Registry) {
        to.register(
            "webhook_attempts",
            "Webhook delivery attempts by result",
            self.attempts.clone(),
        );
        to.register(
            "webhook_disabled",
            "Webhooks that the platform has disabled",
            self.disabled.clone(),
        );
        to.register(
            "webhook_dropped",
            "Deliveries dropped because too many were waiting",
            self.dropped.clone(),
        );
        to.register(
            "webhook_waiting",
            "Deliveries that are waiting or being sent",
            self.waiting.clone(),
        );
        to.register(
            "webhook_breakers_open",
            "Webhooks whose circuit breaker is open",
            self.open.clone(),
        );
        let help = "Age of the oldest message that is waiting for a webhook";
        to.register_with_unit("webhook_oldest", help, Unit::Seconds, self.oldest.clone());
    }

    pub(super) fn attempt(&self, result: &str) {
        const KINDS: [&str; 6] = [
            "blocked_address",
            "connect",
            "connection",
            "dns",
            "timeout",
            "tls",
        ];
        const CLASSES: [&str; 5] = ["http_1xx", "http_2xx", "http_3xx", "http_4xx", "http_5xx"];
        let class = |kind: &&&str| result.get(..6) == kind.get(..6);
        let result = KINDS
            .iter()
            .find(|kind| **kind == result)
            .or_else(|| CLASSES.iter().find(class));
        self.attempts
            .get_or_create(&Ended {
                result: result.copied().unwrap_or("other"),
            })
            .inc();
    }

    pub(super) fn measured(&self, totals: &WebhookTotals, dropped: u64, now: UnixMs) {
        self.waiting
            .set(i64::try_from(totals.waiting).unwrap_or(i64::MAX));
        self.open.set(i64::try_from(totals.open).unwrap_or(i64::MAX));
        self.oldest.set(
            totals
                .oldest
                .map_or(0.0, |oldest| (now - oldest).max(0) as f64 / 1000.0),
        );
        self.dropped.inc_by(dropped.saturating_sub(self.dropped.get()));
    }
}
