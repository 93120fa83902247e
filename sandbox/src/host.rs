use crate::Fault;

/// What a firmware may ask of its device; the agent implements it.
///
/// All methods are called on the thread that calls the [`Instance`](crate::Instance). Time spent inside them does not
/// count against the firmware's budget, so an implementation bounds its own waiting.
pub trait Host: Send {
    /// Takes a message for the cloud.
    ///
    /// # Errors
    /// A [`Fault`] that the firmware sees: [`Fault::Limit`] when the queue is full, [`Fault::Io`] when it cannot be written.
    fn send(&mut self, message: Outgoing) -> Result<(), Fault>;

    /// Takes a line of the firmware's log, already cut to [`Limits::log_bytes`](crate::Limits::log_bytes) and within the line rate.
    fn log(&mut self, level: Level, text: &str);

    /// Wall-clock time, unix milliseconds.
    fn now_ms(&mut self) -> u64;
}

/// A message of the firmware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Name the firmware files the message under; never empty.
    pub channel: Option<String>,
    /// JSON text of one object, valid, within [`Limits::payload_bytes`](crate::Limits::payload_bytes) and
    /// [`Limits::payload_depth`](crate::Limits::payload_depth), exactly as the firmware wrote it.
    pub payload: String,
    /// Whether the call returns only after the message is on disk.
    pub durable: bool,
}

/// How important a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Finest detail.
    Trace,
    /// For the author.
    Debug,
    /// Normal events.
    Info,
    /// Something unexpected that was handled.
    Warn,
    /// Something failed.
    Error,
}
