//! The device as a firmware sees it. An interface only.

use std::sync::Arc;

use iottly_boards::Board;
use iottly_manifest::Interface;
use iottly_protocol::Level;

use crate::{Fault, StateStore, Waker};

/// Services of the device for its firmware; the agent implements it.
///
/// All methods are called on the thread that calls the [`Instance`](crate::Instance). Time spent inside them
/// does not count against the firmware's budget, so an implementation bounds its own waiting.
pub trait Host: Send {
    /// Accepts a message for the cloud.
    ///
    /// # Errors
    /// A [`Fault`] that the firmware sees: [`Fault::Limit`] if the queue is full, [`Fault::Io`] if it cannot
    /// be written.
    fn send(&mut self, message: Outgoing) -> Result<(), Fault>;

    /// Accepts a line of the firmware's log, already cut to [`Limits::log_bytes`](crate::Limits::log_bytes)
    /// and within the line rate.
    fn log(&mut self, level: Level, text: &str);

    /// Returns the wall-clock time in unix milliseconds.
    fn now_ms(&mut self) -> u64;

    /// Returns the board that the firmware runs on; none if there is none, and by default.
    fn board(&self) -> Option<Arc<dyn Board>> {
        None
    }

    /// Returns true if the device's policy grants the firmware a label that its manifest names. Grants all by
    /// default; labels that the board does not have fail anyway.
    fn grants(&self, interface: Interface, label: &str) -> bool {
        let _ = (interface, label);
        true
    }

    /// Returns the store of the firmware's state; none by default, and then the firmware's calls fail with
    /// [`Fault::Unsupported`].
    fn state(&mut self) -> Option<&mut dyn StateStore> {
        None
    }

    /// Returns the JSON text of a setting that the cloud keeps for this device; none by default.
    fn setting(&self, key: &str) -> Option<String> {
        let _ = key;
        None
    }

    /// Returns the version of the settings, at most 2^53 - 1; none while there are none, and by default.
    fn settings_version(&self) -> Option<u64> {
        None
    }

    /// Returns the device's name: its id in the cloud, `local` by default.
    fn device(&self) -> String {
        "local".to_owned()
    }

    /// Returns a callback for events that wait for the firmware, called from any thread, so that a driver
    /// that sleeps between two calls can check [`Instance::deliver`](crate::Instance::deliver). None by
    /// default.
    fn waker(&self) -> Option<Waker> {
        None
    }
}

/// Message of the firmware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Channel that the firmware named; never empty.
    pub channel: Option<String>,
    /// JSON text of one object, valid, within [`Limits::payload_bytes`](crate::Limits::payload_bytes) and
    /// [`Limits::payload_depth`](crate::Limits::payload_depth), as the firmware wrote it but for
    /// half surrogate pairs, which became U+FFFD.
    pub payload: String,
    /// True if the call returns only after the message is on disk.
    pub durable: bool,
}
