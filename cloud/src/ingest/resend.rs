//! What a device gets after its hello: settings, an open directive, open commands.

use std::collections::HashMap;
use std::sync::Arc;

use iottly_protocol::DeviceId;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};

use crate::command::CommandService;
use crate::device_config::DeviceConfigs;
use crate::rollout::Rollouts;
use iottly_core::model::Scope;

/// Most devices for which something is read and sent at a time; each holds one page of commands in memory.
const PLACES: usize = 16;

/// Sends devices what is open for them: one task for each device, and a newer hello takes the place of the
/// one before.
pub(super) struct Resends {
    sender: Arc<Sender>,
    running: HashMap<DeviceId, AbortHandle>,
    tasks: JoinSet<DeviceId>,
}

struct Sender {
    commands: Arc<CommandService>,
    configs: Arc<DeviceConfigs>,
    rollouts: Arc<Rollouts>,
    places: Semaphore,
}

impl Resends {
    pub(super) fn new(
        commands: Arc<CommandService>,
        configs: Arc<DeviceConfigs>,
        rollouts: Arc<Rollouts>,
    ) -> Self {
        let sender = Arc::new(Sender {
            commands,
            configs,
            rollouts,
            places: Semaphore::new(PLACES),
        });
        Self {
            sender,
            running: HashMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Sends a device what is open for it, from the beginning.
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

    /// Forgets the tasks that have ended. Those that were superseded have no entry any more.
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
            if let Err(error) = self.configs.send(scope).await {
                tracing::error!(device = %scope.device, %error, "failed to read settings; they wait for the device's next hello");
            }
            if let Err(error) = self.rollouts.greeted(scope, directive_counter).await {
                tracing::error!(device = %scope.device, %error, "failed to read an open directive; it waits for the device's next hello");
            }
        }
        if let Err(error) = self.commands.resend(scope, &self.places).await {
            tracing::error!(device = %scope.device, %error, "failed to read open commands; they wait for the device's next hello");
        }
    }
}
