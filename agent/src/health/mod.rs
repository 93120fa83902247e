//! Reports about the device's health to the cloud: what waits in the queue, and what the sandbox uses.
//!
//! Reports are not messages: none is stored or sent again, and without a cloud that takes them none is made.

mod pace;

use std::time::Duration;

use iottly_protocol::health::{HealthMessage, HealthReport, MAX_HEALTH_NUMBER, StreamHealth};
use iottly_protocol::{CommandResult, LogLine, Message, Record, Report, StreamClass};
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use self::pace::{Event, Pace};
use crate::clock::Monotonic;
use crate::guest::Meter;
use crate::outbox::{CLASSES, Item, Outbox, index};

/// Maximum number of changes of the connection that wait for the task; the link never makes that many at once.
const LINKS: usize = 16;
/// Maximum wait for the oldest record; without it the report has no age.
const READ: Duration = Duration::from_secs(2);
/// Items that are read to find the oldest record: the first may be a gap.
const ITEMS: usize = 2;

/// End of the reports that the link holds.
pub(crate) struct HealthPort {
    /// Changes of the connection: true for the welcome of a cloud that takes reports, false for the end.
    pub(crate) link: mpsc::Sender<bool>,
    /// Newest report, encoded; empty before the first.
    pub(crate) reports: watch::Receiver<Vec<u8>>,
}

/// Task of the reports.
pub(crate) struct HealthTask {
    outbox: Outbox,
    meter: Meter,
    link: mpsc::Receiver<bool>,
    reports: watch::Sender<Vec<u8>>,
}

impl HealthTask {
    /// Creates the task, with the end for the link.
    pub(crate) fn new(outbox: Outbox, meter: Meter) -> (Self, HealthPort) {
        let (link_tx, link) = mpsc::channel(LINKS);
        let (reports, reports_rx) = watch::channel(Vec::new());
        let task = Self {
            outbox,
            meter,
            link,
            reports,
        };
        let port = HealthPort {
            link: link_tx,
            reports: reports_rx,
        };
        (task, port)
    }

    /// Runs until the link ends.
    pub(crate) async fn run(mut self) {
        let (clock, mut pace) = (Monotonic::start(), Pace::default());
        let mut firmware = self.meter.changes();
        let mut streams = self.outbox.streams();
        loop {
            let now = clock.now_ms();
            let wait = pace
                .next()
                .map(|at| Duration::from_millis(at.saturating_sub(now)));
            let event = tokio::select! {
                link = self.link.recv() => match link {
                    Some(true) => Event::Welcomed,
                    Some(false) => Event::Lost,
                    None => return,
                },
                Ok(()) = firmware.changed() => Event::Firmware,
                Ok(()) = streams.changed(), if pace.awaits_empty() => {
                    let held = streams.borrow_and_update().iter().map(|info| info.next - info.oldest).sum::<u64>();
                    if held > 0 { continue }
                    Event::Drained
                }
                () = sleep(wait.unwrap_or_default()), if wait.is_some() => Event::Timer,
            };
            if !pace.handle(event, clock.now_ms()) {
                continue;
            }
            let report = self.report(clock.now_ms()).await;
            streams.mark_changed();
            pace.reported(report.history.waiting.saturating_add(report.control.waiting));
            if self.reports.send(HealthMessage::Report(report).encode()).is_err() {
                return;
            }
        }
    }

    async fn report(&self, up_ms: u64) -> HealthReport {
        let mut streams = [StreamHealth::default(); 2];
        for class in CLASSES {
            let (count, bytes) = self.outbox.count(class);
            streams[index(class)] = StreamHealth {
                waiting: count.waiting,
                bytes,
                oldest_ms: match count.waiting {
                    0 => None,
                    _ => self.oldest_ms(class).await,
                },
                lost: count.lost,
            };
        }
        let [history, control] = streams;
        HealthReport {
            up_ms,
            queue_budget_bytes: self.outbox.budget(),
            history,
            control,
            firmware: self.meter.take(),
        }
    }

