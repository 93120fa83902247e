//! The world `iottly:firmware` as Rust functions. The crate's other modules are easier to use.

#[cfg(target_family = "wasm")]
mod wasm;
#[cfg(target_family = "wasm")]
pub use wasm::*;

#[cfg(not(target_family = "wasm"))]
mod absent;
#[cfg(not(target_family = "wasm"))]
pub use absent::*;
