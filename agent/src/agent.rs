use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};

use iottly_boards::{Board, VirtualBoard};
use iottly_protocol::release::FIRMWARE_ABI;
use iottly_protocol::{BootId, DeviceId, StreamClass, Versions};
use iottly_sandbox::{Cache, CompilerProgram, LoadError, Runtime, RuntimeError};
use iottly_update::put_aside;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use crate::config::{AgentConfig, BoardKind};
use crate::datadir::{DataDir, DataDirError};
use crate::guest::{self, FirmwareSource, Guest, Ports, WriteBudget, agent_warning};
use crate::inbox::{self, GuestEvent, GuestState, JournalError};
use crate::link::{self, Delivery, Endpoint, Links};
use crate::odd;
use crate::outbox::{OpenNote, Outbox, QueueError, SledQueue};
use crate::settings::{Keeper, Settings};
use crate::status::{AgentStatus, StatusBoard};
use crate::threads::ended;
use crate::time::BoardClock;
use crate::update::{UpdateParts, UpdateThread};
use crate::watchdog;

/// Commands between link and inbox.
const DELIVERIES: usize = 256;
/// Events between the firmware's thread and the inbox.
const GUEST_EVENTS: usize = 64;
/// How long each part may take to stop.
const GUEST_STOP: Duration = Duration::from_millis(1500);
const LINK_STOP: Duration = Duration::from_secs(2);
const OUTBOX_STOP: Duration = Duration::from_secs(2);
/// Why an agent does not start.
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
    /// The system gave no thread or no random numbers.
    #[error("cannot start the agent: {0}")]
    System(io::Error),
}

/// Starts agents.
pub struct Agent;

/// A running agent. Dropping it stops the agent without goodbye; [`AgentHandle::shutdown`] does it in order.
pub struct AgentHandle {
    device: DeviceId,
    status: watch::Receiver<AgentStatus>,
    parts: Option<Parts>,
}

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

/// What the blocking part of the start yields.
struct Opened {
    data: Arc<DataDir>,
    outbox: Outbox,
    outbox_thread: thread::JoinHandle<()>,
    inbox: inbox::Actor,
    inputs: guest::Inputs,
    jobs: guest::Jobs,
}

impl Agent {
    /// Starts an agent with a sandbox runtime of its own.
    ///
    /// # Errors
    /// See [`AgentError`]. A broker that is not there or a firmware that does not run are no errors: the
    /// status shows them.
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
            inputs,
            jobs,
        } = opened
            .await
            .map_err(|error| AgentError::System(io::Error::other(error)))??;

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
        let keeper = Keeper::open(config.data_dir.join("settings.json"), outbox.clone(), latest);
        let guest = start_guest(&config, runtime, ports, keeper.settings(), jobs.clone(), inputs).await?;
        let update = start_update(&config, runtime, jobs, &outbox)?;
        // It ends with the link, which holds the other end.
        tokio::spawn(keeper.run());
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
    /// The device that this agent is.
    #[must_use]
    pub const fn device(&self) -> DeviceId {
        self.device
    }

    /// What the agent is doing, now and at each change.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<AgentStatus> {
        self.status.clone()
    }

    /// The queue, for sources of messages beside the firmware; none once the agent stops.
    #[must_use]
    pub fn outbox(&self) -> Option<Outbox> {
        self.parts.as_ref().map(|parts| parts.outbox.clone())
    }

    /// Stops the firmware, says goodbye to the broker and closes the queue; takes a few seconds at most.
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
            tracing::warn!(device.id = %self.device, "parts of the agent did not stop in time");
            return;
        }
        if let Err(error) = data.end_run() {
            tracing::warn!(device.id = %self.device, %error, "the run could not be marked as ended");
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
    let odd = odd::tidy(&config.data_dir);
    // A full disk is no reason not to deliver what is on it.
    let clean = data.begin_run().unwrap_or_else(|error| {
        tracing::warn!(device.id = %config.device_id, %error, "the run could not be marked as begun; going on without");
        true
    });
    let (queue, notes) = SledQueue::open_with(&data.join("queue"), config.queue.policy())?;
    // Thread names are cut after 15 bytes: the end of the id tells devices apart.
    let name = config.device_id.to_string();
    let name = &name[name.len() - 6..];
    let (outbox, outbox_thread) = Outbox::start(Box::new(queue), &format!("queue-{name}"), Arc::clone(&data))
        .map_err(AgentError::System)?;
    let outbox = outbox.dated_by(BoardClock::open(data.join("clock")));
    let (jobs, inputs) = guest::channel();
    let inbox = inbox::Actor::open(&data.join("commands.journal"), outbox.clone(), jobs.clone())?;
    let mut warnings: Vec<_> = notes.iter().map(describe).collect();
    warnings.extend(odd.into_iter().map(|note| ("odd file", note)));
    if !clean {
        warnings.push((
            "unclean stop",
            "the run before this one was not ended: messages of its last milliseconds may be missing".into(),
        ));
    }
    for (warning, description) in warnings {
        tracing::warn!(device.id = %config.device_id, description, "{warning}");
        let record = agent_warning(warning, &description, outbox.now_ms());
        if let Err(error) = outbox.offer(StreamClass::History, record) {
            tracing::warn!(%error, "an agent message was not taken by the queue");
        }
    }
    Ok(Opened {
        data,
        outbox,
        outbox_thread,
        inbox,
        inputs,
        jobs,
    })
}

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
            format!("the last {count} records of the {class:?} stream are not on the disk any more"),
        ),
        OpenNote::HeadLost => (
            "queue damaged",
            "the queue's head could not be read; numbers were skipped so that none is used twice".to_owned(),
        ),
    }
}

