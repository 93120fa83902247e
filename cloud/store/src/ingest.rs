//! Writes caused by devices: uploads, presence, and entries of the cloud in their histories.

use async_trait::async_trait;
use iottly_protocol::StreamId;
use serde_json::value::RawValue;

use crate::error::Result;
use iottly_core::ingest::{Outcome, Upload, Write};
use iottly_core::model::{Scope, StoredMessage, UnixMs};

/// Store operations for writes caused by devices.
#[async_trait]
pub trait IngestStore: Send + Sync + 'static {
    /// Applies writes caused by devices in one transaction; returns the outcomes in the order of the writes.
    async fn commit(&self, writes: Vec<Write>) -> Result<Vec<Outcome>>;
    /// Applies uploads of devices in one transaction; returns the outcomes in the order of the uploads.
    async fn ingest(&self, uploads: Vec<Upload>) -> Result<Vec<Outcome>> {
        self.commit(uploads.into_iter().map(Write::Upload).collect())
            .await
    }
    /// Returns the position of a stream; 0 for an unknown one.
    async fn stream_upto(&self, scope: Scope, stream: StreamId) -> Result<u64>;
    /// Records that a device went online or offline, with an entry in its history. Writes nothing if that was
    /// recorded already.
    async fn set_presence(
        &self,
        scope: Scope,
        online: bool,
        agent_version: Option<&str>,
        now: UnixMs,
    ) -> Result<Option<StoredMessage>> {
        let agent_version = agent_version.map(str::to_owned);
        let write = Write::Device {
            scope,
            at: now,
            online: Some(online),
            proof: None,
            agent_version,
        };
        Ok(self
            .commit(vec![write])
            .await?
            .pop()
            .and_then(|mut outcome| outcome.stored.pop()))
    }
    /// Writes an `iottlyagent` entry on behalf of the cloud into a device's history. Returns none when the
    /// project has no room for it.
    async fn add_agent_message(
        &self,
        scope: Scope,
        payload: Box<RawValue>,
        now: UnixMs,
    ) -> Result<Option<StoredMessage>> {
        let outcome = self
            .commit(vec![Write::Notice {
                scope,
                at: now,
                payload,
            }])
            .await?
            .pop();
        Ok(outcome.and_then(|mut outcome| outcome.stored.pop()))
    }
}
