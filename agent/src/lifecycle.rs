//! Start and stop of an agent: opens the data folder, wires the parts and ends them in order.

use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};

use iottly_boards::{Board, VirtualBoard};
use iottly_protocol::{BootId, DeviceId, StreamClass, Versions};
use iottly_sandbox::{Cache, CompilerProgram, LoadError, Runtime, RuntimeError};
use iottly_update::put_aside;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use crate::config::{AgentConfig, BoardKind};
use crate::datadir::{DataDir, DataDirError};
use crate::folder_check;
use crate::guest::{self, FirmwareSource, Guest, Ports, WriteBudget, agent_warning};
use crate::inbox::{self, JournalError};
use crate::link::{self, Delivery, Endpoint, Links};
use crate::outbox::{OpenNote, Outbox, QueueError, SledQueue};
use crate::settings::{Settings, SettingsTask};
use crate::status::{AgentStatus, StatusBoard};
use crate::threads::ended;
use crate::time::BoardClock;
use crate::update::{UpdateParts, UpdateThread};
use crate::watchdog;
use crate::work::{GuestEvent, GuestState};

/// Maximum number of commands between link and inbox.
const DELIVERIES: usize = 256;
/// Maximum number of events between the firmware's thread and the inbox.
const GUEST_EVENTS: usize = 64;
/// Maximum time for each part to stop.
const GUEST_STOP: Duration = Duration::from_millis(1500);
const LINK_STOP: Duration = Duration::from_secs(2);
const OUTBOX_STOP: Duration = Duration::from_secs(2);
/// Version of the firmware interface that this agent offers.
const FIRMWARE_ABI: &str = "0.1.0";

/// Error of an agent's start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The data folder cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The queue cannot be used.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The command journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The sandbox cannot run here.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The cache of compiled firmware cannot be used.
    #[error(transparent)]
    Cache(#[from] LoadError),
    /// The system could not create a thread or provide random numbers.
    #[error("failed to start the agent: {0}")]
    System(io::Error),
}

/// Entry point for starting agents.
pub struct Agent;

/// Running agent. Dropping it aborts the agent; [`AgentHandle::shutdown`] stops it in order.
pub struct AgentHandle {
    device: DeviceId,
    status: watch::Receiver<AgentStatus>,
    parts: Option<Parts>,
}

/// Running parts of an agent.
struct Parts {
    data: Arc<DataDir>,
    outbox: Outbox,
    outbox_thread: thread::JoinHandle<()>,
    guest: Option<Guest>,
    update: Option<UpdateThread>,
    stop: watch::Sender<bool>,
    inbox: JoinHandle<()>,
    link: JoinHandle<()>,
}

/// Result of the blocking part of the start.
struct Opened {
    data: Arc<DataDir>,
    outbox: Outbox,
    outbox_thread: thread::JoinHandle<()>,
    inbox: inbox::Actor,
    requests: guest::MailboxReceiver,
    mailbox: guest::Mailbox,
}

impl Agent {
    /// Starts an agent with a sandbox runtime of its own.
    ///
    /// # Errors
    /// See [`AgentError`]. An unreachable broker or a failing firmware is not an error of the start; the
    /// status shows it.
    pub async fn start(config: AgentConfig) -> Result<AgentHandle, AgentError> {
        let runtime = Runtime::new()?;
        Self::start_with(config, &runtime).await
    }

