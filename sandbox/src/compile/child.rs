//! The compile child: a confined process that turns one component into machine code.

use std::io::Read;
use std::process::ExitCode;

use iottly_child::{Bounds, Failure};

use super::{ANY_PROCESSOR_VAR, ENGINE_VAR};
use crate::engine::{self, Backend, Processor};
use iottly_protocol::limits::MAX_COMPONENT_BYTES;

/// Bounds of the child. A script firmware needs 56 MiB; large generated code several times that. Input and
/// output are open at its start, and the cache's folder holds the key that seals compiled code: so the child
/// gets no folder at all.
const BOUNDS: Bounds<'static> = Bounds {
    cpu_s: 90,
    data_bytes: 384 << 20,
    file_bytes: 256 << 20,
    folder: None,
};

/// Runs the compile child's whole life: a component on standard input, machine code on standard output,
/// reasons on standard error.
///
/// Has to be called before anything else in `main`: it limits the whole process.
#[must_use]
pub fn compile_child() -> ExitCode {
    iottly_child::main(BOUNDS, || {
        let wanted = std::env::var(ENGINE_VAR).unwrap_or_default();
        let known = Backend::ALL
            .into_iter()
            .find(|backend| engine::id(*backend) == wanted);
        let backend = known.ok_or_else(|| {
            let offered = Backend::ALL.map(engine::id);
            Failure::wrong_child(format!("it compiles for {offered:?}, wanted is {wanted:?}"))
        })?;
        let mut wasm = Vec::new();
        std::io::stdin()
            .take(MAX_COMPONENT_BYTES as u64 + 1)
            .read_to_end(&mut wasm)
            .map_err(|error| Failure::failed(format!("cannot read the firmware: {error}")))?;
        let processor = match std::env::var_os(ANY_PROCESSOR_VAR) {
            Some(_) => Processor::Any,
            None => Processor::This,
        };
        compile_for(&wasm, backend, processor).map_err(Failure::bad_input)
    })
}

/// Compiles in the calling process, without limits: for trusted components and measurements only.
///
/// # Errors
/// The compiler's reason.
pub fn compile_here(wasm: &[u8], backend: Backend) -> Result<Vec<u8>, String> {
    compile_for(wasm, backend, Processor::This)
}

fn compile_for(wasm: &[u8], backend: Backend, processor: Processor) -> Result<Vec<u8>, String> {
    let engine = engine::compiling(backend, processor).map_err(|error| error.to_string())?;
    engine
        .precompile_component(wasm)
        .map_err(|error| format!("{error:#}"))
}
