//! The WIT world as Rust types. Imports are linked in `imports` without the generated code, so that lengths
//! are checked before anything is copied.
#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]

wasmtime::component::bindgen!({
    path: "wit",
    world: "firmware",
});

pub use iottly::firmware::{gpio, i2c, log, spi, telemetry, types, uart};
