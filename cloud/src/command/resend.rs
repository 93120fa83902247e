//! Sending a device's open commands again after its hello, page by page.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use iottly_protocol::{CommandId, DeviceId};
use tokio::sync::Semaphore;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::CommandService;
use iottly_core::command::MAX_VALUES_BYTES;
use iottly_core::model::{CommandRecord, CommandStatus, Scope, UnixMs};
use iottly_store::{PAGE_COMMANDS, StoreError};

/// Bytes of commands' values that are read and sent per page; a single command may be larger.
const PAGE_BYTES: usize = 512 << 10;
/// Maximum wait of the next page for the device's report about the previous one.
const REPORT_WAIT: Duration = Duration::from_secs(30);
/// Number of pages that a device may leave unreported; later ones wait for its next hello.
const SILENT_PAGES: usize = 4;
/// Pause after a page that the device had reported earlier, because no report will follow it.
const PAUSE: Duration = Duration::from_millis(200);

/// Devices whose open commands are being sent, with the number of tasks that do so.
pub(super) type Sending = Mutex<HashMap<DeviceId, usize>>;

/// Marks a device, while held, as being sent its open commands: a new command then waits behind them.
struct Mark<'s> {
    sending: &'s Sending,
    device: DeviceId,
}

/// Reason for the end of a resend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Everything was sent.
    All,
    /// The device is offline or does not report; the rest waits for its next hello.
    Silence,
}

impl<'s> Mark<'s> {
    fn new(sending: &'s Sending, device: DeviceId) -> Self {
        *lock(sending).entry(device).or_default() += 1;
        Self { sending, device }
    }
}

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        let mut sending = lock(self.sending);
        let left = sending
            .get(&self.device)
            .copied()
            .unwrap_or_default()
            .saturating_sub(1);
        if left == 0 {
            sending.remove(&self.device);
        } else {
            sending.insert(self.device, left);
        }
    }
}

fn lock(sending: &Sending) -> MutexGuard<'_, HashMap<DeviceId, usize>> {
    sending.lock().unwrap_or_else(PoisonError::into_inner)
}

impl CommandService {
    /// Returns true if older commands are being sent to a device.
    pub(super) fn is_resending(&self, device: DeviceId) -> bool {
        lock(&self.sending).contains_key(&device)
    }

    /// Sends every open command of a device again, oldest first; the device runs each id once. Called after a
    /// hello.
    ///
    /// Commands are sent page by page: the next page is read when the device has reported the previous one,
    /// so that a device that does not read holds one page in memory and not everything that waits for it.
    /// `places` bounds the number of devices that are served at the same time.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn resend(&self, scope: Scope, places: &Semaphore) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let mark = Mark::new(&self.sending, scope.device);
            let end = self.resend_after(scope, places, &mut after).await?;
            drop(mark);
            // A command may have been stored after the last query and before the mark was removed: its sender
            // left it to this task.
            if end == End::Silence || self.commands.open_page(scope, after, 1).await?.is_empty() {
                return Ok(());
            }
        }
    }

    async fn resend_after(
        &self,
        scope: Scope,
        places: &Semaphore,
        after: &mut Option<(UnixMs, CommandId)>,
    ) -> Result<End, StoreError> {
        let (mut reports, mut silent) = (self.reports.subscribe(), 0);
        while silent < SILENT_PAGES && self.broker.is_connected(scope.device).await {
            let new = {
                let Ok(_place) = places.acquire().await else {
                    return Ok(End::Silence);
                };
                let page = self.commands.open_page(scope, *after, PAGE_BYTES).await?;
                let Some(last) = page.last() else {
                    return Ok(End::All);
                };
                *after = Some((last.created, last.id));
                let new = self.send_page(scope, &page).await?;
                let bytes: usize = page.iter().map(|command| command.values.get().len()).sum();
                if page.len() < PAGE_COMMANDS && bytes + MAX_VALUES_BYTES <= PAGE_BYTES {
                    return Ok(End::All);
                }
                new
            };
            match new {
                Some(id) => silent += usize::from(!self.heard_of(scope, id, &mut reports).await?),
                None => tokio::time::sleep(PAUSE).await,
            }
        }
        Ok(End::Silence)
    }

    /// Sends a page; returns the last command in it that the device has not reported yet.
    async fn send_page(&self, scope: Scope, page: &[CommandRecord]) -> Result<Option<CommandId>, StoreError> {
        let mut new = None;
        for command in page {
            if !command.cancelling {
                let sent = self.dispatch(command).await?;
                if sent && matches!(command.status, CommandStatus::Queued | CommandStatus::Sent) {
                    new = Some(command.id);
                }
            } else if self.send_cancel(scope, command.id).await && command.status == CommandStatus::Sent {
                self.commands
                    .withdraw_command(scope, command.id, self.time.wall())
                    .await?;
                self.reported(command.id);
            }
        }
        Ok(new)
    }

    /// Waits for the device's report about a command. Returns false if there is none in time.
    async fn heard_of(
        &self,
        scope: Scope,
        id: CommandId,
        reports: &mut Receiver<CommandId>,
    ) -> Result<bool, StoreError> {
        let deadline = Instant::now() + REPORT_WAIT;
        loop {
            match tokio::time::timeout_at(deadline, reports.recv()).await {
                Ok(Ok(reported)) if reported == id => return Ok(true),
                Ok(Ok(_)) => continue,
                // Reports were missed: query the store.
                Ok(Err(RecvError::Lagged(_))) if !self.is_new(scope, id).await? => return Ok(true),
                Ok(Err(RecvError::Lagged(_))) => continue,
                Ok(Err(RecvError::Closed)) => return Ok(false),
                Err(_) => return Ok(!self.is_new(scope, id).await?),
            }
        }
    }

    async fn is_new(&self, scope: Scope, id: CommandId) -> Result<bool, StoreError> {
        let record = self.commands.command(scope, id).await?;
        Ok(record.is_some_and(|record| matches!(record.status, CommandStatus::Queued | CommandStatus::Sent)))
    }
}
