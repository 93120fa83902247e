//! Copies of a device: boards that log in with the same keys.

use iottly_protocol::BootId;

use super::UnixMs;

/// Decision on a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyFate {
    /// No operator has decided.
    Open,
    /// The board is the device.
    Kept,
    /// Another board was kept.
    Left,
}

/// Board that logs in as a device which other boards log in as, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceCopy {
    /// Number among the copies of the device, from 1 on.
    pub number: u32,
    /// Start of the agent's process, which distinguishes the board.
    pub boot: BootId,
    /// Hash of the serial number or machine id.
    pub hardware: Option<String>,
    /// Address of its last connection.
    pub address: String,
    /// Time at which it was heard last.
    pub seen: UnixMs,
    /// Decision on it.
    pub fate: CopyFate,
}

impl DeviceCopy {
    /// Returns the name under which people see the copy of a device with this name.
    #[must_use]
    pub fn name(&self, device: &str) -> String {
        match self.number {
            1 => device.to_owned(),
            number => format!("{device} (copy {number})"),
        }
    }
}
