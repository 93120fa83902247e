use std::io::{Read, Write};
use std::process::ExitCode;

use iottly_child::{BAD_INPUT, Bounds, PROBE_VAR, WRONG_CHILD, confine, probe};

use super::ENGINE_VAR;
use crate::engine::{self, Backend};
use iottly_protocol::limits::MAX_COMPONENT_BYTES;

/// A script firmware needs 56 MiB; large generated code several times that. Input and output are open when it
/// starts, and the cache's folder holds the key that vouches for compiled code: so no folder at all.
const BOUNDS: Bounds<'static> = Bounds {
    cpu_s: 90,
    data_bytes: 384 << 20,
    file_bytes: 256 << 20,
    folder: None,
};

/// The compile child's whole life: a component on standard input, machine code on standard output, reasons on
/// standard error.
///
/// Call it before anything else in `main`: it limits the whole process.
#[must_use]
pub fn compile_child() -> ExitCode {
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, reason)) => {
            // A parent that went away does not read it either.
            let _ = writeln!(std::io::stderr(), "{reason}");
            ExitCode::from(code)
        }
    }
}

fn work() -> Result<(), (u8, String)> {
    const FAILED: u8 = 70;
    confine(BOUNDS).map_err(|error| (FAILED, format!("cannot limit the process: {error}")))?;
    if std::env::var_os(PROBE_VAR).is_some() {
        return std::io::stdout()
            .write_all(probe().as_bytes())
            .map_err(|error| (FAILED, error.to_string()));
    }
    let wanted = std::env::var(ENGINE_VAR).unwrap_or_default();
    let backend = Backend::ALL
        .into_iter()
        .find(|backend| engine::id(*backend) == wanted)
        .ok_or_else(|| {
            (
                WRONG_CHILD,
                format!(
                    "it compiles for {:?}, wanted is {wanted:?}",
                    Backend::ALL.map(engine::id)
                ),
            )
        })?;
    let mut wasm = Vec::new();
    let limit = MAX_COMPONENT_BYTES as u64 + 1;
    std::io::stdin()
        .take(limit)
        .read_to_end(&mut wasm)
        .map_err(|error| (FAILED, format!("cannot read the firmware: {error}")))?;
    let code = compile_here(&wasm, backend).map_err(|reason| (BAD_INPUT, reason))?;
    let mut out = std::io::stdout().lock();
    out.write_all(&code)
        .and_then(|()| out.flush())
        .map_err(|error| (FAILED, format!("cannot write the code: {error}")))
}

/// Compiles in this very process, without limits: only for trusted components and measurements.
///
/// # Errors
/// The compiler's reason.
pub fn compile_here(wasm: &[u8], backend: Backend) -> Result<Vec<u8>, String> {
    let engine = engine::create(backend).map_err(|error| error.to_string())?;
    engine
        .precompile_component(wasm)
        .map_err(|error| format!("{error:#}"))
}
