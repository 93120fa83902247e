//! The places for firmware on a device. Touches no file.

use iottly_protocol::release::HealthRules;
use serde::{Deserialize, Serialize};

/// Place for a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    /// First slot.
    A,
    /// Second slot.
    B,
}

impl Slot {
    /// Returns the other slot.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// Firmware that the device runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Running {
    /// Firmware that the device was set up with, if any.
    Factory,
    /// Release in a slot.
    Slot(Slot),
}

/// Start of a firmware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Firmware to start.
    pub firmware: Running,
    /// Rules of its trial, if the firmware is watched.
    pub trial: Option<HealthRules>,
    /// sha256 of the engine that a script is to run on, hex; the device's own choice if there is none.
    pub engine: Option<String>,
}

impl Start {
    /// Returns the start of a firmware that is not watched.
    #[must_use]
    pub const fn unwatched(firmware: Running) -> Self {
        Self {
            firmware,
            trial: None,
            engine: None,
        }
    }
}
