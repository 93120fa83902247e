//! Start and stop of an agent: opens the data folder, wires the parts and ends them in order.

mod engine;
mod error;
mod firmware;
mod open;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};

use iottly_protocol::board::CAN_SHOW_BOARD;
use iottly_protocol::enroll::CAN_ENROLL;
use iottly_protocol::{BootId, DeviceId, Secret, Versions};
use iottly_sandbox::Runtime;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use self::engine::{open_cache, warm, warm_in_background, warm_into};
use self::firmware::{board, policy, start_guest, start_update};
use self::open::Opened;
use crate::board_view::BoardView;
use crate::config::{AgentConfig, Compiler, ProxyAddress};
use crate::datadir::DataDir;
use crate::enroll::PENDING_FILE;
use crate::guest::{Guest, Meter, Ports};
use crate::health::HealthTask;
use crate::identity::IdentityStore;
use crate::inbox;
use crate::link::{self, Delivery, Endpoint, Links, Route, Trust};
use crate::outbox::Outbox;
use crate::renewal::Renewal;
use crate::settings::SettingsTask;
use crate::status::{AgentStatus, StatusBoard};
use crate::threads::ended;
use crate::time::BoardClock;
use crate::update::UpdateThread;
use crate::watchdog::{self, Watched};
use crate::work::GuestEvent;
use iottly_protocol::release::FIRMWARE_ABI;

pub use self::error::AgentError;

/// Maximum number of commands between link and inbox.
const DELIVERIES: usize = 256;
/// Maximum number of events between the firmware's thread and the inbox.
const GUEST_EVENTS: usize = 64;
/// Maximum time for each part to stop.
const GUEST_STOP: Duration = Duration::from_millis(1500);
const LINK_STOP: Duration = Duration::from_secs(2);
const OUTBOX_STOP: Duration = Duration::from_secs(2);
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
    watched: Watched,
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

    /// Compiles the script engine into the cache of a device, unless that was done before, so that its first script does
    /// not wait for it. Returns the engine's digest. Blocks.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub fn warm(config: &AgentConfig) -> Result<String, AgentError> {
        warm(config)
    }

    /// Compiles the script engine into a folder that is installed with the program, as `iottly-compiled` beside it. Returns
    /// the engine's digest. Blocks.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub fn warm_into(dir: &Path, compiler: &Compiler) -> Result<String, AgentError> {
        warm_into(dir, compiler)
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
            open::open(&opening)
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

        let mut watched = Watched::default();
        outbox.watched_by(watched.part("queue"));

        // 2. The firmware and its updates. Both send to the inbox, which therefore starts after its channel
        //    exists.
        let status = StatusBoard::new();
        let (stop, stopped) = watch::channel(false);
        let (delivery_tx, deliveries) = mpsc::channel::<Delivery>(DELIVERIES);
        let (guest_tx, guest_rx) = mpsc::channel::<GuestEvent>(GUEST_EVENTS);
        let meter = Meter::new();
        let ports = Ports {
            meter: meter.clone(),
            outbox: outbox.clone(),
            inbox: guest_tx,
            status: status.clone(),
        };
        let (settings_tx, latest) = watch::channel(None);
        let settings_task = SettingsTask::open(config.data_dir.join("settings.json"), outbox.clone(), latest);
        // Without firmware and without updates nothing is ever compiled.
        let cache = if config.firmware.is_some() || config.updates.is_some() {
            let cache = Arc::new(open_cache(&config)?);
            warm_in_background(&config, Arc::clone(&cache), runtime.clone(), status.subscribe());
            Some(cache)
        } else {
            None
        };
        let (board, policy) = (board(&config), policy(&config));
        let view = board
            .as_ref()
            .filter(|_| policy.allows_view())
            .and_then(BoardView::of);
        let guest = start_guest(
            &config,
            runtime,
            cache.as_ref(),
            settings_task.settings(),
            (ports, mailbox.clone(), requests),
            (board, policy),
            &mut watched,
        )
        .await?;
        let (secret_tx, secret) = watch::channel(config.secret.clone());
        let update = start_update(
            &config,
            runtime,
            cache,
            mailbox,
            &outbox,
            secret.clone(),
            &mut watched,
        )?;
        // Ends with the link, which holds the other end of the channel.
        tokio::spawn(settings_task.run());
        // 3. The inbox, then the link, which delivers to all of them.
        let inputs = inbox::Inputs {
            deliveries,
            guest: guest_rx,
            stop: stopped.clone(),
            part: watched.part("inbox"),
        };
        let inbox = tokio::spawn(inbox.run(inputs));

        let proxy = config.proxy.clone().or_else(ProxyAddress::of_environment);
        let clock = outbox
            .clock()
            .expect("the agent's queue is dated by the board's clock")
            .clone();
        let trust = config.ca.as_deref().map_or(Trust::Public, Trust::File);
        let route =
            Route::new(&config.broker, trust, proxy.as_ref(), clock.clone()).map_err(AgentError::System)?;
        let refused = Arc::new(Notify::new());
        if config.enrolled {
            // Ends with the agent.
            tokio::spawn(
                renewal(
                    &config.data_dir,
                    route.clone(),
                    clock,
                    secret_tx,
                    Arc::clone(&refused),
                    stopped.clone(),
                )?
                .run(),
            );
        }
        let endpoint = Endpoint {
            route,
            device: config.device_id,
            secret,
            refused,
            hardware: crate::enroll::hardware(),
            copy_mark: config.data_dir.join(crate::enroll::COPY_FILE),
            capabilities: [
                (!config.enrolled).then_some(CAN_ENROLL),
                view.as_ref().map(|_| CAN_SHOW_BOARD),
            ]
            .into_iter()
            .flatten()
            .map(str::to_owned)
            .collect(),
        };
        let board = view.map(|(view, port)| {
            // Ends with the link, which holds the other end of the channel.
            tokio::spawn(view.run());
            port
        });
        let (reports, health) = HealthTask::new(outbox.clone(), meter);
        // Ends with the link, which holds the other end of the channel.
        tokio::spawn(reports.run());
        let links = Links {
            board,
            health,
            outbox: outbox.clone(),
            inbox: delivery_tx,
            status: status.clone(),
            settings: settings_tx,
            directives: update.as_ref().map(UpdateThread::directives),
            stop: stopped,
            part: watched.part("link"),
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
                watched,
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
            watched,
        } = parts;
        // Parts that end make no more progress.
        drop(watched);
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

/// Returns the task that renews the secret of an enrolled board.
fn renewal(
    data: &Path,
    route: Route,
    clock: BoardClock,
    secret: watch::Sender<Secret>,
    refused: Arc<Notify>,
    stop: watch::Receiver<bool>,
) -> Result<Renewal, AgentError> {
    let (store, identity) = IdentityStore::open(data)?;
    let gone = || io::Error::other("the identity was removed while the agent started");
    Ok(Renewal {
        store,
        identity: identity.ok_or_else(|| AgentError::System(gone()))?,
        route,
        clock,
        pending: data.join(PENDING_FILE),
        secret,
        refused,
        stop,
    })
}

fn versions() -> Versions {
    Versions {
        agent: env!("CARGO_PKG_VERSION").to_owned(),
        runtime: iottly_sandbox::RUNTIME_VERSION.to_owned(),
        firmware_abi: FIRMWARE_ABI.to_owned(),
    }
}
