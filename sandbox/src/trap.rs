//! Traps: why and where a firmware was stopped, in terms that do not depend on the engine.

use std::fmt;

use iottly_protocol::limits::clip;
use wasmtime::{Trap, WasmBacktrace};

use crate::Fault;

/// Maximum number of functions in a [`TrapReport`].
const MAX_FRAMES: usize = 16;
/// Maximum size of a message or function name in a [`TrapReport`], in bytes.
const MAX_TEXT: usize = 1024;

/// Reason why a call into a firmware did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The firmware returned a fault; it can be called again.
    ///
    /// [`Fault::Unsupported`] from [`Instance::handle`](crate::Instance::handle) means that there is no
    /// handler for the command.
    #[error("{0}")]
    Fault(Fault),
    /// The firmware was stopped; this instance has ended.
    #[error("{0}")]
    Trap(Box<TrapReport>),
    /// The instance trapped in an earlier call and accepts no further ones.
    #[error("the instance ended in an earlier trap: {0}")]
    Dead(TrapCode),
}

/// Description of a firmware's stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrapReport {
    /// Kind of the trap.
    pub code: TrapCode,
    /// Details for people.
    pub message: String,
    /// Export that was running: `init`, `handle`, `tick`, `event`, `health`, `shutdown`, or `start` while
    /// instantiating.
    pub export: &'static str,
    /// Names of the functions on the stack, innermost first, at most 16; offsets stand in for missing names.
    pub functions: Vec<String>,
}

impl fmt::Display for TrapReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "trap {} in {}: {}", self.code, self.export, self.message)?;
        match self.functions.first() {
            Some(function) => write!(f, " (at {function})"),
            None => Ok(()),
        }
    }
}

/// Kind of trap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TrapCode {
    /// The call used up its processor time.
    TimeBudget,
    /// The call took far longer than its processor time allows for, without using it.
    WallTime,
    /// Recursion went too deep.
    StackOverflow,
    /// The code ended itself: a panic, an abort, a failed assertion.
    Unreachable,
    /// Memory was accessed out of bounds, or could not be had at the start.
    Memory,
    /// A table was accessed out of bounds or held the wrong function.
    Table,
    /// Division by zero, integer overflow or an impossible conversion.
    Arithmetic,
    /// More was passed to the host than one call may copy.
    HostCopy,
    /// The firmware needs more instances, memories or tables than it may have.
    Resources,
    /// The firmware called the device more often than it may, through a call without an error result.
    HostCalls,
    /// The device had no memory, mapping or thread left for it: not the firmware's fault.
    Device,
    /// Every other trap.
    Other,
}

impl TrapCode {
    /// Returns the code's name in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TimeBudget => "time-budget",
            Self::WallTime => "wall-time",
            Self::StackOverflow => "stack-overflow",
            Self::Unreachable => "unreachable",
            Self::Memory => "memory",
            Self::Table => "table",
            Self::Arithmetic => "arithmetic",
            Self::HostCopy => "host-copy",
            Self::Resources => "resources",
            Self::HostCalls => "host-calls",
            Self::Device => "device",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for TrapCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reason for which the sandbox stopped a firmware; carried inside wasmtime's error.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Stopped {
    pub(crate) code: TrapCode,
    pub(crate) message: String,
    /// Names of the functions on the stack, innermost first, when they are known better than WebAssembly knows them.
    pub(crate) functions: Vec<String>,
}

impl TrapReport {
    /// Builds the report of a call that was not made, because nothing would end it.
    pub(crate) fn no_clock(error: &std::io::Error, export: &'static str) -> Self {
        Self {
            code: TrapCode::Device,
            message: format!("no thread for the clock: {error}"),
            export,
            functions: Vec::new(),
        }
    }

    /// Builds a report from wasmtime's error.
    pub(crate) fn from_error(error: &wasmtime::Error, export: &'static str) -> Self {
        let (code, message) = classify(error);
        let named = error
            .downcast_ref::<Stopped>()
            .map(|stopped| &stopped.functions)
            .filter(|functions| !functions.is_empty());
        let functions = match named {
            Some(named) => named.iter().take(MAX_FRAMES).cloned().collect(),
            None => error
                .downcast_ref::<WasmBacktrace>()
                .map(functions)
                .unwrap_or_default(),
        };
        Self {
            code,
            message: clip(&message, MAX_TEXT).to_owned(),
            export,
            functions,
        }
    }
}

fn classify(error: &wasmtime::Error) -> (TrapCode, String) {
    if let Some(stopped) = error.downcast_ref::<Stopped>() {
        return (stopped.code, stopped.message.clone());
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return (trap_code(*trap), trap.to_string());
    }
    if let Some(reason) = of_system(error) {
        return (TrapCode::Device, reason);
    }
    let root = error.root_cause().to_string();
    let code = if root.contains("too much data is being copied") {
        TrapCode::HostCopy
    } else if root.contains("resource limit exceeded") {
        TrapCode::Resources
    } else if root.contains("exceeds memory limits") || root.contains("out of bounds") {
        TrapCode::Memory
    } else {
        TrapCode::Other
    };
    (code, root)
}

/// Returns the system's reason for refusing memory, a mapping or a thread, if that is the error's cause.
pub(crate) fn of_system(error: &wasmtime::Error) -> Option<String> {
    let system = |cause: &(dyn std::error::Error + 'static)| {
        cause.is::<rustix::io::Errno>() || cause.is::<std::io::Error>()
    };
    error.chain().any(system).then(|| error.root_cause().to_string())
}

const fn trap_code(trap: Trap) -> TrapCode {
    match trap {
        Trap::StackOverflow => TrapCode::StackOverflow,
        Trap::MemoryOutOfBounds | Trap::HeapMisaligned | Trap::AllocationTooLarge => TrapCode::Memory,
        Trap::TableOutOfBounds | Trap::IndirectCallToNull | Trap::BadSignature => TrapCode::Table,
        Trap::IntegerOverflow | Trap::IntegerDivisionByZero | Trap::BadConversionToInteger => {
            TrapCode::Arithmetic
        }
        Trap::UnreachableCodeReached => TrapCode::Unreachable,
        Trap::Interrupt | Trap::OutOfFuel => TrapCode::TimeBudget,
        _ => TrapCode::Other,
    }
}

fn functions(backtrace: &WasmBacktrace) -> Vec<String> {
    let name = |frame: &wasmtime::FrameInfo| match frame.func_name() {
        Some(name) => clip(name, MAX_TEXT).to_owned(),
        None => format!(
            "function {} at {:#x}",
            frame.func_index(),
            frame.module_offset().unwrap_or_default()
        ),
    };
    backtrace.frames().iter().take(MAX_FRAMES).map(name).collect()
}
