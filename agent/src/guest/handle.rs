//! Handle of the firmware's thread.

use std::time::Duration;
use std::{io, thread};

use super::mailbox::{Mailbox, MailboxReceiver};
use super::source::{FirmwareSource, Ports};
use super::supervisor::Supervisor;
use crate::threads::ended;

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
            .stack_size(iottly_sandbox::THREAD_STACK_BYTES)
            .spawn(move || supervisor.run())?;
        Ok(Self { mailbox, thread })
    }

    /// Shuts the firmware down, waiting at most `deadline`. Returns `true` if the thread has ended.
    pub(crate) async fn stop(self, deadline: Duration) -> bool {
        self.mailbox.stop();
        ended(&self.thread, deadline).await
    }
}
