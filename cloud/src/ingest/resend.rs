//! Sends a device, after its hello, its settings, its open directive, the order of its developer lease and its open
//! commands.

use std::collections::HashMap;
use std::sync::Arc;

use iottly_protocol::DeviceId;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};

use crate::command::CommandService;
use crate::device_settings::DeviceSettingsService;
use crate::leases::Leases;
use crate::rollout::Rollouts;
use iottly_core::model::Scope;

/// Maximum number of devices that are served at the same time; each holds one page of commands in memory.
const PLACES: usize = 16;

/// Tasks that send devices their open items: one task per device; a newer hello replaces the former task.
pub(super) struct Resends {
    sender: Arc<Sender>,
    running: HashMap<DeviceId, AbortHandle>,
    tasks: JoinSet<DeviceId>,
}

struct Sender {
    commands: Arc<CommandService>,
    device_settings: Arc<DeviceSettingsService>,
    rollouts: Arc<Rollouts>,
    leases: Arc<Leases>,
    places: Semaphore,
}

impl Resends {
    pub(super) fn new(
        commands: Arc<CommandService>,
        device_settings: Arc<DeviceSettingsService>,
        rollouts: Arc<Rollouts>,
        leases: Arc<Leases>,
    ) -> Self {
        let sender = Arc::new(Sender {
            commands,
            device_settings,
            rollouts,
            leases,
            places: Semaphore::new(PLACES),
        });
        Self {
            sender,
            running: HashMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Starts sending a device its open items, from the beginning.
    pub(super) fn start(&mut self, scope: Scope, directive_counter: u64) {
        self.tidy();
        let sender = Arc::clone(&self.sender);
        let task = self.tasks.spawn(async move {
            sender.send(scope, directive_counter).await;
            scope.device
        });
        if let Some(before) = self.running.insert(scope.device, task) {
            before.abort();
        }
    }

    /// Forgets the tasks that have ended. Replaced tasks have no entry any more.
    fn tidy(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            if let Ok(device) = ended
                && self.running.get(&device).is_some_and(AbortHandle::is_finished)
            {
                self.running.remove(&device);
            }
        }
    }
}

impl Sender {
    async fn send(&self, scope: Scope, directive_counter: u64) {
        {
            let Ok(_place) = self.places.acquire().await else {
                return;
            };
            if let Err(error) = self.device_settings.send(scope).await {
                tracing::error!(device.id = %scope.device, %error, "failed to send settings; they wait for the device's next hello");
            }
            if let Err(error) = self.rollouts.on_hello(scope, directive_counter).await {
                tracing::error!(device.id = %scope.device, %error, "failed to send an open directive; it waits for the device's next hello");
            }
            if let Err(error) = self.leases.on_hello(scope).await {
                tracing::error!(device.id = %scope.device, %error, "failed to send a developer order; it waits for the device's next hello");
            }
        }
        if let Err(error) = self.commands.resend(scope, &self.places).await {
            tracing::error!(device.id = %scope.device, %error, "failed to send open commands; they wait for the device's next hello");
        }
    }
}
