//! Metrics of the running cloud, for Prometheus.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use iottly_protocol::CommandId;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use iottly_core::model::UnixMs;
use iottly_store::webhooks::WebhookTotals;

mod webhooks;

use webhooks::WebhookMetrics;

/// Maximum number of commands whose first report is awaited; beyond it, all are forgotten.
const MAX_WAITING: usize = 10_000;

/// Labels of a counted request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    method: &'static str,
    route: String,
    status: u16,
}

/// Result of an attempt to send a mail.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MailEnded {
    result: &'static str,
}

/// Metrics of the cloud; each is updated by the code whose work it counts.
pub struct Metrics {
    registry: Registry,
    requests: Family<Route, Counter>,
    request_seconds: Histogram,
    stored: Counter,
    refused: Counter,
    groups: Histogram,
    commit_seconds: Histogram,
    queue_events: Gauge,
    queue_bytes: Gauge,
    commands: Counter,
    command_seconds: Histogram,
    waiting: Mutex<HashMap<CommandId, Instant>>,
    devices_online: Gauge,
    memory: Gauge<f64, AtomicU64>,
    handshakes: Counter,
    handshakes_turned_away: Counter,
    certificate_end: Gauge,
    mails: Family<MailEnded, Counter>,
    mails_waiting: Gauge,
    webhooks: WebhookMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.0005, 2.0, 16));
        let mut metrics = Self {
            registry: Registry::with_prefix("iottly"),
            requests: Family::default(),
            request_seconds: seconds(),
            stored: Counter::default(),
            refused: Counter::default(),
            groups: Histogram::new(exponential_buckets(1.0, 2.0, 12)),
            commit_seconds: seconds(),
            queue_events: Gauge::default(),
            queue_bytes: Gauge::default(),
            commands: Counter::default(),
            command_seconds: seconds(),
            waiting: Mutex::default(),
            devices_online: Gauge::default(),
            memory: Gauge::default(),
            handshakes: Counter::default(),
            handshakes_turned_away: Counter::default(),
            certificate_end: Gauge::default(),
            mails: Family::default(),
            mails_waiting: Gauge::default(),
            webhooks: WebhookMetrics::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let to = &mut self.registry;
        to.register(
            "http_requests",
            "Requests by route and status",
            self.requests.clone(),
        );
        to.register_with_unit(
            "http_request",
            "Time from request to response",
            Unit::Seconds,
            self.request_seconds.clone(),
        );
        to.register("ingest_messages", "Messages stored", self.stored.clone());
        to.register(
            "ingest_refused",
            "Records refused permanently",
            self.refused.clone(),
        );
        to.register(
            "ingest_group_uploads",
            "Uploads in a transaction",
            self.groups.clone(),
        );
        to.register_with_unit(
            "ingest_commit",
            "Duration of a transaction",
            Unit::Seconds,
            self.commit_seconds.clone(),
        );
        to.register(
            "ingest_queue_events",
            "Events waiting for the ingest",
            self.queue_events.clone(),
        );
        to.register_with_unit(
            "ingest_queue",
            "Size of the publishes between broker and commit",
            Unit::Bytes,
            self.queue_bytes.clone(),
        );
        to.register("commands_accepted", "Commands accepted", self.commands.clone());
        let help = "Time from the acceptance of a command to the device's first report";
        to.register_with_unit(
            "command_report",
            help,
            Unit::Seconds,
            self.command_seconds.clone(),
        );
        to.register("devices_online", "Connected devices", self.devices_online.clone());
        to.register_with_unit(
            "process_memory",
            "Resident memory of the process",
            Unit::Bytes,
            self.memory.clone(),
        );
        to.register("mails", "Attempts to send a mail by result", self.mails.clone());
        to.register(
            "mails_waiting",
            "Mails that wait to be sent",
            self.mails_waiting.clone(),
        );
        to.register(
            "tls_handshakes",
            "TLS handshakes completed",
            self.handshakes.clone(),
        );
        to.register(
            "tls_handshakes_turned_away",
            "Connections closed before their TLS handshake because too many waited",
            self.handshakes_turned_away.clone(),
        );
        to.register_with_unit(
            "tls_certificate_end_timestamp",
            "End of the validity of the server's certificate, in Unix time; 0 without TLS",
            Unit::Seconds,
            self.certificate_end.clone(),
        );
        self.webhooks.register(to);
    }

    /// Counts a completed TLS handshake.
    pub fn handshake(&self) {
        self.handshakes.inc();
    }

    /// Counts a connection that was closed because its handshake would have had to wait for too long.
    pub fn handshake_turned_away(&self) {
        self.handshakes_turned_away.inc();
    }

    /// Records when the server's certificate ends.
    pub fn certificate_ends(&self, at: UnixMs) {
        self.certificate_end.set(at / 1000);
    }

    /// Counts an attempt to send a mail.
    pub(crate) fn mail(&self, result: &'static str) {
        self.mails.get_or_create(&MailEnded { result }).inc();
    }

    /// Records the number of mails that wait.
    pub(crate) fn mails_waiting(&self, count: i64) {
        self.mails_waiting.set(count);
    }

    /// Counts a request; `route` is the route's template, not the path.
    pub fn request(&self, method: &str, route: String, status: u16, took: Duration) {
        const METHODS: [&str; 6] = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"];
        let method = METHODS
            .into_iter()
            .find(|known| *known == method)
            .unwrap_or("other");
        self.requests
            .get_or_create(&Route {
                method,
                route,
                status,
            })
            .inc();
        self.request_seconds.observe(took.as_secs_f64());
    }

    /// Counts a committed transaction of the ingest.
    pub fn committed(&self, uploads: usize, stored: usize, refused: usize, took: Duration) {
        self.groups.observe(uploads as f64);
        self.stored.inc_by(stored as u64);
        self.refused.inc_by(refused as u64);
        self.commit_seconds.observe(took.as_secs_f64());
    }

    /// Counts a command and starts to measure the time to the device's first report about it.
    pub fn command_accepted(&self, id: CommandId, now: Instant) {
        self.commands.inc();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= MAX_WAITING {
            waiting.clear();
        }
        waiting.insert(id, now);
    }

    /// Records the time to the device's first report about a command.
    pub fn command_reported(&self, id: CommandId, now: Instant) {
        let accepted = self
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
        if let Some(accepted) = accepted {
            self.command_seconds
                .observe(now.duration_since(accepted).as_secs_f64());
        }
    }

    /// Counts a webhook delivery attempt by its result: `http_` and the status, or the kind of error.
    pub fn webhook_attempt(&self, result: &str) {
        self.webhooks.attempt(result);
    }

    /// Counts a webhook that the platform disabled.
    pub fn webhook_disabled(&self) {
        self.webhooks.disabled.inc();
    }

    /// Records measurements of webhooks: totals over all of them, and the number of deliveries dropped since
    /// the start.
    pub fn webhooks(&self, totals: &WebhookTotals, dropped: u64, now: UnixMs) {
        self.webhooks.measured(totals, dropped, now);
    }

    /// Returns all metrics as text; `queue` and `online` are measured by the caller.
    pub fn text(&self, queue: (usize, usize), online: u64) -> Result<String, std::fmt::Error> {
        self.queue_events.set(queue.0 as i64);
        self.queue_bytes.set(queue.1 as i64);
        self.devices_online.set(online as i64);
        self.memory.set(resident_bytes().unwrap_or_default());
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Returns the resident memory of this process, in bytes.
fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<f64>()
        .ok()
        .map(|kib| kib * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_out_as_text() {
        let metrics = Metrics::default();
        metrics.request("GET", "/v1.0/ping".into(), 200, Duration::from_millis(2));
        metrics.request("PROPFIND", "none".into(), 404, Duration::from_millis(2));
        metrics.committed(3, 30, 1, Duration::from_millis(4));
        let (id, now) = (CommandId::random(), Instant::now());
        metrics.command_accepted(id, now);
        metrics.command_reported(id, now + Duration::from_millis(10));
        metrics.command_reported(id, now + Duration::from_millis(20));
        metrics.handshake();
        metrics.certificate_ends(1_800_000_000_000);
        let text = metrics.text((5, 6), 7).expect("encodes");
        for line in [
            r#"iottly_http_requests_total{method="GET",route="/v1.0/ping",status="200"} 1"#,
            r#"iottly_http_requests_total{method="other",route="none",status="404"} 1"#,
            "iottly_ingest_messages_total 30",
            "iottly_ingest_refused_total 1",
            "iottly_ingest_queue_events 5",
            "iottly_command_report_seconds_count 1",
            "iottly_devices_online 7",
            "iottly_tls_handshakes_total 1",
            "iottly_tls_certificate_end_timestamp_seconds 1800000000",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }
}
