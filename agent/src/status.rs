//! The agent's status: link, firmware and queue, observable at each change.

use std::sync::Arc;

use iottly_protocol::enroll::EnrollOffer;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// State of the connection to the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkState {
    /// Not connected; the next attempt waits for its time.
    Offline,
    /// Connecting, or connected and waiting for the cloud's welcome.
    Connecting,
    /// Welcomed by the cloud.
    Online,
}

/// Status of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentStatus {
    /// The connection to the cloud.
    pub link: LinkState,
    /// The firmware in the sandbox.
    pub firmware: FirmwareStatus,
    /// Records that the cloud has not acknowledged.
    pub queued: u64,
    /// Records that the cloud has refused since the start.
    pub refused: u64,
    /// Offer of the cloud to a device without a key.
    pub enroll_offer: Option<EnrollOffer>,
}

/// State of the firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FirmwareStatus {
    /// The configuration names no firmware.
    Absent,
    /// The firmware is being loaded or initialised.
    Starting,
    /// `init` has returned.
    Running,
    /// The firmware failed and waits for its restart.
    Restarting,
    /// The firmware failed too often; it is restarted once an hour.
    Quarantined,
    /// The agent has stopped the firmware.
    Stopped,
}

/// Writer of the status, shared by the parts of the agent.
#[derive(Debug, Clone)]
pub(crate) struct StatusBoard {
    status: Arc<watch::Sender<AgentStatus>>,
}

impl StatusBoard {
    pub(crate) fn new() -> Self {
        let status = AgentStatus {
            link: LinkState::Offline,
            firmware: FirmwareStatus::Absent,
            queued: 0,
            refused: 0,
            enroll_offer: None,
        };
        Self {
            status: Arc::new(watch::Sender::new(status)),
        }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<AgentStatus> {
        self.status.subscribe()
    }

    pub(crate) fn link(&self, link: LinkState, queued: u64, refused: u64) {
        self.change(|status| AgentStatus {
            link,
            queued,
            refused,
            ..status
        });
    }

    pub(crate) fn offered(&self, offer: EnrollOffer) {
        self.change(|status| AgentStatus {
            enroll_offer: Some(offer),
            ..status
        });
    }

    pub(crate) fn firmware(&self, firmware: FirmwareStatus) {
        self.change(|status| AgentStatus { firmware, ..status });
    }

    fn change(&self, change: impl FnOnce(AgentStatus) -> AgentStatus) {
        self.status.send_if_modified(|status| {
            let changed = change(*status);
            std::mem::replace(status, changed) != changed
        });
    }
}
