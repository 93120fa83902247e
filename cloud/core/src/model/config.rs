use iottly_protocol::DeviceConfig;

use super::UnixMs;

/// The settings of a device: what people want, and what the device says it has.
#[derive(Debug, Clone)]
pub struct ConfigState {
    /// What was set last, and when; none when nothing ever was.
    pub desired: Option<(DeviceConfig, UnixMs)>,
    /// What the device took last.
    pub taken: Option<TakenConfig>,
}

/// A device's word that it reads these settings now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakenConfig {
    /// Their version.
    pub version: u64,
    /// When the cloud heard of it.
    pub at: UnixMs,
}
