//! Handle of the firmware's thread, and the arguments of its start.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};

use iottly_boards::Board;
use iottly_sandbox::{Cache, Runtime};
use tokio::sync::mpsc;

use super::budget::WriteBudget;
use super::mailbox::{Mailbox, MailboxReceiver};
use super::supervisor::Supervisor;
use crate::grants::Grants;
use crate::outbox::Outbox;
use crate::settings::Settings;
use crate::status::StatusBoard;
use crate::threads::ended;
use crate::work::GuestEvent;

/// Stack size of the thread, in bytes; includes the firmware's own stack.
const STACK_BYTES: usize = 2 << 20;

/// Connections of the firmware's thread to the rest of the agent.
#[derive(Clone)]
pub(crate) struct Ports {
    pub(crate) outbox: Outbox,
    pub(crate) inbox: mpsc::Sender<GuestEvent>,
    pub(crate) status: StatusBoard,
}

/// Firmware to run and the resources it gets.
pub(crate) struct FirmwareSource {
    /// File of the component; `None` until an update installs one.
    pub(crate) wasm: Option<PathBuf>,
    pub(crate) cache: Cache,
    pub(crate) runtime: Runtime,
    /// Id of the device.
    pub(crate) device: String,
    /// Board that the firmware drives.
    pub(crate) board: Option<Arc<dyn Board>>,
    /// Parts of the board that firmware may use.
    pub(crate) grants: Option<Grants>,
    /// Settings from the cloud.
    pub(crate) settings: Settings,
    /// File of the key-value state.
    pub(crate) state: PathBuf,
    /// Limit on the bytes that the firmware may make the device write.
    pub(crate) budget: WriteBudget,
}

/// Handle of the firmware's thread.
pub(crate) struct Guest {
    mailbox: Mailbox,
    thread: thread::JoinHandle<()>,
}

impl Guest {
    /// Starts the thread; `mailbox` and `requests` are the two ends of one channel.
    pub(crate) fn start(
        source: FirmwareSource,
        ports: Ports,
        mailbox: Mailbox,
        requests: MailboxReceiver,
        name: &str,
    ) -> io::Result<Self> {
        let supervisor = Supervisor::new(source, ports, mailbox.clone(), requests);
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || supervisor.run())?;
        Ok(Self { mailbox, thread })
    }

    /// Shuts the firmware down, waiting at most `deadline`. Returns `true` if the thread has ended.
    pub(crate) async fn stop(self, deadline: Duration) -> bool {
        self.mailbox.stop();
        ended(&self.thread, deadline).await
    }
}