    /// Returns the age of the oldest record of a stream; none if it cannot be read or has no date.
    async fn oldest_ms(&self, class: StreamClass) -> Option<u64> {
        let (tx, page) = oneshot::channel();
        let reply = move |page| {
            // The task may no longer wait.
            let _ = tx.send(page);
        };
        self.outbox.peek(class, 1, ITEMS, 1, reply);
        let page = timeout(READ, page).await.ok()?.ok()?.ok()?;
        let record = page.items.into_iter().find_map(|item| match item {
            Item::Record { record, .. } => Some(record),
            Item::Hole { .. } => None,
        });
        let mut record = record?;
        if let Some(clock) = self.outbox.clock() {
            clock.date(&mut record);
        }
        let at_ms = made_at_ms(&record)?;
        Some(self.outbox.now_ms().saturating_sub(at_ms).min(MAX_HEALTH_NUMBER))
    }
}

/// Returns the time at which a record was made; none if it is unreadable or its date is a guess.
fn made_at_ms(record: &[u8]) -> Option<u64> {
    let raw: &RawValue = serde_json::from_slice(record).ok()?;
    match Record::decode(raw).ok()? {
        Record::Message(Message {
            at_error_ms: Some(_), ..
        }) => None,
        Record::Message(Message { at_ms, .. })
        | Record::Result(CommandResult { at_ms, .. })
        | Record::Log(LogLine { at_ms, .. }) => Some(at_ms),
        Record::Report(report) => match report {
            Report::Firmware(report) => Some(report.at_ms),
            Report::Config(report) => Some(report.at_ms),
            Report::Update(report) => Some(report.at_ms),
            Report::Developer(report) => Some(report.at_ms),
            Report::Facts(_) => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use iottly_protocol::Level;

    use super::*;
    use crate::clock::unix_ms;
    use crate::outbox::SledQueue;

    fn line(at_ms: u64) -> Vec<u8> {
        Record::Log(LogLine {
            level: Level::Info,
            text: "a line".to_owned(),
            at_ms,
            firmware: None,
        })
        .encode()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_report_counts_what_waits_and_is_followed_by_one_about_the_empty_queue() {
        let dir = tempfile::tempdir().expect("dir");
        let (queue, _) = SledQueue::open(&dir.path().join("queue")).expect("queue");
        let (outbox, _thread) = Outbox::start(Box::new(queue), "queue-test", ()).expect("thread");
        let hour_ago = unix_ms() - 3_600_000;
        for _ in 0..12 {
            let offered = outbox.offer_durable(StreamClass::Control, line(hour_ago));
            offered.expect("room").await.expect("answered").expect("stored");
        }
        let (task, mut port) = HealthTask::new(outbox.clone(), Meter::new());
        let running = tokio::spawn(task.run());
        port.link.send(true).await.expect("runs");
        let next = async |port: &mut HealthPort| {
            let changed = timeout(Duration::from_secs(20), port.reports.changed());
            changed.await.expect("in time").expect("runs");
            let bytes = port.reports.borrow_and_update().clone();
            let HealthMessage::Report(report) = HealthMessage::decode(&bytes).expect("a report");
            report
        };
        let first = next(&mut port).await;
        assert_eq!((first.control.waiting, first.history.waiting), (12, 0));
        let age = first.control.oldest_ms.expect("dated");
        assert!((3_600_000..3_660_000).contains(&age), "{age}");
        assert!(first.control.bytes > 0 && first.queue_budget_bytes > 0);
        assert_eq!((first.history.oldest_ms, first.firmware), (None, None));
        outbox.ack(StreamClass::Control, 12);
        let second = next(&mut port).await;
        assert_eq!((second.control.waiting, second.control.oldest_ms), (0, None));
        assert!(second.up_ms >= first.up_ms + 10_000, "not at once");
        drop(port);
        running.await.expect("ends with the link");
        outbox.stop();
    }

    #[test]
    fn a_guessed_date_is_no_age() {
        let message = |rest: &str| {
            format!(r#"{{"message":{{"type":"userdefined","at_ms":5,{rest}"payload":{{}}}}}}"#).into_bytes()
        };
        assert_eq!(made_at_ms(&message("")), Some(5));
        assert_eq!(made_at_ms(&message(r#""at_error_ms":100,"#)), None);
        assert_eq!(made_at_ms(b"rubbish"), None);
    }
}
