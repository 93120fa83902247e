//! The one engine configuration: whoever compiles and whoever runs must agree on it.

use sha2::{Digest, Sha256};
use wasmtime::{Config, Engine};

use crate::RuntimeError;

/// Bytes of stack a firmware may use; recursion beyond it traps.
pub(crate) const WASM_STACK_BYTES: usize = 256 << 10;

/// Version of [`config`]: raised whenever a setting changes, so that code compiled before is compiled again.
const PROFILE: u32 = 1;

/// Names the engine exactly: wasmtime's full version (a patch release may fix a compiler bug), our settings, the target.
pub(crate) fn id() -> String {
    format!(
        "wasmtime {} profile {PROFILE} stack {WASM_STACK_BYTES} {}-{}",
        wasmtime_environ::VERSION,
        std::env::consts::ARCH,
        std::env::consts::OS
    )
}

/// Name of the compiled form of a component for this engine, 64 hex digits.
pub(crate) fn cache_key(digest: &str) -> String {
    hex(&Sha256::new().chain_update(digest).chain_update("\n").chain_update(id()).finalize())
}

pub(crate) fn create() -> Result<Engine, RuntimeError> {
    Engine::new(&config()).map_err(|error| RuntimeError(format!("{error:#}")))
}

fn config() -> Config {
    let mut config = Config::new();
    config.wasm_component_model(true);
    config.epoch_interruption(true);
    config.max_wasm_stack(WASM_STACK_BYTES);
    config
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}
