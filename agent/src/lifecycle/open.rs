//! Opening the data folder: lock, check of its files, queue, journal, and a report of earlier faults.

use std::sync::Arc;
use std::thread;

use iottly_protocol::StreamClass;

use super::error::AgentError;
use crate::config::AgentConfig;
use crate::datadir::DataDir;
use crate::folder_check;
use crate::guest::{self, agent_warning};
use crate::inbox;
use crate::outbox::{OpenNote, Outbox, SledQueue};
use crate::threads::thread_name;
use crate::time::BoardClock;

/// Result of the blocking part of the start.
pub(super) struct Opened {
    pub(super) data: Arc<DataDir>,
    pub(super) outbox: Outbox,
    pub(super) outbox_thread: thread::JoinHandle<()>,
    pub(super) inbox: inbox::Actor,
    pub(super) requests: guest::MailboxReceiver,
    pub(super) mailbox: guest::Mailbox,
}

/// Opens the data folder and everything in it. Blocks.
pub(super) fn open(config: &AgentConfig) -> Result<Opened, AgentError> {
    let data = Arc::new(DataDir::open(&config.data_dir)?);
    let unexpected = folder_check::check(&config.data_dir);
    // On a full disk the stored messages must still be delivered.
    let clean = data.begin_run().unwrap_or_else(|error| {
        tracing::warn!(device.id = %config.device_id, %error, "failed to mark the run as begun; an unclean stop will not be noticed");
        true
    });
    let (queue, notes) = SledQueue::open_with(&data.join("queue"), config.queue.policy())?;
    let name = thread_name("queue", config.device_id);
    let (outbox, outbox_thread) =
        Outbox::start(Box::new(queue), &name, Arc::clone(&data)).map_err(AgentError::System)?;
    let outbox = outbox.dated_by(BoardClock::open(data.join("clock")));
    let (mailbox, requests) = guest::mailbox();
    let inbox = inbox::Actor::open(&data.join("commands.journal"), outbox.clone(), mailbox.clone())?;
    let mut warnings: Vec<_> = notes.iter().map(describe).collect();
    warnings.extend(unexpected.into_iter().map(|note| ("odd file", note)));
    if !clean {
        warnings.push((
            "unclean stop",
            "the previous run did not end cleanly: messages of its last milliseconds may be missing".into(),
        ));
    }
    for (warning, description) in warnings {
        tracing::warn!(device.id = %config.device_id, warning, description, "found traces of earlier faults in the data folder; reporting them in the history");
        let record = agent_warning(warning, &description, outbox.now_ms());
        if let Err(error) = outbox.offer(StreamClass::History, record) {
            tracing::warn!(device.id = %config.device_id, %error, "failed to queue an agent message; dropping it");
        }
    }
    Ok(Opened {
        data,
        outbox,
        outbox_thread,
        inbox,
        requests,
        mailbox,
    })
}

/// Returns warning and description of a loss for an agent message.
fn describe(note: &OpenNote) -> (&'static str, String) {
    match note {
        OpenNote::Quarantined { moved_to, reason } => {
            let name = moved_to.file_name().unwrap_or_default().to_string_lossy();
            (
                "queue damaged",
                format!("a part of the message queue could not be read ({reason}); it is kept as {name}"),
            )
        }
        OpenNote::Lost { class, count } => (
            "queue damaged",
            format!("the last {count} records of the {class:?} stream are missing on the disk"),
        ),
        OpenNote::HeadLost => (
            "queue damaged",
            "the queue's head could not be read; numbers were skipped so that none is assigned twice"
                .to_owned(),
        ),
    }
}
