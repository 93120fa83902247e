//! Waiting for the result of a command.

use std::time::Duration;

use iottly_protocol::CommandId;
use tokio::sync::broadcast::error::RecvError;

use super::CommandService;
use iottly_core::model::{CommandRecord, Scope};
use iottly_store::StoreError;

impl CommandService {
    /// Notifies waiting callers of a report about a command.
    pub fn reported(&self, id: CommandId) {
        self.metrics.command_reported(id, std::time::Instant::now());
        // An error only means that no caller waits.
        let _ = self.reports.send(id);
    }

    /// Waits until a command has a final status, at most `patience`. Returns its state then; none if there is
    /// no such command.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn settled(
        &self,
        scope: Scope,
        id: CommandId,
        patience: Duration,
    ) -> Result<Option<CommandRecord>, StoreError> {
        let mut reports = self.reports.subscribe();
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let record = self.commands.command(scope, id).await?;
            if record.as_ref().is_none_or(|record| record.status.is_final()) {
                return Ok(record);
            }
            let news = async {
                loop {
                    match reports.recv().await {
                        Ok(reported) if reported != id => {}
                        // Reports were missed, or the cloud is stopping: query the store.
                        Ok(_) | Err(RecvError::Lagged(_) | RecvError::Closed) => return,
                    }
                }
            };
            if tokio::time::timeout_at(deadline, news).await.is_err() {
                return self.commands.command(scope, id).await;
            }
        }
    }
}
