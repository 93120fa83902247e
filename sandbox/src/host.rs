use std::sync::Arc;

use iottly_boards::Board;
use iottly_manifest::Interface;
use iottly_protocol::Level;

use crate::{Fault, StateStore, Waker};

/// What a firmware may ask of its device; the agent implements it.
///
/// All methods are called on the thread that calls the [`Instance`](crate::Instance). Time spent inside them
/// does not count against the firmware's budget, so an implementation bounds its own waiting.
pub trait Host: Send {
    /// Takes a message for the cloud.
    ///
    /// # Errors
    /// A [`Fault`] that the firmware sees: [`Fault::Limit`] when the queue is full, [`Fault::Io`] when it
    /// cannot be written.
    fn send(&mut self, message: Outgoing) -> Result<(), Fault>;

    /// Takes a line of the firmware's log, already cut to [`Limits::log_bytes`](crate::Limits::log_bytes) and
    /// within the line rate.
    fn log(&mut self, level: Level, text: &str);

    /// Wall-clock time, unix milliseconds.
    fn now_ms(&mut self) -> u64;

    /// The board that the firmware sits on; none where there is none, which is also the answer unless an
    /// implementation says otherwise.
    fn board(&self) -> Option<Arc<dyn Board>> {
        None
    }

    /// The device's policy: whether it lets the firmware have a label that its manifest asks for. By default
    /// it does; what the board does not have cannot be had anyway.
    fn grants(&self, interface: Interface, label: &str) -> bool {
        let _ = (interface, label);
        true
    }

    /// Where the firmware's state is kept; none by default, and then a firmware that asks gets
    /// [`Fault::Unsupported`].
    fn state(&mut self) -> Option<&mut dyn StateStore> {
        None
    }

    /// The JSON text of a setting that the cloud keeps for this device; none by default.
    fn setting(&self, key: &str) -> Option<String> {
        let _ = key;
        None
    }

    /// The version of the settings, at most 2^53 - 1; none while there are none, and by default.
    fn settings_version(&self) -> Option<u64> {
        None
    }

    /// The device's name: its id in the cloud, `local` by default.
    fn device(&self) -> String {
        "local".to_owned()
    }

    /// Called from any thread when an event waits for the firmware, so that whoever sleeps between two calls
    /// can look at [`Instance::deliver`](crate::Instance::deliver). None by default.
    fn waker(&self) -> Option<Waker> {
        None
    }
}

/// A message of the firmware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Name the firmware files the message under; never empty.
    pub channel: Option<String>,
    /// JSON text of one object, valid, within [`Limits::payload_bytes`](crate::Limits::payload_bytes) and
    /// [`Limits::payload_depth`](crate::Limits::payload_depth), as the firmware wrote it but for
    /// half surrogate pairs, which became U+FFFD.
    pub payload: String,
    /// Whether the call returns only after the message is on disk.
    pub durable: bool,
}
