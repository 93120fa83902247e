//! Starting the firmware and its updates from the configuration.

use std::sync::Arc;

use iottly_boards::Board;
use iottly_protocol::Secret;
use iottly_protocol::release::FIRMWARE_ABI;
use iottly_sandbox::{Cache, Runtime};
use tokio::sync::watch;
use tracing::error;

use super::error::AgentError;
use crate::access::{Access, Policy};
use crate::config::AgentConfig;
use crate::guest::{self, FirmwareSource, Guest, Installed, Ports, WriteBudget};
use crate::outbox::Outbox;
use crate::settings::Settings;
use crate::threads::thread_name;
use crate::update::{UpdateParts, UpdateThread};
use crate::watchdog::Watched;
use crate::work::{GuestEvent, GuestState};

/// Starts the firmware's thread, unless there can be no firmware.
pub(super) async fn start_guest(
    config: &AgentConfig,
    runtime: &Runtime,
    cache: Option<&Arc<Cache>>,
    settings: Settings,
    (ports, mailbox, requests): (Ports, guest::Mailbox, guest::MailboxReceiver),
    (board, policy): (Option<Arc<dyn Board>>, Policy),
    watched: &mut Watched,
) -> Result<Option<Guest>, AgentError> {
    // With updates configured, the update's journal determines the firmware.
    let installed = match &config.updates {
        Some(_) => Installed::Undecided,
        None => config.firmware.clone().into(),
    };
    let Some(cache) = cache.filter(|_| installed != Installed::Nothing).cloned() else {
        let absent = GuestState::Absent("no firmware is configured".to_owned());
        // The channel is empty and the caller holds its receiver.
        let _ = ports.inbox.send(GuestEvent::State(absent)).await;
        return Ok(None);
    };
    let device = config.device_id.to_string();
    let state = config.data_dir.join("firmware.state");
    let runtime = runtime.clone();
    let access = Access::new(config.grants.clone(), policy, board.clone());
    let budget = WriteBudget::new(config.queue.firmware_bytes_per_day);
    let source = FirmwareSource {
        installed,
        engine: None,
        cache,
        runtime,
        device,
        board,
        access,
        settings,
        state,
        budget,
        part: watched.part("guest"),
    };
    let name = thread_name("guest", config.device_id);
    Guest::start(source, ports, mailbox, requests, &name)
        .map(Some)
        .map_err(AgentError::System)
}

/// Returns the configured board. Without a valid profile firmware runs, and has no board.
pub(super) fn board(config: &AgentConfig) -> Option<Arc<dyn Board>> {
    let board = config.board.as_ref()?.board();
    board
        .inspect_err(|error| {
            error!(%error, "failed to read the profile of the board; firmware has no pins and buses");
        })
        .ok()
}

/// Returns the owner's policy; one that cannot be read allows nothing.
pub(super) fn policy(config: &AgentConfig) -> Policy {
    let Some(path) = &config.policy else {
        return Policy::default();
    };
    match Policy::read(path) {
        Ok(policy) => policy.unwrap_or_default(),
        Err(error) => {
            error!(%error, "failed to read the policy; firmware may use no part of the board");
            Policy::nothing()
        }
    }
}

/// Starts the update's thread, if updates are configured.
pub(super) fn start_update(
    config: &AgentConfig,
    runtime: &Runtime,
    cache: Option<Arc<Cache>>,
    mailbox: guest::Mailbox,
    outbox: &Outbox,
    secret: watch::Receiver<Secret>,
    watched: &mut Watched,
) -> Result<Option<UpdateThread>, AgentError> {
    let (Some(updates), Some(cache)) = (config.updates.clone(), cache) else {
        return Ok(None);
    };
    let name = thread_name("update", config.device_id);
    let parts = UpdateParts {
        device: config.device_id,
        config: updates,
        developer: config.developer,
        data: config.data_dir.clone(),
        factory: config.firmware.clone(),
        abi: FIRMWARE_ABI,
        cache,
        runtime: runtime.clone(),
        guest: mailbox,
        outbox: outbox.clone(),
        clock: outbox
            .clock()
            .cloned()
            .expect("the agent's queue is dated by the board's clock"),
        broker: config.broker.clone(),
        secret,
        part: watched.part("update"),
    };
    UpdateThread::start(parts, &name)
        .map(Some)
        .map_err(AgentError::System)
}
