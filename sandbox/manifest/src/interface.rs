//! The interfaces of the firmware world by name.

use std::fmt;

/// Interface of `iottly:firmware` that a firmware can import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "each is named after its interface")]
pub enum Interface {
    Telemetry,
    Log,
    Clock,
    Random,
    Timers,
    State,
    Config,
    Identity,
    Gpio,
    I2c,
    Spi,
    Uart,
    Pwm,
    Adc,
}

impl Interface {
    /// All interfaces, in the order of the world.
    pub const ALL: [Self; 14] = [
        Self::Telemetry,
        Self::Log,
        Self::Clock,
        Self::Random,
        Self::Timers,
        Self::State,
        Self::Config,
        Self::Identity,
        Self::Gpio,
        Self::I2c,
        Self::Spi,
        Self::Uart,
        Self::Pwm,
        Self::Adc,
    ];

    /// Returns the name in the world, for example `gpio`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Telemetry => "telemetry",
            Self::Log => "log",
            Self::Clock => "clock",
            Self::Random => "random",
            Self::Timers => "timers",
            Self::State => "state",
            Self::Config => "config",
            Self::Identity => "identity",
            Self::Gpio => "gpio",
            Self::I2c => "i2c",
            Self::Spi => "spi",
            Self::Uart => "uart",
            Self::Pwm => "pwm",
            Self::Adc => "adc",
        }
    }

    /// Returns the interface of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|interface| interface.name() == name)
    }

    /// Returns true if the interface is to parts of the board, so that a manifest has to name their labels.
    #[must_use]
    pub const fn is_hardware(self) -> bool {
        matches!(
            self,
            Self::Gpio | Self::I2c | Self::Spi | Self::Uart | Self::Pwm | Self::Adc
        )
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