async fn start_guest(
    config: &AgentConfig,
    runtime: &Runtime,
    ports: Ports,
    settings: Settings,
    jobs: guest::Jobs,
    inputs: guest::Inputs,
) -> Result<Option<Guest>, AgentError> {
    // With updates configured it is the journal that says which firmware runs.
    let wasm = config.firmware.clone().filter(|_| config.updates.is_none());
    if wasm.is_none() && config.updates.is_none() {
        let absent = GuestState::Absent("no firmware is configured".to_owned());
        // The channel is empty and its receiver is held by the caller.
        let _ = ports.inbox.send(GuestEvent::State(absent)).await;
        return Ok(None);
    }
    let cache = open_cache(config)?;
    let board = config
        .board
        .map(|BoardKind::Virtual| Arc::new(VirtualBoard::standard()) as Arc<dyn Board>);
    let (device, state) = (
        config.device_id.to_string(),
        config.data_dir.join("firmware.state"),
    );
    let (runtime, grants) = (runtime.clone(), config.grants.clone());
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
    let name = config.device_id.to_string();
    let name = format!("guest-{}", &name[name.len() - 6..]);
    Guest::start(source, ports, jobs, inputs, &name)
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
        // One of its own can be made anew; the start does not fail for it.
        if !dir.starts_with(&config.data_dir) {
            return Err(error.into());
        }
        tracing::warn!(device.id = %config.device_id, %error, "the cache of compiled firmware is put aside and made anew");
        put_aside(&dir).map_err(AgentError::System)?;
        Ok(Cache::open(&dir, compiler)?)
    })
}

fn start_update(
    config: &AgentConfig,
    runtime: &Runtime,
    jobs: guest::Jobs,
    outbox: &Outbox,
) -> Result<Option<UpdateThread>, AgentError> {
    let Some(updates) = config.updates.clone() else {
        return Ok(None);
    };
    let name = config.device_id.to_string();
    let name = format!("update-{}", &name[name.len() - 6..]);
    let parts = UpdateParts {
        device: config.device_id,
        config: updates,
        data: config.data_dir.clone(),
        factory: config.firmware.clone(),
        abi: FIRMWARE_ABI,
        cache: Arc::new(open_cache(config)?),
        runtime: runtime.clone(),
        jobs,
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

fn versions() -> Versions {
    Versions {
        agent: env!("CARGO_PKG_VERSION").to_owned(),
        runtime: iottly_sandbox::RUNTIME_VERSION.to_owned(),
        firmware_abi: FIRMWARE_ABI.to_owned(),
    }
}
