//! Runs firmware: WebAssembly components of the world `iottly:firmware` inside wasmtime, within written-down limits.
//!
//! The way of a firmware:
//!
//! ```text
//! Runtime::new()                         engine and clock, one for all firmwares of a process
//! Cache::open(dir, CompilerProgram)      compiled code on disk, sealed with a key of this device
//!   .load(&runtime, wasm)   -> Firmware  compiles in a child process when the cache has none
//! Firmware::start(host, limits) -> Instance
//!   .init() .handle(cmd_type, values) .tick(now_ms) .event(source, at_ns) .health() .shutdown(reason)
//! ```
//!
//! Everything blocks, so an [`Instance`] lives on a thread of its own with a stack of at least 1 MiB. The crate knows no
//! network and no cloud: what a firmware asks for goes to the [`Host`] it was started with.

mod bindings;
mod cache;
mod compile;
mod engine;
mod epoch;
mod error;
mod fault;
mod firmware;
mod guest;
mod host;
mod imports;
mod instance;
mod limits;
mod payload;
mod quota;
mod runtime;
mod trap;

pub use cache::Cache;
pub use compile::CompilerProgram;
#[cfg(feature = "compiler")]
pub use compile::{compile_child, compile_here};
pub use error::{CompileError, LoadError, RuntimeError, StartError};
pub use fault::Fault;
pub use firmware::Firmware;
pub use host::{Host, Level, Outgoing};
pub use instance::Instance;
pub use limits::Limits;
pub use runtime::Runtime;
pub use trap::{CallError, TrapCode, TrapReport};

/// Full version of the WebAssembly runtime, for people and for compatibility checks.
pub const RUNTIME_VERSION: &str = wasmtime_environ::VERSION;
