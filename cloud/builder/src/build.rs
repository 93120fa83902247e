//! A build: the source is laid out in a folder, and a confined child process makes the component there.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use iottly_child::{BAD_INPUT, Job, Outcome, RunError, run};
use tempfile::TempDir;

use crate::{BuilderProgram, Source, SourceError, diagnose, layout};

/// Environment variable with the processor time of a build, in seconds.
pub(crate) const CPU_VAR: &str = "IOTTLY_BUILD_CPU_S";

/// Reason why a script does not become firmware.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The files themselves cannot be a source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The script is wrong; the text begins with the place in the author's file: `main.js:3:5: SyntaxError: …`.
    #[error("{0}")]
    Script(String),
    /// The script's top level did not end.
    #[error(
        "main.js: the top level of the script did not end within {0:?}; long work belongs in init() or loop()"
    )]
    Endless(Duration),
    /// A compiled module cannot become firmware.
    #[error("the module is not valid firmware: {0}")]
    Module(String),
    /// A component is not firmware that a device accepts.
    #[error("the component is not valid firmware: {0}")]
    Component(String),
    /// The builder itself failed.
    #[error("cannot build the firmware: {0}")]
    Builder(String),
}

/// Time limits of a build.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// Processor time, in whole seconds; ends an endless top level. A build takes one to three seconds.
    pub cpu: Duration,
    /// Wall-clock time; longer, because a build may have to wait on a busy machine.
    pub wall: Duration,
}

/// Builds a component from `source` with the child `program`, which is killed after `deadline`.
///
/// # Errors
/// [`BuildError`], which separates faults of the author's source from failures of the platform.
pub fn build(program: &BuilderProgram, source: &Source, deadline: Duration) -> Result<Vec<u8>, BuildError> {
    build_within(
        program,
        source,
        Deadlines {
            cpu: deadline + Duration::from_secs(1),
            wall: deadline,
        },
    )
}

/// Does the same as [`build`] with a separate limit of processor time.
///
/// # Errors
/// As [`build`].
pub fn build_within(
    program: &BuilderProgram,
    source: &Source,
    deadlines: Deadlines,
) -> Result<Vec<u8>, BuildError> {
    build_in(&std::env::temp_dir(), program, source, deadlines)
}

/// Does the same as [`build_within`] with the build's own folder inside `scratch`.
///
/// # Errors
/// As [`build`].
pub fn build_in(
    scratch: &Path,
    program: &BuilderProgram,
    source: &Source,
    deadlines: Deadlines,
) -> Result<Vec<u8>, BuildError> {
    source.check()?;
    let failed = |error: io::Error| BuildError::Builder(error.to_string());
    // Without the folder's name: the reason is shown to the requester of the build.
    let unwritable = |error: io::Error| {
        BuildError::Builder(format!(
            "cannot create a folder for temporary files: {}",
            error.kind()
        ))
    };
    let dir = tempfile::Builder::new()
        .prefix("iottly-build-")
        .tempdir_in(scratch)
        .map_err(unwritable)?;
    layout::write(source, dir.path()).map_err(failed)?;
    let outcome = start(program, &dir, deadlines).map_err(failed)?;
    match outcome {
        Ok(outcome) if outcome.success() => std::fs::read(dir.path().join("firmware.wasm")).map_err(failed),
        Ok(outcome) if outcome.code() == Some(i32::from(BAD_INPUT)) => Err(BuildError::Script(
            diagnose::script(&outcome.stderr, source, dir.path()),
        )),
        Ok(outcome) if outcome.out_of_time() => Err(BuildError::Endless(deadlines.cpu)),
        Ok(outcome) => Err(BuildError::Builder(diagnose::without_paths(
            &outcome.reason(),
            dir.path(),
        ))),
        Err(RunError::Timeout(after)) => Err(BuildError::Endless(after)),
        Err(error) => Err(BuildError::Builder(error.to_string())),
    }
}

fn start(
    program: &BuilderProgram,
    dir: &TempDir,
    deadlines: Deadlines,
) -> io::Result<Result<Outcome, RunError>> {
    let cpu_s = deadlines.cpu.as_secs().to_string();
    let job = Job {
        input: File::open("/dev/null")?,
        output: File::create_new(dir.path().join("firmware.wasm"))?,
        dir: dir.path(),
        env: &[(CPU_VAR, &cpu_s), ("TMPDIR", ".")],
        wall: deadlines.wall,
    };
    Ok(run(program, job))
}
