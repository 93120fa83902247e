use std::fmt;

use super::UnixMs;

/// What a project may hold and keep; none is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Devices.
    pub devices: Option<u64>,
    /// Message definitions.
    pub definitions: Option<u64>,
    /// Messages that are taken a day, counted from midnight UTC; the rest is refused.
    pub messages_per_day: Option<u64>,
    /// Bytes of messages that are stored; beyond, messages are refused.
    pub bytes: Option<u64>,
    /// Bytes of messages that are kept; beyond, the oldest are deleted.
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

/// What a project holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Devices.
    pub devices: u64,
    /// Message definitions.
    pub definitions: u64,
    /// Messages that were taken since midnight UTC.
    pub messages_today: u64,
    /// Messages that are stored.
    pub messages: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
}

/// Messages of an hour that are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HourUsage {
    /// When it began.
    pub start: UnixMs,
    /// Bytes of the messages' payloads.
    pub bytes: u64,
}
