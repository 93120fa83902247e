//! Limits of a project, and its usage.

use std::fmt;

use super::UnixMs;

/// Limits of a project; none for no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of devices.
    pub devices: Option<u64>,
    /// Maximum number of message definitions.
    pub definitions: Option<u64>,
    /// Maximum number of messages accepted per day, counted from midnight UTC; further ones are refused.
    pub messages_per_day: Option<u64>,
    /// Maximum bytes of stored messages; further messages are refused.
    pub bytes: Option<u64>,
    /// Maximum bytes of retained messages; above, the oldest are deleted.
    pub retention_bytes: Option<u64>,
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limits = [
            ("devices", self.devices),
            ("definitions", self.definitions),
            ("messages_per_day", self.messages_per_day),
            ("bytes", self.bytes),
            ("retention_bytes", self.retention_bytes),
        ];
        let given: Vec<_> = limits
            .iter()
            .filter_map(|(name, limit)| Some(format!("{name}: {}", (*limit)?)))
            .collect();
        f.write_str(if given.is_empty() { "none" } else { "" })?;
        f.write_str(&given.join(", "))
    }
}

/// Usage of a project.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Number of devices.
    pub devices: u64,
    /// Number of message definitions.
    pub definitions: u64,
    /// Number of messages accepted since midnight UTC.
    pub messages_today: u64,
    /// Number of stored messages.
    pub messages: u64,
    /// Bytes of the payloads of stored messages.
    pub bytes: u64,
}

/// Number of messages that were stored in a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinuteUsage {
    /// Start of the minute.
    pub start: UnixMs,
    /// Number of the messages.
    pub messages: u64,
}

/// Usage of one hour: the messages received in it that are still stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HourUsage {
    /// Start of the hour.
    pub start: UnixMs,
    /// Bytes of the messages' payloads.
    pub bytes: u64,
}
