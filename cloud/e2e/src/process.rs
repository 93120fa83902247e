//! Child processes that do not outlive their test.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use crate::{PATIENCE, program, secrets, wait_for};

/// Longest wait for the last lines of a log.
const LINGER: Duration = Duration::from_secs(2);

/// A child process that does not outlive its test. At its end its log is searched for secrets.
pub struct Process {
    child: Child,
    name: String,
    log: Log,
}

/// Place of a process's log.
enum Log {
    /// The standard error, copied to that of the test.
    Copied(Arc<Mutex<String>>, Option<JoinHandle<()>>),
    /// A file of the test.
    File(PathBuf),
}

impl Log {
    fn copy(stderr: ChildStderr) -> Self {
        let text: Arc<Mutex<String>> = Arc::default();
        let kept = Arc::clone(&text);
        let copy = std::thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line);
                eprintln!("{line}");
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push_str(&line);
                kept.push('\n');
            }
        });
        Self::Copied(text, Some(copy))
    }

    /// Returns the log of a process that has ended.
    fn text(&mut self) -> String {
        match self {
            Self::Copied(text, copy) => {
                // A process that the ended one has started may still hold the other end.
                let began = Instant::now();
                while copy.as_ref().is_some_and(|copy| !copy.is_finished()) && began.elapsed() < LINGER {
                    std::thread::sleep(Duration::from_millis(5));
                }
                text.lock().unwrap_or_else(PoisonError::into_inner).clone()
            }
            Self::File(path) => {
                String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
            }
        }
    }
}

impl Process {
    /// Starts a program; `name` is for messages of failures.
    pub fn start(name: &str, command: &mut Command) -> Self {
        let mut child = Self::spawn(name, command.stderr(Stdio::piped()));
        let log = Log::copy(child.stderr.take().expect("piped"));
        Self::of(name, child, log)
    }

    /// Starts a program whose log is a new file.
    pub fn start_with_log(name: &str, command: &mut Command, log: &Path) -> Self {
        let file = File::create(log).expect("a log");
        let child = Self::spawn(name, command.stderr(file));
        Self::of(name, child, Log::File(log.to_owned()))
    }

    fn spawn(name: &str, command: &mut Command) -> Child {
        command
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"))
    }

    fn of(name: &str, child: Child, log: Log) -> Self {
        let arguments = std::fs::read(format!("/proc/{}/cmdline", child.id())).unwrap_or_default();
        let process = Self {
            child,
            name: name.to_owned(),
            log,
        };
        secrets::check(
            &format!("the arguments of {name}"),
            &String::from_utf8_lossy(&arguments),
        );
        process
    }

    /// Starts a program that prints one line of JSON when it is up; returns that line as well.
    pub fn start_until_ready(name: &str, command: &mut Command) -> (Self, Value) {
        let process = Self::start(name, command.stdout(Stdio::piped()));
        process.until_ready()
    }

    /// Does the same for a program whose log is a new file.
    pub fn start_until_ready_with_log(name: &str, command: &mut Command, log: &Path) -> (Self, Value) {
        let process = Self::start_with_log(name, command.stdout(Stdio::piped()), log);
        process.until_ready()
    }

    fn until_ready(mut self) -> (Self, Value) {
        let stdout = self.child.stdout.take().expect("piped");
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let line = receive
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| panic!("{} was not ready in time", self.name));
        let ready = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("{} printed {line:?}: {error}", self.name));
        secrets::remember_all(&ready);
        (self, ready)
    }

    /// Sends SIGKILL, as if the power failed, and waits for the end.
    pub fn kill(mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    /// Sends SIGTERM and waits for a clean end; returns the time that took.
    pub fn terminate(mut self) -> Duration {
        let began = Instant::now();
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signal");
        let status = wait_for("the process to stop", || self.child.try_wait().expect("wait"));
        assert!(status.success(), "{} ended with {status}", self.name);
        began.elapsed()
    }

    /// Returns the peak of the process's resident memory, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a process");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .expect("a peak");
        line.trim()
            .trim_end_matches(" kB")
            .parse::<u64>()
            .expect("a number")
            * 1024
    }

    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGHUP.
    pub fn hang_up(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("signal");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let text = self.log.text();
        secrets::check(&format!("the log of {}", self.name), &text);
    }
}

/// Ports outside of the range from which the kernel chooses, which begins at 32768.
const PORTS: RangeInclusive<u16> = 20_000..=31_999;

/// Returns a local port that no other test uses until this process ends, and that nothing listens on now.
///
/// Servers that are started again on one port need a number in advance. A port that was bound and released could be
/// given to another program in between, so each number is taken by a lock on a file of its name.
///
/// # Panics
/// If all ports are taken, or the folder for temporary files cannot be written.
pub fn free_port() -> u16 {
    static TAKEN: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let user = rustix::process::getuid().as_raw();
    let folder = std::env::temp_dir().join(format!("iottly-test-ports-{user}"));
    std::fs::create_dir_all(&folder).expect("a folder for temporary files");
    let count = PORTS.len() as u32;
    let start = std::process::id().wrapping_mul(97) % count;
    for step in 0..count {
        let port = PORTS.start() + u16::try_from((start + step) % count).expect("within the range");
        let file = File::options()
            .create(true)
            .append(true)
            .open(folder.join(port.to_string()))
            .expect("a file for temporary files");
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
            && TcpListener::bind(("127.0.0.1", port)).is_ok()
        {
            TAKEN.lock().unwrap_or_else(PoisonError::into_inner).push(file);
            return port;
        }
    }
    panic!("all of the ports {PORTS:?} are taken");
}

/// Runs `iottly` to its end with `input` on standard input; returns exit code, standard output and standard
/// error.
pub fn iottly(args: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut child = Command::new(program())
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("iottly starts");
    let mut stdin = child.stdin.take().expect("piped");
    // A program that refuses its arguments does not read.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("iottly ends");
    let text = |bytes| String::from_utf8(bytes).expect("utf-8");
    let (out, errors) = (text(output.stdout), text(output.stderr));
    secrets::remember_all(&serde_json::from_str(&out).unwrap_or_default());
    secrets::check(
        &format!("what iottly {} says", args.first().unwrap_or(&"")),
        &errors,
    );
    (output.status.code(), out, errors)
}
