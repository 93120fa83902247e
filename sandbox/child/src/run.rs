//! The parent's side of a child process: start, deadline and outcome. Limits nothing but time.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::group;

/// Maximum size of a child's standard error that is kept, in bytes.
const MAX_STDERR: usize = 16 << 10;

/// Command that starts a child: a program of its own, or this one with a hidden subcommand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Path of the executable.
    pub path: PathBuf,
    /// Arguments.
    pub args: Vec<OsString>,
}

/// Files, folder, environment and deadline of a child. It inherits these two files and nothing else.
#[derive(Debug)]
pub struct Job<'a> {
    /// Standard input.
    pub input: File,
    /// Standard output.
    pub output: File,
    /// Working directory.
    pub dir: &'a Path,
    /// Whole environment.
    pub env: &'a [(&'a str, &'a str)],
    /// Wall-clock time after which the child is killed.
    pub wall: Duration,
}

/// End of a child.
#[derive(Debug)]
pub struct Outcome {
    status: ExitStatus,
    /// Standard error of the child, at most 16 KiB.
    pub stderr: String,
}

/// Reason why there is no outcome.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The program cannot be started.
    #[error("cannot start {}: {source}", path.display())]
    Start {
        /// Path of the program.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// The child took too long and was killed.
    #[error("killed after {0:?}")]
    Timeout(Duration),
    /// The system cannot report the child's end.
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
    let door = group::door();
    let prepare = move || {
        if let Some(door) = door {
            group::enter(door);
        }
        close_other_files_on_exec()
    };
    // SAFETY: the closure makes two system calls, which is safe between fork and exec.
    unsafe { command.pre_exec(prepare) };
    let mut child = command.spawn().map_err(start)?;
    drop(command);
    let stderr = child.stderr.take().expect("standard error was asked for above");
    let outcome = match collect(stderr) {
        Ok(collected) => wait(&mut child, &collected, job.wall),
        Err(error) => Err(RunError::Wait(error)),
    };
    if outcome.is_err() {
        // The child may have ended already; killing and waiting make sure that no zombie is left.
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
            // A read error ends the text early; the exit status still shows how the child ended.
            let _ = (&mut stderr).take(MAX_STDERR as u64).read_to_end(&mut text);
            let _ = io::copy(&mut stderr, &mut io::sink());
            let _ = send.send(String::from_utf8_lossy(&text).into_owned());
        })?;
    Ok(receive)
}

/// Marks all other files close-on-exec: libraries that open files without that flag would hand them to the
/// child.
fn close_other_files_on_exec() -> io::Result<()> {
    // Kernels before 5.11 do not know the call; there the standard library's own close-on-exec has to
    // suffice.
    // SAFETY: a plain system call on numbers.
    unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    Ok(())
}

impl Outcome {
    /// Returns true if the child succeeded.
    #[must_use]
    pub fn success(&self) -> bool {
        self.status.success()
    }

    /// Returns the exit code, unless a signal ended the child.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Returns true if the child ran out of processor time.
    #[must_use]
    pub fn out_of_time(&self) -> bool {
        self.status.signal() == Some(libc::SIGXCPU)
    }

    /// Returns the reason of a failure, for people: the child's standard error, or how it died.
    #[must_use]
    pub fn reason(&self) -> String {
        let said = self.stderr.trim();
        match self.status.signal() {
            Some(libc::SIGXCPU) => "it ran out of processor time".to_owned(),
            Some(libc::SIGKILL) => "it was killed, possibly because the machine is out of memory".to_owned(),
            Some(libc::SIGSEGV | libc::SIGBUS) if said.is_empty() => "it ran out of stack".to_owned(),
            Some(signal) if said.is_empty() => format!("it was ended by signal {signal}"),
            _ if said.is_empty() => format!("it ended with {}", self.status),
            _ => said.to_owned(),
        }
    }
}
