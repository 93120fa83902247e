//! Settings of a device: the desired ones and the ones that the device acknowledged.

use iottly_protocol::DeviceConfig;

use super::UnixMs;

/// Settings of a device: the desired ones, and the last acknowledgement.
#[derive(Debug, Clone)]
pub struct SettingsState {
    /// Settings that were set last, and the time; none before the first.
    pub desired: Option<(DeviceConfig, UnixMs)>,
    /// Last acknowledgement of the device.
    pub acknowledged: Option<AcknowledgedSettings>,
}

/// Acknowledgement of the device that its firmware reads these settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcknowledgedSettings {
    /// Version of the settings.
    pub version: u64,
    /// Time at which the cloud received the acknowledgement.
    pub at: UnixMs,
}