    /// Starts an agent that shares its sandbox runtime with others in the process.
    ///
    /// # Errors
    /// See [`Agent::start`].
    pub async fn start_with(config: AgentConfig, runtime: &Runtime) -> Result<AgentHandle, AgentError> {
        watchdog::start().map_err(AgentError::System)?;
        // 1. What is on the disk, before anything that writes to it.
        let opening = config.clone();
        let opened = spawn_blocking(move || {
            let _step = watchdog::step("opening the data folder");
            open(&opening)
        });
        let Opened {
            data,
            outbox,
            outbox_thread,
            inbox,
            requests,
            mailbox,
        } = opened
            .await
            .map_err(|error| AgentError::System(io::Error::other(error)))??;

        // 2. The firmware and its updates. Both send to the inbox, which therefore starts after its channel
        //    exists.
        let status = StatusBoard::new();
        let (stop, stopped) = watch::channel(false);
        let (delivery_tx, deliveries) = mpsc::channel::<Delivery>(DELIVERIES);
        let (guest_tx, guest_rx) = mpsc::channel::<GuestEvent>(GUEST_EVENTS);
        let ports = Ports {
            outbox: outbox.clone(),
            inbox: guest_tx,
            status: status.clone(),
        };
        let (settings_tx, latest) = watch::channel(None);
        let settings_task = SettingsTask::open(config.data_dir.join("settings.json"), outbox.clone(), latest);
        let guest = start_guest(
            &config,
            runtime,
            ports,
            settings_task.settings(),
            mailbox.clone(),
            requests,
        )
        .await?;
        let update = start_update(&config, runtime, mailbox, &outbox)?;
        // Ends with the link, which holds the other end of the channel.
        tokio::spawn(settings_task.run());
        // 3. The inbox, then the link, which delivers to all of them.
        let inputs = inbox::Inputs {
            deliveries,
            guest: guest_rx,
            stop: stopped.clone(),
        };
        let inbox = tokio::spawn(inbox.run(inputs));

        let endpoint = Endpoint {
            host: config.broker.host,
            port: config.broker.port,
            device: config.device_id,
            secret: config.secret,
        };
        let links = Links {
            outbox: outbox.clone(),
            inbox: delivery_tx,
            status: status.clone(),
            settings: settings_tx,
            directives: update.as_ref().map(UpdateThread::directives),
            stop: stopped,
        };
        let seed = getrandom::u64().map_err(|error| AgentError::System(io::Error::other(error)))?;
        let link = tokio::spawn(link::Actor::new(endpoint, BootId::random(), versions(), seed, links).run());
        tracing::info!(device.id = %config.device_id, "agent started");
        Ok(AgentHandle {
            device: config.device_id,
            status: status.subscribe(),
            parts: Some(Parts {
                data,
                outbox,
                outbox_thread,
                guest,
                update,
                stop,
                inbox,
                link,
            }),
        })
    }
}

impl AgentHandle {
    /// Returns the id of the device.
    #[must_use]
    pub const fn device(&self) -> DeviceId {
        self.device
    }

    /// Returns a watch of the agent's status.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<AgentStatus> {
        self.status.clone()
    }

    /// Returns the queue, for message sources beside the firmware; `None` once the agent stops.
    #[must_use]
    pub fn outbox(&self) -> Option<Outbox> {
        self.parts.as_ref().map(|parts| parts.outbox.clone())
    }

    /// Stops the firmware, disconnects from the broker and closes the queue; takes a few seconds at most.
    pub async fn shutdown(mut self) {
        let Some(parts) = self.parts.take() else { return };
        let Parts {
            data,
            outbox,
            outbox_thread,
            guest,
            update,
            stop,
            inbox,
            link,
        } = parts;
        let mut clean = true;
        outbox.leave();
        if let Some(update) = update {
            clean &= update.stop(GUEST_STOP).await;
        }
        if let Some(guest) = guest {
            clean &= guest.stop(GUEST_STOP).await;
        }
        stop.send_replace(true);
        for task in [inbox, link] {
            let abort = task.abort_handle();
            if timeout(LINK_STOP, task).await.is_err() {
                abort.abort();
                clean = false;
            }
        }
        outbox.stop();
        clean &= ended(&outbox_thread, OUTBOX_STOP).await;
        if !clean {
            tracing::warn!(device.id = %self.device, "parts of the agent did not stop in time; the next start reports an unclean stop");
            return;
        }
        if let Err(error) = data.end_run() {
            tracing::warn!(device.id = %self.device, %error, "failed to mark the run as ended; the next start reports an unclean stop");
        }
    }
}

