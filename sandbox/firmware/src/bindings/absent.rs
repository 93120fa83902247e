//! The world's types and functions on a machine without a device, where every function fails.
#![allow(missing_docs, reason = "the documentation is the world's")]

pub mod iottly {
    pub mod firmware {
        pub mod types {
            #[derive(Debug, Clone, PartialEq)]
            pub enum Fault {
                Invalid(String),
                Unsupported(String),
                Denied(String),
                Busy,
                Limit(String),
                Io(String),
                Failed(String),
            }

            #[derive(Debug, Clone, PartialEq)]
            pub struct Command {
                pub name: String,
                pub values: String,
            }

            pub(super) fn none<T>() -> Result<T, Fault> {
                Err(Fault::Unsupported("this machine is not a device".to_owned()))
            }
        }

        /// Defines a resource of a device; no value of it exists.
        macro_rules! nothing {
            ($name:ident: $($method:ident($($argument:ty),*) -> $answer:ty;)*) => {
                #[derive(Debug)]
                pub enum $name {}

                impl $name {
                    $(pub fn $method(&self $(, _: $argument)*) -> $answer {
                        match *self {}
                    })*
                }
            };
        }

        /// Defines functions that fail because there is no device.
        macro_rules! refused {
            ($($name:ident($($argument:ty),*) -> $answer:ty;)*) => {
                $(pub fn $name($(_: $argument),*) -> Result<$answer, Fault> {
                    super::types::none()
                })*
            };
        }

        pub mod telemetry {
            use super::types::Fault;

            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub enum Durability {
                Buffered,
                Durable,
            }

            refused! { send(&str, Option<&str>, Durability) -> (); }
        }

        pub mod log {
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub enum Level {
                Trace,
                Debug,
                Info,
                Warn,
                Error,
            }

            pub const fn write(_: Level, _: &str) {}
        }

        pub mod clock {
            use super::types::Fault;

            refused! { delay_ns(u32) -> (); }

            #[must_use]
            pub const fn now_ms() -> u64 {
                0
            }

            #[must_use]
            pub const fn monotonic_ns() -> u64 {
                0
            }
        }

        pub mod timers {
            use super::types::Fault;

            refused! { start(u32, bool) -> u32; }

            pub const fn cancel(_: u32) {}
        }

        pub mod state {
            use super::types::Fault;

            refused! {
                get(&str) -> Option<Vec<u8>>;
                set(&str, &[u8]) -> ();
                delete(&str) -> ();
                keys(&str) -> Vec<String>;
            }
        }

        pub mod config {
            use super::types::Fault;

            refused! { get(&str) -> Option<String>; }

            #[must_use]
            pub const fn version() -> Option<u64> {
                None
            }
        }

        pub mod identity {
            #[must_use]
            pub const fn device() -> String {
                String::new()
            }

            #[must_use]
            pub const fn firmware() -> String {
                String::new()
            }

            #[must_use]
            pub const fn board() -> String {
                String::new()
            }
        }

        pub mod gpio {
            use super::types::Fault;

            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub enum Level {
                Low,
                High,
            }

            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub enum Edge {
                Rising,
                Falling,
            }

            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub enum Pull {
                None,
                Up,
                Down,
            }

            nothing! { OutputPin: set(Level) -> Result<(), Fault>; get() -> Result<Level, Fault>; toggle() -> Result<(), Fault>; }
            nothing! { InputPin: get() -> Result<Level, Fault>; watch(Edge) -> Result<u32, Fault>; }
            refused! { open_output(&str, Level) -> OutputPin; open_input(&str, Pull) -> InputPin; }
        }

        pub mod i2c {
            use super::types::Fault;

            #[derive(Debug, Clone, PartialEq)]
            pub enum Operation {
                Read(u32),
                Write(Vec<u8>),
            }

            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub enum NoAcknowledgeSource {
                Address,
                Data,
                Unknown,
            }

            #[derive(Debug, Clone, PartialEq)]
            pub enum Error {
                Bus,
                ArbitrationLoss,
                NoAcknowledge(NoAcknowledgeSource),
                Overrun,
                TimedOut,
                Other(Fault),
            }

            nothing! { Bus: transaction(u16, &[Operation]) -> Result<Vec<Vec<u8>>, Error>; }
            refused! { open(&str) -> Bus; }
        }

        pub mod spi {
            use super::types::Fault;

            #[derive(Debug, Clone, PartialEq)]
            pub enum Operation {
                Read(u32),
                Write(Vec<u8>),
                Transfer(Vec<u8>),
                DelayNs(u32),
            }

            #[derive(Debug, Clone, PartialEq)]
            pub enum Error {
                Overrun,
                ModeFault,
                FrameFormat,
                ChipSelectFault,
                TimedOut,
                Other(Fault),
            }

            nothing! { Device: transaction(&[Operation]) -> Result<Vec<Vec<u8>>, Error>; }
            refused! { open(&str) -> Device; }
        }

        pub mod uart {
            use super::types::Fault;

            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub enum Parity {
                None,
                Even,
                Odd,
            }

            #[derive(Debug, Clone, Copy, PartialEq)]
            pub struct Settings {
                pub baud: u32,
                pub parity: Parity,
                pub stop_bits: u8,
            }

            #[derive(Debug, Clone, PartialEq)]
            pub enum Error {
                Overrun,
                FrameFormat,
                Parity,
                Noise,
                TimedOut,
                Other(Fault),
            }

            nothing! { Port: write(&[u8]) -> Result<(), Error>; read(u32) -> Result<Vec<u8>, Error>; watch() -> Result<u32, Fault>; }
            refused! { open(&str, Settings) -> Port; }
        }

        pub mod pwm {
            use super::types::Fault;

            nothing! { Output: set_duty(u16) -> Result<(), Fault>; set_frequency(u32) -> Result<(), Fault>; }
            refused! { open(&str, u32) -> Output; }
        }

        pub mod adc {
            use super::types::Fault;

            nothing! { Input: read() -> Result<i32, Fault>; }
            refused! { open(&str) -> Input; }
        }
    }
}
