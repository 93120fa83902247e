//! Runs firmware: WebAssembly components of the world `iottly:firmware` in wasmtime, within fixed limits.
//!
//! From a component to its calls:
//!
//! ```text
//! Runtime::new()                         engine and clock, one for all firmwares of a process
//! Cache::open(dir, CompilerProgram)      compiled code on disk, sealed with a key of this device
//!   .with_engine(ScriptEngine)           the engine that scripts run on
//!   .load(&runtime, wasm)   -> Firmware  compiles in a child process unless the cache has the code
//! Firmware::start(host, limits) -> Instance
//!   .init() .handle(cmd_type, values) .tick(now_ms) .deliver() .health() .shutdown(reason)
//!   .next_event_at()                     time to call `deliver`: a timer or an event of the board is due
//!   .pause()                             time to wait before the next call, for the firmware's share of the processor
//! ```
//!
//! All calls block, so an [`Instance`] needs a thread of its own with a stack of [`THREAD_STACK_BYTES`]. The
//! crate knows no network and no cloud: a firmware's calls go to the [`Host`] it was started with, and those
//! for the board to the [`Board`](iottly_boards::Board) that the host names. A firmware reaches what its
//! manifest names and the host grants, nothing else.

mod bindings;
mod cache;
mod call_rate;
mod check;
mod compile;
mod engine;
mod epoch;
mod error;
mod events;
mod fault;
mod firmware;
mod guest;
mod health;
mod host;
mod imports;
mod instance;
mod limits;
mod payload;
mod profile;
mod proof;
mod quota;
mod restart;
mod runtime;
mod schedule;
mod script;
mod share;
mod state;
mod trap;
mod usage;
mod worker;

pub use cache::{Cache, ScriptEngine, install};
pub use check::CheckError;
pub use compile::CompilerProgram;
#[cfg(feature = "compiler")]
pub use compile::{compile_child, compile_here};
pub use engine::Backend;
pub use error::{CompileError, LoadError, RuntimeError, StartError};
pub use events::Waker;
pub use fault::Fault;
pub use firmware::Firmware;
pub use health::{Health, HealthVerdict};
pub use host::{Host, Outgoing};
pub use instance::Instance;
pub use iottly_manifest::{Interface, Script};
pub use iottly_protocol::Level;
pub use limits::{Limits, THREAD_STACK_BYTES};
pub use profile::requested_hardware;
pub use proof::{Kind, Proof};
pub use restart::{Cause, RestartPolicy, RestartRules, RestartVerdict};
pub use runtime::Runtime;
pub use schedule::{Call, Done, HEALTH_EVERY, Schedule, View};
pub use state::{MemoryState, StateStore};
pub use trap::{CallError, TrapCode, TrapReport};
pub use usage::Usage;

pub use iottly_child::{Confinement, descriptor_limit, raise_descriptor_limit, separate_children};

/// Full version of the WebAssembly runtime, for people and for compatibility checks.
pub const RUNTIME_VERSION: &str = wasmtime_environ::VERSION;
