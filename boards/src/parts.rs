//! Parts that a board offers.

/// Part of a board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Interface of firmware: `gpio`, `i2c`, `spi`, `uart`, `pwm` or `adc`.
    pub interface: &'static str,
    /// Label.
    pub label: String,
    /// Second label.
    pub alias: Option<String>,
    /// Device of the system.
    pub device: String,
    /// State of the device.
    pub state: State,
}

impl Part {
    pub(crate) fn new(interface: &'static str, label: &str, device: String, state: State) -> Self {
        Self {
            interface,
            label: label.to_owned(),
            alias: None,
            device,
            state,
        }
    }
}

/// State of a part's device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Firmware can open it.
    Free,
    /// A consumer has it, or may have it.
    Used(String),
    /// Part that cannot be opened: the reason, with the step that mends it.
    Refused(String),
}
