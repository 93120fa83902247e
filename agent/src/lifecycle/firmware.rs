//! Starting the firmware and its updates from the configuration.

use std::sync::Arc;

use iottly_boards::{Board, VirtualBoard};
use iottly_protocol::release::FIRMWARE_ABI;
use iottly_sandbox::{Cache, CompilerProgram, Runtime};
use iottly_update::put_aside;

use super::error::AgentError;
use crate::config::{AgentConfig, BoardKind};
use crate::guest::{self, FirmwareSource, Guest, Ports, WriteBudget};
use crate::outbox::Outbox;
use crate::settings::Settings;
use crate::threads::thread_name;
use crate::update::{UpdateParts, UpdateThread};
use crate::work::{GuestEvent, GuestState};

/// Starts the firmware's thread, unless there can be no firmware.
pub(super) async fn start_guest(
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

/// Opens the cache of compiled firmware.
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

/// Starts the update's thread, if updates are configured.
pub(super) fn start_update(
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
