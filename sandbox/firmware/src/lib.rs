//! Firmware for iottly devices in Rust.
//!
//! Implement [`Firmware`], name the type in [`firmware!`](crate::firmware), and use drivers for embedded-hal
//! 1.0 as they are:
//!
//! ```
//! use iottly_firmware::prelude::*;
//!
//! struct Blink {
//!     led: gpio::Output,
//! }
//!
//! impl Firmware for Blink {
//!     fn init() -> Result<Self, Fault> {
//!         Ok(Self { led: gpio::output("led")? })
//!     }
//!
//!     fn tick(&mut self, _now_ms: u64) -> Result<Duration, Fault> {
//!         self.led.toggle()?;
//!         Ok(Duration::from_millis(500))
//!     }
//! }
//!
//! iottly_firmware::firmware!(Blink);
//! ```
//!
//! A firmware names the parts of the board that it uses in its `firmware.toml`; all others fail with
//! [`Fault::Denied`]. The crate compiles for the developer's machine as well, so that editors and `cargo
//! test` work; there everything that needs a device answers [`Fault::Unsupported`].

pub mod adc;
mod app;
pub mod bindings;
pub mod clock;
pub mod config;
mod debounce;
mod device;
mod fault;
pub mod gpio;
pub mod i2c;
pub mod identity;
pub mod log;
mod message;
pub mod pwm;
pub mod spi;
pub mod state;
pub mod timers;
pub mod uart;

pub use app::{App, Command, Event, Firmware, Source};
pub use debounce::Debounce;
pub use fault::Fault;
#[cfg(feature = "json")]
pub use message::send_msg;
pub use message::{Message, send};

/// Items that most firmwares need.
pub mod prelude {
    pub use core::time::Duration;

    pub use embedded_hal::delay::DelayNs;
    pub use embedded_hal::digital::{InputPin, OutputPin, StatefulOutputPin};
    pub use embedded_hal::i2c::I2c;
    pub use embedded_hal::pwm::SetDutyCycle;
    pub use embedded_hal::spi::SpiDevice;

    pub use crate::{
        Command, Debounce, Event, Fault, Firmware, Message, Source, adc, clock, config, gpio, i2c, identity,
        log, pwm, send, spi, state, timers, uart,
    };
    #[cfg(feature = "json")]
    pub use crate::{json, send_msg};
}

#[cfg(feature = "json")]
pub use serde_json::{self, json};

/// Makes a type that implements [`Firmware`] the firmware of this crate. To be used once per crate.
#[macro_export]
macro_rules! firmware {
    ($firmware:ty) => {
        // On the developer's machine there is no device to export to.
        #[cfg(target_family = "wasm")]
        const _: () = {
            use $crate::bindings::exports::iottly::firmware::app::{Command, Fault, Guest};

            std::thread_local! {
                static APP: $crate::App<$firmware> = const { $crate::App::new() };
            }

            struct Exports;

            impl Guest for Exports {
                fn init() -> Result<(), Fault> {
                    APP.with(|app| app.init())
                }

                fn handle(command: Command) -> Result<(), Fault> {
                    APP.with(|app| app.handle(&command.into()))
                }

                fn tick(now_ms: u64) -> Result<u32, Fault> {
                    APP.with(|app| app.tick(now_ms))
                }

                fn event(source: u32, at_ns: u64) -> Result<(), Fault> {
                    APP.with(|app| app.event(source, at_ns))
                }

                fn health() -> Result<(), Fault> {
                    APP.with(|app| app.health())
                }

                fn shutdown(reason: String) -> Result<(), Fault> {
                    APP.with(|app| app.shutdown(&reason))
                }
            }

    $crate::bindings::export!(Exports with_types_in $crate::bindings);
        };
    };
}
