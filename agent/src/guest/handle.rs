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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use iottly_sandbox::{Cache, CompilerProgram, Runtime};
    use tokio::sync::mpsc;

    use super::*;
    use crate::guest::{Installed, Meter, WriteBudget, mailbox};
    use crate::outbox::{Outbox, SledQueue};
    use crate::settings::Settings;
    use crate::status::{FirmwareStatus, StatusBoard};
    use crate::watchdog::Watched;
    use crate::work::{GuestEvent, GuestState};

    /// A command that comes before the update has decided what runs, at the start or between two firmwares, waits: it does
    /// not fail because "no firmware is installed".
    #[tokio::test(flavor = "multi_thread")]
    async fn only_a_decision_makes_the_firmware_absent() {
        let dir = tempfile::tempdir().expect("dir");
        let (queue, _) = SledQueue::open(&dir.path().join("queue")).expect("queue");
        let (outbox, thread) = Outbox::start(Box::new(queue), "queue-test", ()).expect("thread");
        let compiler = CompilerProgram {
            path: "/no/compiler".into(),
            args: Vec::new(),
        };
        let status = StatusBoard::new();
        let (inbox, mut events) = mpsc::channel(8);
        let (requests, receiver) = mailbox();
        let source = FirmwareSource {
            installed: Installed::Undecided,
            engine: None,
            cache: Arc::new(Cache::open(dir.path().join("cache"), compiler).expect("cache")),
            runtime: Runtime::new().expect("runtime"),
            device: "test".to_owned(),
            board: None,
            access: crate::access::Access::default(),
            settings: Settings::default(),
            state: dir.path().join("state"),
            budget: WriteBudget::new(1 << 20),
            part: Watched::default().part("guest"),
        };
        let ports = Ports {
            outbox: outbox.clone(),
            inbox,
            status: status.clone(),
            meter: Meter::new(),
        };
        let guest = Guest::start(source, ports, requests.clone(), receiver, "guest-test").expect("thread");
        let mut seen = status.subscribe();
        let starting = seen.wait_for(|status| status.firmware == FirmwareStatus::Starting);
        starting.await.expect("the thread lives");
        assert!(events.try_recv().is_err(), "nothing was decided");

        assert!(requests.load(Installed::Nothing, None, None));
        let mut state = async || match events.recv().await.expect("the thread lives") {
            GuestEvent::State(state) => state,
            GuestEvent::Finished(..) => panic!("there was no job"),
        };
        assert_eq!(state().await, GuestState::Pending);
        assert!(matches!(state().await, GuestState::Absent(_)));

        assert!(requests.load(Installed::Undecided, None, None));
        assert_eq!(state().await, GuestState::Pending);
        let starting = seen.wait_for(|status| status.firmware == FirmwareStatus::Starting);
        starting.await.expect("the thread lives");
        assert!(events.try_recv().is_err(), "nothing was decided");

        assert!(guest.stop(Duration::from_secs(10)).await);
        outbox.stop();
        assert!(ended(&thread, Duration::from_secs(10)).await);
    }
}
