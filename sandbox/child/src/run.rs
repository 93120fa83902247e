use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Most of a child's standard error that is kept, in bytes.
const MAX_STDERR: usize = 16 << 10;

/// How to start a child: a program of its own, or this one again with a hidden subcommand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
}

/// What a child works on. It inherits these two files and nothing else.
#[derive(Debug)]
pub struct Job<'a> {
    /// Its standard input.
    pub input: File,
    /// Its standard output.
    pub output: File,
    /// Its working directory.
    pub dir: &'a Path,
    /// Its whole environment.
    pub env: &'a [(&'a str, &'a str)],
    /// Wall-clock time after which it is killed.
    pub wall: Duration,
}

/// How a child ended.
#[derive(Debug)]
pub struct Outcome {
    status: ExitStatus,
    /// What it wrote to standard error, at most 16 KiB.
    pub stderr: String,
}

/// Why there is no outcome.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The program cannot be started.
    #[error("cannot start {}: {source}", path.display())]
    Start {
        /// The program.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It took too long and was killed.
    #[error("killed after {0:?}")]
    Timeout(Duration),
    /// The system lost track of it.
    #[error("cannot wait for the child: {0}")]
    Wait(io::Error),
}

/// Starts `program` on `job` and waits until it ends or its time is up.
///
/// # Errors
/// [`RunError`]; a child that ran and failed is an [`Outcome`].
pub fn run(program: &Program, job: Job<'_>) -> Result<Outcome, RunError> {
    let start = |source| RunError::Start {
        path: program.path.clone(),
        source,
    };
    let mut command = Command::new(&program.path);
    command
        .args(&program.args)
        .env_clear()
        .envs(job.env.iter().copied())
        .current_dir(job.dir);
    command.stdin(job.input).stdout(job.output).stderr(Stdio::piped());
    // SAFETY: the closure makes one system call, which is safe between fork and exec.
    unsafe { command.pre_exec(close_other_files_on_exec) };
    let mut child = command.spawn().map_err(start)?;
    drop(command);
    let stderr = child.stderr.take().expect("standard error was asked for above");
    let outcome = match collect(stderr) {
        Ok(collected) => wait(&mut child, &collected, job.wall),
        Err(error) => Err(RunError::Wait(error)),
    };
    if outcome.is_err() {
        // It may have ended meanwhile; what matters is that it is gone and leaves no zombie.
        let _ = child.kill();
        let _ = child.wait();
    }
    outcome
}

/// Waits for the end of standard error, which is the end of the child.
fn wait(child: &mut Child, collected: &mpsc::Receiver<String>, wall: Duration) -> Result<Outcome, RunError> {
    match collected.recv_timeout(wall) {
        Ok(stderr) => Ok(Outcome {
            status: child.wait().map_err(RunError::Wait)?,
            stderr,
        }),
        Err(_) => Err(RunError::Timeout(wall)),
    }
}

fn collect(mut stderr: ChildStderr) -> io::Result<mpsc::Receiver<String>> {
    let (send, receive) = mpsc::sync_channel(1);
    thread::Builder::new()
        .name("child-stderr".to_owned())
        .spawn(move || {
            let mut text = Vec::new();
            // What cannot be read ends the text early; the exit status still tells how the child ended.
            let _ = (&mut stderr).take(MAX_STDERR as u64).read_to_end(&mut text);
            let _ = io::copy(&mut stderr, &mut io::sink());
            let _ = send.send(String::from_utf8_lossy(&text).into_owned());
        })?;
    Ok(receive)
}

/// Libraries that open files without close-on-exec would otherwise hand them to the child.
fn close_other_files_on_exec() -> io::Result<()> {
    // Kernels before 5.11 do not know it; there the standard library's own close-on-exec has to do.
    // SAFETY: a plain system call on numbers.
    unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    Ok(())
}

impl Outcome {
    /// Says whether it did its work.
    #[must_use]
    pub fn success(&self) -> bool {
        self.status.success()
    }

    /// Its exit code, unless a signal ended it.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Says whether it ran out of processor time.
    #[must_use]
    pub fn out_of_time(&self) -> bool {
        matches!(self.status.signal(), Some(libc::SIGXCPU | libc::SIGKILL))
    }

    /// The reason of a failure, for people: what it said, or how it died.
    #[must_use]
    pub fn reason(&self) -> String {
        let said = self.stderr.trim();
        match self.status.signal() {
            Some(libc::SIGXCPU | libc::SIGKILL) => "it ran out of processor time".to_owned(),
            Some(libc::SIGSEGV | libc::SIGBUS) if said.is_empty() => "it ran out of stack".to_owned(),
            Some(signal) if said.is_empty() => format!("it was ended by signal {signal}"),
            _ if said.is_empty() => format!("it ended with {}", self.status),
            _ => said.to_owned(),
        }
    }
}