impl Drop for AgentHandle {
    fn drop(&mut self) {
        if let Some(parts) = self.parts.take() {
            parts.link.abort();
            parts.inbox.abort();
            parts.outbox.stop();
        }
    }
}

fn open(config: &AgentConfig) -> Result<Opened, AgentError> {
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
        tracing::warn!(device.id = %config.device_id, warning, description, "found losses of earlier runs; reporting them in the history");
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

async fn start_guest(
    config: &AgentConfig,
    runtime: &Runtime,
    ports: Ports,
    settings: Settings,
    mailbox: guest::Mailbox,
    requests: guest::MailboxReceiver,
) -> Result<Option<Guest>, AgentError> {
    // With updates configured, the update's journal determines the firmware.
    let wasm = config.firmware.clone().filter(|_| config.updates.is_none());
    if wasm.is_none() && config.updates.is_none() {
        let absent = GuestState::Absent("no firmware is configured".to_owned());
        // The channel is empty and the caller holds its receiver.
        let _ = ports.inbox.send(GuestEvent::State(absent)).await;
        return Ok(None);
    }
    let cache = open_cache(config)?;
    let board = config
        .board
        .map(|BoardKind::Virtual| Arc::new(VirtualBoard::standard()) as Arc<dyn Board>);
    let device = config.device_id.to_string();
    let state = config.data_dir.join("firmware.state");
    let runtime = runtime.clone();
    let grants = config.grants.clone();
    let budget = WriteBudget::new(config.queue.firmware_bytes_per_day);
    let source = FirmwareSource {
        wasm,
        cache,
        runtime,
        device,
        board,
        grants,
        settings,
        state,
        budget,
    };
    let name = thread_name("guest", config.device_id);
    Guest::start(source, ports, mailbox, requests, &name)
        .map(Some)
        .map_err(AgentError::System)
}

fn open_cache(config: &AgentConfig) -> Result<Cache, AgentError> {
    let compiler = CompilerProgram {
        path: config.compiler.program.clone(),
        args: config.compiler.args.clone(),
    };
    let dir = config.cache_dir();
    Cache::open(&dir, compiler.clone()).or_else(|error| {
        // A cache in the data folder can be rebuilt; one elsewhere may be shared.
        if !dir.starts_with(&config.data_dir) {
            return Err(error.into());
        }
        tracing::warn!(device.id = %config.device_id, %error, "failed to open the cache of compiled firmware; renaming it and starting with an empty one");
        put_aside(&dir).map_err(AgentError::System)?;
        Ok(Cache::open(&dir, compiler)?)
    })
}

fn start_update(
    config: &AgentConfig,
    runtime: &Runtime,
    mailbox: guest::Mailbox,
    outbox: &Outbox,
) -> Result<Option<UpdateThread>, AgentError> {
    let Some(updates) = config.updates.clone() else {
        return Ok(None);
    };
    let name = thread_name("update", config.device_id);
    let parts = UpdateParts {
        device: config.device_id,
        config: updates,
        data: config.data_dir.clone(),
        factory: config.firmware.clone(),
        abi: FIRMWARE_ABI,
        cache: Arc::new(open_cache(config)?),
        runtime: runtime.clone(),
        guest: mailbox,
        outbox: outbox.clone(),
        clock: outbox
            .clock()
            .cloned()
            .expect("the agent's queue is dated by the board's clock"),
    };
    UpdateThread::start(parts, &name)
        .map(Some)
        .map_err(AgentError::System)
}

/// Returns a thread name. The system cuts names to 15 bytes: the end of the id distinguishes devices.
fn thread_name(part: &str, device: DeviceId) -> String {
    let id = device.to_string();
    format!("{part}-{}", &id[id.len() - 6..])
}

fn versions() -> Versions {
    Versions {
        agent: env!("CARGO_PKG_VERSION").to_owned(),
        runtime: iottly_sandbox::RUNTIME_VERSION.to_owned(),
        firmware_abi: FIRMWARE_ABI.to_owned(),
    }
}
