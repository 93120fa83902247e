//! Compilation of a component to machine code, in a process of its own. The engine here never compiles.

#[cfg(feature = "compiler")]
mod child;

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use iottly_child::{BAD_INPUT, Job, RunError, WRONG_CHILD, run};
use tempfile::NamedTempFile;

#[cfg(feature = "compiler")]
pub use child::{compile_child, compile_here};
/// Command that starts the compiler: a program with arguments that calls `compile_child`.
pub use iottly_child::Program as CompilerProgram;

use crate::engine::{self, Backend, Processor};
use crate::{CompileError, LoadError};

/// Environment variable that names the engine of the wanted code.
const ENGINE_VAR: &str = "IOTTLY_ENGINE";
/// Environment variable that asks for code for every processor of the architecture.
const ANY_PROCESSOR_VAR: &str = "IOTTLY_ANY_PROCESSOR";
/// Wall-clock time of one compilation; a script firmware takes about a second on a PC.
const WALL: Duration = Duration::from_secs(120);

/// Compiles `wasm` with `program`. The code is in a file in `dir`, not sealed yet.
pub(crate) fn compile(
    program: &CompilerProgram,
    backend: Backend,
    processor: Processor,
    wasm: &[u8],
    dir: &Path,
) -> Result<NamedTempFile, LoadError> {
    let cache = |source| LoadError::Cache {
        path: dir.to_owned(),
        source,
    };
    let input = readable(wasm, dir).map_err(cache)?;
    let output = NamedTempFile::new_in(dir).map_err(cache)?;
    let id = engine::id(backend);
    let mut env = vec![(ENGINE_VAR, id.as_str())];
    if processor == Processor::Any {
        env.push((ANY_PROCESSOR_VAR, "1"));
    }
    let job = Job {
        input,
        output: output.as_file().try_clone().map_err(cache)?,
        dir,
        env: &env,
        wall: WALL,
    };
    let outcome = run(program, job).map_err(|error| match error {
        RunError::Start { path, source } => CompileError::Start { path, source },
        RunError::Timeout(after) => CompileError::Timeout(after),
        RunError::Wait(_) => CompileError::Failed(error.to_string()),
    })?;
    if outcome.success() {
        return Ok(output);
    }
    Err(match outcome.code().map(u8::try_from) {
        Some(Ok(BAD_INPUT)) => LoadError::Invalid(outcome.reason()),
        Some(Ok(WRONG_CHILD)) => CompileError::OtherEngine(outcome.reason()).into(),
        _ => CompileError::Failed(outcome.reason()).into(),
    })
}

/// Returns a file with these bytes and no name, open for reading only.
fn readable(bytes: &[u8], dir: &Path) -> io::Result<File> {
    let mut named = NamedTempFile::new_in(dir)?;
    named.write_all(bytes)?;
    let mut file = File::open(named.path())?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}
