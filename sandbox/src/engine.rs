//! The one engine configuration, on which compiler and runtime must agree.

use sha2::{Digest, Sha256};
use wasmtime::{Config, Engine};

use crate::RuntimeError;

/// Size of the stack of a firmware's code in bytes; recursion beyond it traps. The script engine ends the recursion
/// of a script earlier, with an error of the script, at a limit of its own that this size is made for.
pub(crate) const WASM_STACK_BYTES: usize = 1 << 20;

/// Version of [`config`]: raised whenever a setting changes, so that code compiled before is compiled again.
const PROFILE: u32 = 2;

/// Form of compiled firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Backend {
    /// Machine code.
    Native,
    /// Code for wasmtime's interpreter, Pulley: for processors without a code generator in the compiler, such
    /// as 32-bit ARM. Scripts run about thirty times slower than as machine code.
    Pulley,
}

impl Backend {
    /// All forms.
    #[cfg(feature = "compiler")]
    pub(crate) const ALL: [Self; 2] = [Self::Native, Self::Pulley];

    /// Returns machine code if the compiler supports this processor, code for the interpreter otherwise.
    #[must_use]
    pub const fn here() -> Self {
        if cfg!(any(
            target_arch = "x86_64",
            target_arch = "aarch64",
            target_arch = "riscv64",
            target_arch = "s390x"
        )) {
            Self::Native
        } else {
            Self::Pulley
        }
    }

    /// Returns the compiler's target; none for this machine's own.
    const fn target(self) -> Option<&'static str> {
        match self {
            Self::Native => None,
            // The interpreter's pointers are as wide as the machine's.
            Self::Pulley if cfg!(target_pointer_width = "32") => Some("pulley32"),
            Self::Pulley => Some("pulley64"),
        }
    }
}

/// Processors that compiled code is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Processor {
    /// The one of this machine, with all that it can do.
    This,
    /// Every one of this architecture.
    Any,
}

/// Returns the exact name of the engine: wasmtime's full version (a patch release may fix a compiler bug),
/// the settings here, the target.
pub(crate) fn id(backend: Backend) -> String {
    format!(
        "wasmtime {} profile {PROFILE} stack {WASM_STACK_BYTES} {}-{}",
        wasmtime_environ::VERSION,
        backend.target().unwrap_or(std::env::consts::ARCH),
        std::env::consts::OS
    )
}

/// Returns the name of a component's compiled form for this engine, 64 hex digits.
pub(crate) fn cache_key(digest: &str, backend: Backend) -> String {
    hex(&Sha256::new()
        .chain_update(digest)
        .chain_update("\n")
        .chain_update(id(backend))
        .finalize())
}

/// Creates the engine that runs code.
pub(crate) fn create(backend: Backend) -> Result<Engine, RuntimeError> {
    with_target(config(), backend.target())
}

/// Creates the engine that compiles. A target that is named, even this machine's own, stands for all processors of its
/// architecture. Code for all of them is part of an image: it comes without the table that gives each instruction its
/// place in the component, a tenth of it; traces name functions all the same.
#[cfg(feature = "compiler")]
pub(crate) fn compiling(backend: Backend, processor: Processor) -> Result<Engine, RuntimeError> {
    let any = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    match processor {
        Processor::This => with_target(config(), backend.target()),
        Processor::Any => {
            let mut config = config();
            config.generate_address_map(false);
            with_target(config, backend.target().or(Some(&any)))
        }
    }
}

fn with_target(mut config: Config, target: Option<&str>) -> Result<Engine, RuntimeError> {
    let failed = |error: wasmtime::Error| RuntimeError(format!("{error:#}"));
    if let Some(target) = target {
        config.target(target).map_err(failed)?;
    }
    Engine::new(&config).map_err(failed)
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
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a string cannot fail");
            text
        })
}
