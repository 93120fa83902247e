//! The check of scripts in a confined child process: this program itself under a hidden command.
//!
//! The child maps the compiled engine first, which is this machine's own code, then binds itself, and only then reads the
//! script. So a script that escaped from the sandbox would find no file, no socket and no program.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use iottly_builder::{Refusal, ScriptCheck};
use iottly_child::{BAD_INPUT, Bounds, Failure, Job, Program, RunError};
use iottly_manifest::Script;
use iottly_protocol::limits::MAX_COMPONENT_BYTES;
use iottly_sandbox::{Cache, CheckError, Limits, LoadError, Runtime};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::{compiled, subprocess};

/// Environment variable with the folder of compiled code.
const CACHE_VAR: &str = "IOTTLY_CHECK_CACHE";
/// Bounds of the child. A script has 16 MiB and two seconds of processor time in the sandbox.
const BOUNDS: Bounds<'static> = Bounds {
    cpu_s: 10,
    data_bytes: 256 << 20,
    file_bytes: 1 << 20,
    folder: None,
};
/// Wall-clock time of a check. It takes milliseconds; the first one may have to wait until the engine is compiled.
const WALL: Duration = Duration::from_secs(150);

/// Checks scripts with the engine in a folder of compiled code.
pub(crate) struct ChildCheck {
    program: Program,
    cache: PathBuf,
}

impl ChildCheck {
    /// Checks with this program, and the compiled code of this process.
    ///
    /// # Errors
    /// If this program's own file cannot be found.
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            program: subprocess::checker()?,
            cache: compiled::folder(),
        })
    }

    fn start(&self, component: &[u8]) -> io::Result<Result<iottly_child::Outcome, RunError>> {
        // In memory: a check needs no folder for temporary files.
        let mut input = File::from(memfd_create("script", MemfdFlags::CLOEXEC)?);
        input.write_all(component)?;
        input.seek(SeekFrom::Start(0))?;
        let cache = self.cache.to_string_lossy();
        Ok(iottly_child::run(
            &self.program,
            Job {
                input,
                output: File::options().write(true).open("/dev/null")?,
                dir: Path::new("/"),
                env: &[(CACHE_VAR, &cache)],
                wall: WALL,
            },
        ))
    }
}

impl ScriptCheck for ChildCheck {
    fn check(&self, component: &[u8]) -> Result<(), Refusal> {
        let unwritable = |error: io::Error| Refusal::Check(format!("cannot pass it on: {error}"));
        match self.start(component).map_err(unwritable)? {
            Ok(outcome) if outcome.success() => Ok(()),
            Ok(outcome) if outcome.code() == Some(i32::from(BAD_INPUT)) => {
                Err(Refusal::Script(outcome.stderr.trim_end().to_owned()))
            }
            Ok(outcome) => Err(Refusal::Check(outcome.reason())),
            Err(error) => Err(Refusal::Check(error.to_string())),
        }
    }
}

/// Runs the child's whole life: a component on standard input, what is wrong with its script on standard error.
///
/// Has to be called before anything else in `main`: it limits the whole process.
pub(crate) fn child() -> ExitCode {
    let prepared = prepare();
    iottly_child::main(BOUNDS, move || {
        let (cache, runtime) = prepared.map_err(|error| Failure::failed(format!("{error:#}")))?;
        // The stack of the first thread is as large as the user's limits say.
        let check = move || check(&cache, &runtime);
        std::thread::Builder::new()
            .stack_size(iottly_sandbox::THREAD_STACK_BYTES)
            .spawn(check)
            .map_err(|error| Failure::failed(format!("cannot start a thread: {error}")))?
            .join()
            .map_err(|_| Failure::failed("the check panicked".to_owned()))?
    })
}

/// Maps the engine; compiles it unless that was done before.
fn prepare() -> anyhow::Result<(Cache, Runtime)> {
    let folder = std::env::var_os(CACHE_VAR).context("this program starts the check itself")?;
    let (cache, runtime) = (compiled::open(&PathBuf::from(folder))?, Runtime::new()?);
    cache.warm(&runtime)?;
    // Programs that are linked statically read random bytes from a device file. It stays open once it was read; the
    // confined process can open no file.
    iottly_cloud::random::bytes::<1>().context("cannot get random bytes from the system")?;
    Ok((cache, runtime))
}

fn check(cache: &Cache, runtime: &Runtime) -> Result<Vec<u8>, Failure> {
    let mut component = Vec::new();
    io::stdin()
        .take(MAX_COMPONENT_BYTES as u64 + 1)
        .read_to_end(&mut component)
        .map_err(|error| Failure::failed(format!("cannot read the script: {error}")))?;
    // Only scripts are checked: whatever else it is would have to be compiled, which this process can no longer do.
    match Script::extract(&component) {
        Ok(Some(_)) => {}
        Ok(None) => return Err(Failure::bad_input("the component contains no script".to_owned())),
        Err(error) => return Err(Failure::bad_input(error.to_string())),
    }
    let firmware = cache.load(runtime, &component).map_err(|error| match error {
        LoadError::Cache { .. } | LoadError::Compile(_) => Failure::failed(error.to_string()),
        _ => Failure::bad_input(error.to_string()),
    })?;
    match firmware.check(Limits::default()) {
        Ok(()) => Ok(Vec::new()),
        Err(CheckError::Script(text)) => Err(Failure::bad_input(text)),
        Err(error) => Err(Failure::failed(error.to_string())),
    }
}
